"""Spaces: what makes two vectors comparable.

A space is a kind (weights, dna, gif) with its settings and, for behaviour, the modality and digest of the probe
set. It is hashed to a `space_id`. Vectors of two spaces are never compared: that is an error, not a low score.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from provray.fingerprints.settings import FingerprintSettings

Kind = Literal["weights", "dna", "gif"]

FORMAT = 1
"""Raised whenever the same settings start to give other numbers."""


class SpaceMismatch(ValueError):
    """Two vectors, or a probe set and an index, do not live in the same space."""


@dataclass(frozen=True)
class Space:
    """One space. `settings` is the canonical JSON of the kind's settings; `probes` the probe set's digest
    and `modality` its inputs, both empty for weights."""

    kind: Kind
    settings: str
    modality: str = ""
    probes: str = ""

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name this space."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _canonical(settings: Any) -> str:
    """Settings as JSON, sorted by name. One that was added later is left out at its default (`ADDED_LATER`)."""
    written = asdict(settings)
    for setting in fields(settings):
        if "added later" in setting.metadata and written[setting.name] == setting.default:
            del written[setting.name]
    return json.dumps(written, sort_keys=True, separators=(",", ":"))


def weights_space(settings: FingerprintSettings) -> Space:
    """The space of weights sketches under `settings`."""
    return Space("weights", _canonical(settings.weights))


def behaviour_space(
    kind: Literal["dna", "gif"], settings: FingerprintSettings, modality: str, probes: str
) -> Space:
    """The space of one behaviour fingerprint under `settings` on the probe set with digest `probes`."""
    return Space(kind, _canonical(getattr(settings, kind)), modality, probes)


def require_same(ours: str, theirs: str, *, what: str) -> None:
    """Raises SpaceMismatch unless the two space ids are equal."""
    if ours != theirs:
        raise SpaceMismatch(
            f"{what}: space {ours} does not match {theirs}; vectors of two spaces are never compared. "
            "Fingerprint both with the same probe sets and settings (see `provray show --index URI`)."
        )
