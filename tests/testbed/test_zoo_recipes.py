"""Every way of making a model that the standard zoo uses runs, on networks trained for a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from provray.testbed.build import Item, build
from provray.testbed.folders import read_truth
from provray.testbed.zoo import standard_items

#: One base of each modality, with the twin its ensemble needs.
FAMILIES = (("digits/resnet-0", "digits/resnet-2"), ("news/gpt2-0", "news/gpt2-2"))


def shrunk(item: Item) -> Item:
    settings = dict(item.settings)
    quick = {"longer": 0.02, "steps": 4, "epochs": 0.02, "adversarial": 0.02, "share": 0.05}
    settings.update({name: value for name, value in quick.items() if name in settings})
    if "architecture" in settings and item.recipe == "vision_base":
        settings["longer"] = 0.02
    if "queries" in settings:
        settings["queries"] = 90
        settings["epochs"] = 1.0
    if settings.get("pictures") == "fashion":
        settings["pictures"] = "digits"
    return replace(item, settings=settings)


def one_of_each(bases: tuple[str, str]) -> list[Item]:
    """A base, its twin and one child by each way; the fashion plan has the most. Of thefts by budget, one."""
    names = [base.replace("digits/", "fashion/") for base in bases]
    items = [i for i in standard_items() if i.model.split(".")[0].split(" ")[0] in names]
    left_out = ("500", "10000", "other 2000", "prune-30", "noise", "int8", "prune-80 recovered")
    return [shrunk(item) for item in items if not item.method.endswith(left_out)]


@pytest.mark.parametrize("bases", FAMILIES, ids=lambda b: b[0])
def test_every_method_makes_a_model(bases: tuple[str, str], tmp_path: Path) -> None:
    items = one_of_each(bases)
    methods = [item.method for item in items]
    assert len(set(methods)) >= 20
    records = build(tmp_path, items, workers=0)
    assert records == read_truth(tmp_path)
    for record in records:
        folder = tmp_path / record.path
        assert (folder / "README.md").read_text().startswith("# ")
        assert "base_model" not in (folder / "README.md").read_text()
        assert "architectures" in json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values()), record.model
    made = {record.method: record for record in records if record.parents}
    assert made["merge-ties"].parents == made["merge-slerp"].parents
    assert len(made["merge-ties"].parents) == 2
    assert made["prune-60 recovered"].parents == (made["prune-60"].model,)
    assert made["fine-tune, prune-60"].parents == (made["fine-tune"].model,)
    thieves = [r for r in records if r.relation == "stolen" and not bases[0].startswith("news")]
    assert all(r.fidelity is not None and r.margin is not None for r in thieves)
    if not bases[0].startswith("news"):
        assert len(made["ensemble"].parents) == 2
        assert any(r.relation == "same start" and not r.parents for r in records)
        assert any(r.relation == "control" and not r.parents for r in records)
