"""Probe sets of a zoo's own domains: inputs of the kind its models were made for, none of which any was trained on.

Inheritance needs no domain; theft does, since decision boundaries are copied where the victim was asked.
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

TOTAL = 128


def domain_probes(domains: Collection[str]) -> list[ProbeSet]:
    """Sets of `TOTAL` natural inputs, images and texts, shared out over those of `domains` that are known.

    Raises ValueError if none of them is.
    """
    made: list[ProbeSet] = []
    images = [name for name in get_args(Pictures) if name in domains]
    texts = [name for name in get_args(Corpus) if name in domains]
    with tempfile.TemporaryDirectory() as scratch:
        for name in images:
            for number, pixels in enumerate(as_pictures(pictures(name, "probe")[0])):
                if number < TOTAL // len(images):
                    Image.fromarray(pixels).save(Path(scratch) / f"{name}-{number:03}.png")
        if images:
            made.append(probes_from_images(Path(scratch), "domain-image", TOTAL))
        if texts:
            chosen = [text for name in texts for text in _texts(name)[: TOTAL // len(texts)]]
            file = Path(scratch) / "texts.txt"
            file.write_text("\n".join(chosen) + "\n", encoding="utf-8")
            made.append(probes_from_texts(file, "domain-text", TOTAL))
    if not made:
        raise ValueError(f"no known domain among {', '.join(sorted(domains))}")
    return made


def _texts(name: Corpus) -> list[str]:
    return [_first_words(text) for text in corpus_texts(name, "zoo").test.texts[COUNT:]]


def _first_words(text: str) -> str:
    return " ".join(text.split()[:32])
