"""`provray lineage --bulk`, and a crawl of what changed when nothing did."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from provray.index.table import FingerprintTable
from tests.crawl.small import small_probes
from tests.models import tiny
from tests.serve.made_index import BASE, CHILD, STRANGERS, rows


@pytest.mark.usefixtures("ray_cluster")
def test_people_and_machines_read_where_it_is(provray: Any, tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    for probes in small_probes():
        table.keep_probes(probes)
    table.append([row for network in (BASE, CHILD, *STRANGERS[:18]) for row in rows(network)])
    asked = ("lineage", "--index", tmp_path / "index", "--bulk", "--workers", 1)
    told = provray(*asked, "--out", tmp_path / "out", "--json", "--html", tmp_path / "page.html")
    assert told.code == 0, told.err
    where = Path(told.json["where"])
    assert where.parent == tmp_path / "out"
    assert json.loads((where / "summary.json").read_text()) == told.json
    (edge,) = json.loads((where / "lineage.json").read_text())["edges"]
    assert (edge["parent"], edge["child"]) == (BASE.name, CHILD.name)
    assert CHILD.name in (tmp_path / "page.html").read_text(encoding="utf-8")
    again = provray(*asked, "--out", tmp_path / "out")
    assert "20 models, 0 without an answer, 1 families, 1 arrows at version 1" in again.out


def test_options_that_make_no_sense_together_are_refused(provray: Any, tmp_path: Path) -> None:
    for arguments, said in (
        (("--bulk", "--dot"), "--dot draws a small index"),
        (("--workers", 2), "are for --bulk"),
        (("--out", tmp_path), "are for --bulk"),
    ):
        ran = provray("lineage", "--index", tmp_path / "none", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert said in " ".join(ran.err.split())


def test_nothing_new_is_no_error_where_it_was_asked_what_changed(
    provray: Any, tmp_path: Path
) -> None:
    tiny.save(tmp_path / "models" / "bert", tiny.build("bert"))
    for path in (tmp_path / "models").rglob("*"):
        os.utime(path, (1.6e9, 1.6e9))
    asked = ("crawl", tmp_path / "models", "--index", tmp_path / "index", "--json")
    found = provray(*asked, "--since", "2025-01-01")
    assert (found.code, found.json["listed"], found.json["statuses"]) == (0, 0, {})
    empty = tmp_path / "empty"
    empty.mkdir()
    assert provray("crawl", empty, "--index", tmp_path / "index").code == 2
