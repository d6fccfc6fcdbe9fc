"""Probe sets of a zoo's own domains: inputs of the kind its models were made for, none of which any was trained on.

Inheritance needs no domain; theft does, since decision boundaries are copied where the victim was asked. One set per
domain: mixtures of two domains' inputs lie where nobody ever asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import get_args

from PIL import Image

from provray.probes import ProbeSet, probes_from_images, probes_from_texts
from provray.testbed.corpora import Corpus, corpus_texts
from provray.testbed.digits import as_pictures
from provray.testbed.pictures import Pictures, pictures
from provray.testbed.scoreboard.outputs import COUNT

TOTAL = 250
"""Natural inputs of a set, and mixtures: 64 of them name one victim in four less than 200 do (docs/results)."""


def domain_probes(domains: Collection[str], total: int = TOTAL) -> dict[str, ProbeSet]:
    """A set for each of `domains` that is known: `total` natural inputs, or as many as are left (of news: 97), and
    mixtures.

    Raises ValueError if none of them is known.
    """
    made = {
        **{name: _image_set(name, total) for name in get_args(Pictures) if name in domains},
        **{name: _text_set(name, total) for name in get_args(Corpus) if name in domains},
    }
    if not made:
        raise ValueError(f"no known domain among {', '.join(sorted(domains))}")
    return made


def _image_set(name: Pictures, total: int) -> ProbeSet:
    with tempfile.TemporaryDirectory() as scratch:
        for number, pixels in enumerate(as_pictures(pictures(name, "probe")[0])[:total]):
            Image.fromarray(pixels).save(Path(scratch) / f"{number:03}.png")
        return probes_from_images(Path(scratch), f"domain-{name}", total)


def _text_set(name: Corpus, total: int) -> ProbeSet:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "texts.txt"
        file.write_text("\n".join(_texts(name)[:total]) + "\n", encoding="utf-8")
        return probes_from_texts(file, f"domain-{name}", total)


def _texts(name: Corpus) -> list[str]:
    return [_first_words(text) for text in corpus_texts(name, "zoo").test.texts[COUNT:]]


def _first_words(text: str) -> str:
    return " ".join(text.split()[:32])
