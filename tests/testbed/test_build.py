"""A zoo is resumable, deterministic and honest about what it holds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from provray.testbed import build as building
from provray.testbed.build import Item, Progress, build, check_items, item_keys, seed_of
from provray.testbed.cohort import cohort_items
from provray.testbed.demo_zoo import demo_items
from provray.testbed.folders import RELATIONS, new_folder, read_truth
from provray.testbed.studies import real_items, text_study_items, vision_study_items

QUICK = {"architecture": "resnet", "longer": 0.05}


def family() -> list[Item]:
    prune = {"method": "prune", "fraction": 0.5, "task": "digit"}
    theft = {
        "architecture": "resnet",
        "hard": True,
        "queries": 80,
        "noise": 0.1,
        "epochs": 1,
        "rate": 4e-3,
    }
    return [
        Item("a/base", "indexed", "base", "vision_base", 1, QUICK),
        Item("a/twin", "indexed", "twin", "vision_base", 2, QUICK),
        Item("b/pruned", "held_out", "pruned", "compress", 3, prune, "a/base"),
        Item("c/thief", "held_out", "stolen", "vision_steal", 4, theft, "a/base"),
        Item("d/merged", "held_out", "merged", "merge", 5, {}, "a/base", ("a/base", "b/pruned")),
    ]


def weights(zoo: Path) -> dict[str, bytes]:
    return {
        file.relative_to(zoo).as_posix(): file.read_bytes()
        for file in zoo.glob("*/*/*/model.safetensors")
    }


def test_build_is_deterministic_and_complete(tmp_path: Path) -> None:
    records = build(tmp_path / "one", family(), workers=0)
    build(tmp_path / "two", list(reversed(family())), workers=0)
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert len(weights(tmp_path / "one")) == 5
    assert records == read_truth(tmp_path / "one")
    assert [record.model for record in records] == [item.model for item in family()]
    thief = records[3]
    assert thief.fidelity is not None
    assert thief.margin_mixed is not None
    assert all(record.fidelity is None for record in records if record.relation != "stolen")
    folder = tmp_path / "one" / records[0].path
    assert (folder / "README.md").read_text() == "# base\n"
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"] == {
        "height": 16,
        "width": 16,
    }


def test_complete_models_are_kept_and_changed_ones_made_again(tmp_path: Path) -> None:
    items = family()[:3]
    build(tmp_path, items, workers=0)
    before = weights(tmp_path)
    kept: list[Progress] = []
    build(tmp_path, items, workers=0, progress=kept.append)
    assert [progress.kept for progress in kept] == [True] * 3
    assert [progress.done for progress in kept] == [1, 2, 3]

    items[0] = replace(items[0], seed=7)
    made: list[Progress] = []
    build(tmp_path, items, workers=0, progress=made.append)
    assert {p.model for p in made if not p.kept} == {"a/base", "b/pruned"}
    after = weights(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        "indexed/a/base/model.safetensors",
        "held_out/b/pruned/model.safetensors",
    }


def test_a_record_of_an_earlier_layout_is_made_again(tmp_path: Path) -> None:
    items = family()[:1]
    build(tmp_path, items, workers=0)
    (stored,) = (tmp_path / ".records").glob("*.json")
    old = json.loads(stored.read_text())
    old["record"]["parent"] = old["record"].pop("parents")
    stored.write_text(json.dumps(old))
    seen: list[Progress] = []
    build(tmp_path, items, workers=0, progress=seen.append)
    assert [progress.kept for progress in seen] == [False]
    assert read_truth(tmp_path)[0].parents == ()


def test_models_of_an_earlier_plan_are_removed(tmp_path: Path) -> None:
    items = family()[:3]
    build(tmp_path, items, workers=0)
    foreign = tmp_path / "indexed" / "mine" / "model.safetensors"
    foreign.parent.mkdir()
    foreign.write_bytes(b"not ours")
    records = build(tmp_path, items[:1], workers=0)
    assert [record.model for record in records] == ["a/base"]
    assert set(weights(tmp_path)) == {"indexed/a/base/model.safetensors"}
    assert foreign.is_file()


def test_an_interrupted_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = building._make

    def fail_at(model: str) -> Callable[[building.Job], tuple[building.Outcome, float]]:
        def attempt(job: building.Job) -> tuple[building.Outcome, float]:
            if job.item.model == model:
                raise OSError("no space left")
            return make(job)

        return attempt

    monkeypatch.setattr(building, "_make", fail_at("b/pruned"))
    with pytest.raises(RuntimeError, match=r"held_out/b/pruned .*no space left"):
        build(tmp_path, family()[:3], workers=0)
    assert not (tmp_path / "truth.parquet").exists()
    monkeypatch.setattr(building, "_make", make)
    seen: list[Progress] = []
    build(tmp_path, family()[:3], workers=0, progress=seen.append)
    assert [p.model for p in seen if not p.kept] == ["b/pruned"]


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    def write_and_fail(target: Path) -> None:
        with new_folder(target) as temporary:
            (temporary / "config.json").write_text("{}")
            raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        write_and_fail(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_keys_follow_the_ancestors() -> None:
    items = check_items(family())
    keys = item_keys(items)
    other = item_keys({**items, "a/base": replace(items["a/base"], seed=99)})
    assert {name for name in keys if keys[name] != other[name]} == {
        "a/base",
        "b/pruned",
        "c/thief",
        "d/merged",
    }
    loop = replace(items["a/base"], parent="b/pruned")
    with pytest.raises(ValueError, match="descends from itself"):
        item_keys({**items, "a/base": loop})


def test_wrong_plans_are_refused() -> None:
    base, _, pruned, *_ = family()
    with pytest.raises(ValueError, match="two items are called a/base"):
        check_items([base, base])
    with pytest.raises(ValueError, match="made from a/base, which is not in the zoo"):
        check_items([pruned])


def test_plans_are_sound_and_share_no_seed() -> None:
    plans = [demo_items(), vision_study_items(), text_study_items(), real_items(), cohort_items()]
    seeds = [item.seed for plan in plans for item in plan]
    assert len(seeds) == len(set(seeds))
    for plan in plans:
        check_items(plan)
        assert all(item.relation in RELATIONS for item in plan)
    assert len(vision_study_items()) == 90
    assert sum(item.model.startswith("image/") for item in cohort_items()) >= 16
    assert sum(item.model.startswith("text/") for item in cohort_items()) >= 16
    assert seed_of("demo", 0, "a") != seed_of("demo", 1, "a")


def test_held_out_demo_models_descend_from_indexed_ones() -> None:
    items = check_items(demo_items())
    held_out = [item for item in items.values() if item.split == "held_out"]
    parents = {item.parent for item in held_out if item.parent is not None}
    assert all(items[parent].split == "indexed" for parent in parents)
    wanted = {"fine-tune", "new head", "pruned", "quantised"}
    for parent in parents:
        assert wanted <= {item.relation for item in held_out if item.parent == parent}
    assert "stranger" in {item.relation for item in held_out}
