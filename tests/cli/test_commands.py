"""The commands as people and machines use them: JSON shapes, exit codes, errors that say what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from provray.probes import write_probes
from tests.cli.run import Ran
from tests.crawl.small import small_probes, tiny_folder
from tests.models import tiny


def test_help_teaches(provray: Any) -> None:
    shown = provray("--help")
    assert shown.code == 0
    for word in ("crawl", "query", "show", "demo", "probes"):
        assert word in shown.out
    for command in (
        "crawl",
        "query",
        "show",
        "demo",
        "zoo",
        "eval",
        "steal-bench",
        "lineage",
        "verify",
        "compact",
    ):
        assert provray(command, "--help").code == 0


def test_probes_are_built_shown_and_checked(provray: Any, tmp_path: Path) -> None:
    built = provray("probes", "build", "--out", tmp_path, "--json").json["probe_sets"]
    assert {p["modality"] for p in built} == {"image", "text"}
    assert built[0]["strata"] == {"natural": 128, "mixed": 128, "noise": 128}
    shown = provray("probes", "show", tmp_path / "default-text.parquet", "--json").json
    assert shown["probe_sets"][0]["digest"] == built[1]["digest"]
    missing = provray("probes", "show", tmp_path / "nothing.parquet")
    assert missing.code == 2
    assert "provray probes build" in missing.err


def test_bad_use_ends_with_two_and_says_why(provray: Any, tmp_path: Path) -> None:
    for arguments, said in (
        (("show", "--index", tmp_path / "none"), "no index at"),
        (("query", tmp_path, "--index", tmp_path / "none"), "no index at"),
        (("crawl", tmp_path / "none", "--index", tmp_path / "index"), "not a directory"),
        (("crawl", tmp_path, "--index", tmp_path / "index", "--dtype", "int3"), "--dtype"),
        (("crawl", tmp_path, "--index", tmp_path / "index", "--dtype", "bfloat16"), "GPU"),
        (("crawl", tmp_path, "--index", tmp_path / "index"), "no model found"),
        (("crawl", "ftp://org/model", "--index", tmp_path / "index"), "ftp://"),
        (("crawl", "hf://?color=red", "--index", tmp_path / "index"), "color"),
        (("crawl", tmp_path, "--index", tmp_path / "index", "--stages", "dreams"), "--stages"),
        (("probes", "build", "--images", tmp_path, "--out", tmp_path), "at least 8"),
    ):
        ran = provray(*arguments)
        assert ran.code == 2, arguments
        assert said in " ".join(ran.err.split()), arguments
    assert provray("crawl", "--nonsense").code == 2


def tuned() -> PreTrainedModel:
    """A child of the tiny ViT: its first layer is frozen, the rest has moved."""
    model = tiny.build("vit", "ViTForImageClassification")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer.0" not in name:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return model


def pruned() -> PreTrainedModel:
    """A child of the tiny BERT: the smaller half of the matrices of one layer is zero."""
    model = tiny.build("bert")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer.1" in name and parameter.ndim > 1:
                parameter[parameter.abs() < parameter.abs().median()] = 0.0
    return model


@pytest.fixture(scope="module")
def index(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five tiny models, one of them another's child, and a broken one; with the probe sets to crawl them with."""
    root = tmp_path_factory.mktemp("cli")
    tiny_folder(root / "models")
    tiny.save(root / "models" / "b" / "pruned", pruned())
    tiny.save(root / "models" / "torn", tiny.build("bert"))
    weights = root / "models" / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    paths = {"models": root / "models", "index": root / "index", "root": root}
    for probes in small_probes():
        write_probes(probes, root / f"{probes.modality}.parquet")
        paths[probes.modality] = root / f"{probes.modality}.parquet"
    return paths


def crawl(provray: Any, index: dict[str, Path]) -> Ran:
    asked = ("--probes", index["image"], "--probes", index["text"], "--workers", 2, "--json")
    ran: Ran = provray("crawl", index["models"], "--index", index["index"], *asked)
    return ran


