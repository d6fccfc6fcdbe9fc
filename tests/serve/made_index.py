"""A small index in the spaces that a service asks in: relatives, strangers, and one real model on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from provray.ancestry.fingerprint import Fingerprint
from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.space import weights_space
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.sources import open_source
from tests.ancestry.networks import Network, stranger
from tests.crawl.small import small_probes
from tests.models import tiny

BASE = stranger("lab/base", 1000)
CHILD = BASE.child("shop/child", 50)
GRANDCHILD = CHILD.child("shop/deep/grandchild", 51)
COPY = CHILD.named("mirror/child-copy")
STRANGERS = [stranger(f"far/{i:02d}", i) for i in range(20)]
SUSPECT = BASE.child("who/knows", 60)
BROKEN = "shop/broken"


@cache
def fingerprinter() -> Fingerprinter:
    """As a service of this index makes it."""
    return Fingerprinter(FingerprintSettings(), {p.modality: p.digest for p in small_probes()})


def rows(network: Network) -> list[Row]:
    """A network's rows in the spaces of this index."""
    made = fingerprinter()
    spaces = {
        "weights": weights_space(made.settings).id,
        "dna": made.behaviour_id("dna", "image"),
        "gif": made.behaviour_id("gif", "image"),
    }
    found = []
    for row in network.rows():
        probes = "" if row.kind == "weights" else made.probes["image"]
        found.append(replace(row, space=spaces[row.kind], probes=probes))
    return found


def fingerprint(network: Network) -> Fingerprint:
    """A network's fingerprint in these spaces."""
    return Fingerprint(network.name, "r1", *rows(network))


def make_models(root: Path) -> Path:
    """Models on disk: `indexed` is in the index, `copy` holds its weights, `alone` is a stranger, `bad` is broken."""
    tiny.save(root / "indexed", tiny.build("bert"))
    tiny.save(root / "copy", tiny.build("bert"))
    tiny.save(root / "alone", tiny.build("resnet", "ResNetForImageClassification"))
    tiny.save(root / "bad", tiny.build("bert"))
    weights = root / "bad" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    return root


def make_index(place: Path, models: Path, networks: Iterable[Network] = STRANGERS) -> Path:
    """The index: base, child, grandchild, a copy, strangers, a broken model, and `indexed` by its weights."""
    table = FingerprintTable.create(place)
    for probes in small_probes():
        table.keep_probes(probes)
    kin = [BASE, CHILD, GRANDCHILD, COPY]
    (ref,) = open_source(str(models / "indexed")).models()
    broken = replace(rows(BASE)[0], model=BROKEN, status="broken", reason="a header is missing")
    read = fingerprinter().weights(ref)
    table.append([*(r for n in (*kin, *networks) for r in rows(n)), read, _unread(broken)])
    return place


def add(place: Path, network: Network) -> int:
    """Commit one more model; returns the new version."""
    return FingerprintTable.open(place).append(rows(network))


def _unread(row: Row) -> Row:
    return Row(row.model, row.revision, row.kind, row.space, row.status, row.reason)
