"""The commands as people and machines use them: JSON shapes, exit codes, errors that say what to do."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from provray.cli import main
from provray.probes import write_probes
from tests.crawl.small import small_probes, tiny_folder
from tests.models import tiny


class Ran:
    """Exit code, standard output and standard error of one command, run in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def provray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["provray", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        captured = capsys.readouterr()
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


def test_help_teaches(provray: Any) -> None:
    shown = provray("--help")
    assert shown.code == 0
    for word in ("crawl", "query", "show", "demo", "probes"):
        assert word in shown.out
    for command in ("crawl", "query", "show", "demo", "zoo", "eval", "steal-bench"):
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
        (("crawl", "hf://org/model", "--index", tmp_path / "index"), "hf://"),
        (("probes", "build", "--images", tmp_path, "--out", tmp_path), "at least 8"),
    ):
        ran = provray(*arguments)
        assert ran.code == 2, arguments
        assert said in " ".join(ran.err.split()), arguments
    assert provray("crawl", "--nonsense").code == 2


@pytest.fixture(scope="module")
def index(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four tiny models and a broken one, crawled; with the probe sets that were used."""
    root = tmp_path_factory.mktemp("cli")
    tiny_folder(root / "models")
    tiny.save(root / "models" / "torn", tiny.build("bert"))
    weights = root / "models" / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    paths = {"models": root / "models", "index": root / "index", "root": root}
    for probes in small_probes():
        write_probes(probes, root / f"{probes.modality}.parquet")
        paths[probes.modality] = root / f"{probes.modality}.parquet"
    return paths


def test_crawl_show_query(provray: Any, index: dict[str, Path]) -> None:
    asked = ("--probes", index["image"], "--probes", index["text"], "--workers", 2, "--json")
    crawled = provray("crawl", index["models"], "--index", index["index"], *asked)
    assert crawled.code == 0, crawled.err
    assert crawled.json["statuses"] == {"ok": 4, "broken": 1}
    assert crawled.json["failures"][0]["model"] == "torn"
    again = provray("crawl", index["models"], "--index", index["index"], *asked).json
    assert (again["skipped"], again["statuses"]) == (5, {})

    shown = provray("show", "--index", index["index"], "--json").json
    assert shown["models"] == 5
    assert shown["statuses"] == {"ok": 4, "broken": 1}
    assert {s["kind"] for s in shown["spaces"]} == {"weights", "dna", "gif"}
    assert shown["failures"][0]["reason"]
    assert "torn" in provray("show", "--index", index["index"]).out

    copy = index["root"] / "copy"
    shutil.copytree(index["models"] / "a" / "vit", copy, dirs_exist_ok=True)
    answered = provray("query", copy, "--index", index["index"], "--json")
    assert answered.code == 0
    answer = answered.json
    assert answer["verdict"] == "copy"
    assert answer["ancestors"][0]["model"] == "a/vit"
    assert answer["ancestors"][0]["relation"] == "copy"
    assert answer["index"]["models"] == 4
    assert set(answer) == {"query", "index", "verdict", "ancestors", "candidates", "warnings"}

    itself = provray(
        "query", index["models"] / "a" / "vit", "--index", index["index"], "--json"
    ).json
    assert itself["verdict"] != "copy", "a model is not its own ancestor"
    assert "a/vit" not in [c["model"] for c in itself["candidates"]]

    tuned = index["root"] / "tuned"
    model = tiny.build("vit", "ViTForImageClassification")
    for parameter in model.parameters():
        parameter.data.mul_(1.02)
    tiny.save(tuned, model)
    found = provray(
        "query", tuned, "--index", index["index"], "--top-k", 1, "--workers", 2, "--json"
    ).json
    assert found["verdict"] == "ancestor"
    assert found["ancestors"][0]["model"] == "a/vit"
    assert len(found["candidates"]) == 1
    scores = found["candidates"][0]["scores"]
    assert {"noise@0", "noise@1/2", "mixed@probabilities"} <= set(scores["dna"])
    assert set(scores["gif"]) == {"mixed@feature_norm", "mixed@top_logit"}
    assert any("not centred" in warning for warning in found["warnings"])

    broken = provray("query", index["models"] / "torn", "--index", index["index"])
    assert broken.code == 2
    assert "broken" in broken.err


def test_zoos_and_scoreboards_refuse_what_they_cannot_use(provray: Any, tmp_path: Path) -> None:
    unknown = provray("zoo", "build", tmp_path / "zoo", "--spec", "huge")
    assert unknown.code == 2
    assert "none of small, standard" in unknown.err
    none = provray("eval", tmp_path)
    assert none.code == 2
    assert "holds no truth.parquet" in none.err
    for command in (("zoo",), ("zoo", "build"), ("eval",)):
        assert "--help" in provray(*command, "--help").out