@pytest.fixture
def crawled(provray: Any, index: dict[str, Path]) -> dict[str, Path]:
    """The same, crawled by whichever test comes first."""
    if not index["index"].exists():
        assert crawl(provray, index).code == 0
    return index


def test_crawl_and_show(provray: Any, index: dict[str, Path]) -> None:
    first = crawl(provray, index)
    assert first.code == 0, first.err
    assert first.json["statuses"] == {"ok": 5, "broken": 1}
    assert first.json["failures"][0]["model"] == "torn"
    again = crawl(provray, index).json
    assert (again["skipped"], again["statuses"]) == (6, {})

    shown = provray("show", "--index", index["index"], "--json").json
    assert shown["models"] == 6
    assert shown["statuses"] == {"ok": 5, "broken": 1}
    assert {s["kind"] for s in shown["spaces"]} == {"weights", "dna", "gif"}
    assert shown["failures"][0]["reason"]
    assert "torn" in provray("show", "--index", index["index"]).out


KEYS = {"query", "index", "fdr", "verdict", "says", "axes", "ancestors", "candidates"}
KEYS |= {"nulls", "contradictions", "warnings"}


def test_copies_and_models_that_are_indexed(provray: Any, crawled: dict[str, Path]) -> None:
    copy = crawled["root"] / "copy"
    shutil.copytree(crawled["models"] / "a" / "vit", copy)
    answered = provray("query", copy, "--index", crawled["index"], "--json")
    assert answered.code == 0
    answer = answered.json
    assert set(answer) == KEYS
    assert answer["verdict"] == "copy"
    assert answer["says"] == "every weight is bit-identical to a/vit"
    assert [a["model"] for a in answer["ancestors"]] == ["a/vit"]
    assert answer["ancestors"][0]["relation"] == "copy"
    assert answer["index"]["models"] == 5
    assert answer["fdr"] == 0.05

    vit = crawled["models"] / "a" / "vit"
    itself = provray("query", vit, "--index", crawled["index"], "--json").json
    assert itself["verdict"] != "copy", "a model is not its own ancestor"
    assert "a/vit" not in [c["model"] for c in itself["candidates"]]

    broken = provray("query", crawled["models"] / "torn", "--index", crawled["index"])
    assert broken.code == 2
    assert "broken" in broken.err


def test_a_child_is_asked_about(provray: Any, crawled: dict[str, Path]) -> None:
    child, page = crawled["root"] / "tuned", crawled["root"] / "pages" / "tuned.html"
    tiny.save(child, tuned())
    asked = ("--index", crawled["index"], "--workers", 2, "--top-k", 1, "--fdr", 0.01)
    answer = provray("query", child, *asked, "--html", page, "--json").json
    assert answer["fdr"] == 0.01
    assert answer["verdict"] == "ancestor", answer
    (best,) = answer["candidates"]
    assert best["model"] == "a/vit"
    assert [a["model"] for a in answer["ancestors"]] == ["a/vit"]
    assert set(answer["axes"]) == {"weights", "behaviour"}
    assert "a/vit" in answer["says"]
    assert (best["axis"], best["inherits"], best["shares_weights"]) == ("weights", True, True)
    assert best["direction"]["said"] in ("ancestor", "unknown")
    assert best["q_value"] <= 0.01
    assert {"noise@0", "noise@1/2", "mixed@probabilities"} <= set(best["scores"]["dna"])
    assert set(best["scores"]["gif"]) == {"mixed@feature_norm", "mixed@top_logit"}
    weighed = [e for e in best["evidence"] if e["axis"] == "weights"]
    assert any(e["decided"] and e["value"] > e["limit"] for e in weighed)
    for evidence in weighed:
        assert 0 <= evidence["p_value"] <= 1
        assert evidence["null"]["pairs"] >= 40
    assert answer["nulls"]["weights"]["values"][0][0] == "a/vit"
    assert answer["nulls"]["behaviour"] is None
    assert any("not centred" in warning for warning in answer["warnings"])

    written = page.read_text(encoding="utf-8")
    assert written.lower().startswith("<!doctype html>")
    assert "a/vit" in written
    assert answer["query"]["revision"] in written


