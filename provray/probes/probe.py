"""One probe: an input that every model of a modality is asked about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")


@dataclass(frozen=True)
class Probe:
    """An input of a probe set.

    id: 16 hexadecimal digits, a hash of stratum and content, so that equal inputs have equal ids everywhere and
    every random sign can be seeded by it. content: uint8 array H×W×3 (RGB), or a text whose
    words are separated by single spaces.
    """

    id: str
    stratum: str
    content: npt.NDArray[np.uint8] | str


def make_probe(stratum: str, content: npt.NDArray[np.uint8] | str) -> Probe:
    """The probe of this content, with the id that follows from it."""
    digest = hashlib.sha256(stratum.encode() + b"\0")
    if isinstance(content, str):
        digest.update(content.encode())
    else:
        content = np.ascontiguousarray(content, dtype=np.uint8)
        digest.update(f"{content.shape}".encode() + content.tobytes())
    return Probe(digest.hexdigest()[:16], stratum, content)
