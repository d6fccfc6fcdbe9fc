"""A zoo that is evaluated and fitted in seconds: made-up networks whose rows are there, and one real model whose are
not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.settings import FingerprintSettings, GifSettings
from provray.fingerprints.space import weights_space
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet
from provray.sources import open_source
from provray.testbed.domain_probes import domain_probes
from provray.testbed.folders import Record, write_truth
from tests.models import tiny
from tests.testbed.made_zoo import make_zoo, record

REAL = "news/real"


def make(zoo: Path, probes: ProbeSet) -> Path:
    """The zoo in a folder, with its indexes. probes: of texts, what the networks are said to have been asked."""
    records, fingerprints = make_zoo()
    records = [_of_texts(r) for r in records]
    folder = tiny.save(
        zoo / records[0].path, tiny.build("bert", "BertForSequenceClassification", num_labels=4)
    )
    for other in records[1:]:
        (zoo / other.path).mkdir(parents=True)
        for file in folder.iterdir():
            os.link(file, zoo / other.path / file.name)
    real = tiny.build("bert", "BertForSequenceClassification", num_labels=4, layer_norm_eps=1e-6)
    tiny.save(zoo / "indexed" / REAL, real)
    late = replace(record(REAL, "base"), path=f"indexed/{REAL}", data="news")
    write_truth(zoo, [*records, late])
    (ref,) = open_source(str(folder)).models()
    table = FingerprintTable.create(zoo / "index")
    table.keep_probes(probes)
    made = Fingerprinter(FingerprintSettings(), {"text": probes.digest})
    table.append(
        [
            _row(row, made, ref.revision)
            for f in fingerprints
            for row in (f.weights, f.dna, f.gif)
            if row is not None
        ]
    )
    no_gif = FingerprintSettings(gif=GifSettings(stratum="none"))
    for domain in domain_probes({"news", "reviews"}).values():
        asked = Fingerprinter(no_gif, {"text": domain.digest})
        FingerprintTable.create(zoo / "domain-index").append(
            [_row(f.dna, asked, ref.revision) for f in fingerprints if f.dna is not None]
        )
    return zoo


def _name(model: str) -> str:
    return model.replace("digits/", "news/")


def _of_texts(of: Record) -> Record:
    name = _name(of.model)
    margin = 0.1 if of.relation == "stolen" else None
    parents = tuple(_name(parent) for parent in of.parents)
    return replace(
        of,
        model=name,
        path=f"indexed/{name}",
        parents=parents,
        data="news",
        margin_mixed=margin,
    )


def _row(row: Row, made: Fingerprinter, revision: str) -> Row:
    """In the spaces of this zoo's index."""
    if row.kind == "weights":
        space, probes = weights_space(made.settings).id, ""
    else:
        space, probes = made.behaviour_id(row.kind, "text"), made.probes["text"]  # type: ignore[arg-type]
    return replace(
        row,
        model=_name(row.model),
        revision=revision,
        space=space,
        probes=probes,
        modality="text",
    )