def test_people_read_why(provray: Any, crawled: dict[str, Path]) -> None:
    said = provray("query", crawled["models"] / "b" / "pruned", "--index", crawled["index"])
    assert said.code == 0
    assert said.out.startswith("ancestor: pruned: it inherits what b/bert learned (pruned)")
    for words in ("b/bert (pruned), probability", "limit", " null)", "rate 0.05", "it came first"):
        assert words in said.out, words


def test_only_descendants_are_called_so(provray: Any, crawled: dict[str, Path]) -> None:
    bert = crawled["models"] / "b" / "bert"
    answer = provray("query", bert, "--index", crawled["index"], "--json").json
    assert answer["verdict"] == "descendant"
    assert answer["ancestors"] == []
    assert "b/pruned, which came after it" in answer["says"]
    # tiny models of one seed begin alike: the GPT-2 holds some of the same tensors, and that is all
    assert "gpt2" not in answer["says"]
    others = {c["model"]: c for c in answer["candidates"]}
    assert others["b/pruned"]["direction"]["said"] == "descendant"
    assert others["b/deep/gpt2"]["relation"] == "shares weights"
    assert others["b/deep/gpt2"]["inherits"] is False


def test_a_lineage_for_machines_and_people(provray: Any, crawled: dict[str, Path]) -> None:
    page = crawled["root"] / "lineage.html"
    ran = provray("lineage", "--index", crawled["index"], "--html", page, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["fdr"] == 0.05
    assert found["index"]["models"] == 5
    names = {"a/vit", "a/resnet", "b/bert", "b/pruned", "b/deep/gpt2"}
    assert {m["model"] for m in found["models"]} == names
    (edge,) = found["edges"]
    assert (edge["parent"], edge["child"], edge["relation"]) == ("b/bert", "b/pruned", "pruned")
    assert edge["direction_known"] is True
    family = {m["model"]: m["family"] for m in found["models"]}
    assert len(set(family.values())) == 4
    assert family["b/bert"] == family["b/pruned"]
    assert "b/pruned" in page.read_text(encoding="utf-8")

    dot = provray("lineage", "--index", crawled["index"], "--dot")
    assert dot.code == 0
    assert dot.out.startswith("digraph")
    assert dot.out.count("->") == 1
    shown = provray("lineage", "--index", crawled["index"]).out
    assert shown.index("b/bert") < shown.index("b/pruned")
    assert "5 models, 1 families, 3 without kin; 1 arrows" in shown


def test_a_lineage_refuses_what_makes_no_sense(provray: Any, crawled: dict[str, Path]) -> None:
    for arguments, said in (
        (("--json", "--dot"), "give one of them"),
        (("--fdr", 0), "--fdr"),
        (("--fdr", 0.7), "--fdr"),
    ):
        ran = provray("lineage", "--index", crawled["index"], *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert said in ran.err, arguments
    none = provray("lineage", "--index", crawled["root"] / "none")
    assert none.code == 2
    assert "no index at" in " ".join(none.err.split())
    high = provray("query", crawled["models"] / "torn", "--index", crawled["index"], "--fdr", 0.7)
    assert high.code == 2
    assert "--fdr" in high.err


def test_zoos_and_scoreboards_refuse_what_they_cannot_use(provray: Any, tmp_path: Path) -> None:
    unknown = provray("zoo", "build", tmp_path / "zoo", "--spec", "huge")
    assert unknown.code == 2
    assert "none of small, standard" in unknown.err
    none = provray("eval", tmp_path)
    assert none.code == 2
    assert "holds no truth.parquet" in none.err
    for command in (("zoo",), ("zoo", "build"), ("eval",)):
        assert "--help" in provray(*command, "--help").out
