"""An index as a crawl and as questions find it: its probe sets, and a snapshot in their spaces.

Imports neither torch nor Ray: whatever only answers from what is indexed starts in a second and stays small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.space import behaviour_space, weights_space
from provray.index.settings import index_settings
from provray.index.table import FingerprintTable, Place
from provray.probes import ProbeSet, default_probes

_BEHAVIOUR: tuple[Literal["dna", "gif"], ...] = ("dna", "gif")


def choose_probes(
    table: FingerprintTable, given: Sequence[ProbeSet], keep: bool = True
) -> dict[str, ProbeSet]:
    """The probe set of each modality: the given one, else the index's own, else provray's default.

    keep: also keep a copy of them in the index. Raises ValueError if two given sets share a modality, or the index
    holds several of a modality and none was given.
    """
    chosen: dict[str, ProbeSet] = {}
    for probes in given:
        if probes.modality in chosen:
            raise ValueError(f"two {probes.modality} probe sets were given; give one per modality")
        chosen[probes.modality] = probes
    held: dict[str, list[ProbeSet]] = {}
    for probes in table.probe_sets():
        held.setdefault(probes.modality, []).append(probes)
    for modality in ("image", "text"):
        own = held.get(modality, [])
        if modality in chosen:
            continue
        if len(own) > 1:
            names = ", ".join(f"{p.name} ({p.digest[:12]})" for p in own)
            raise ValueError(
                f"the index holds several {modality} probe sets: {names}; choose with --probes"
            )
        chosen[modality] = own[0] if own else default_probes(modality)
    if keep:
        for probes in chosen.values():
            table.keep_probes(probes)
    return chosen


def compared_spaces(settings: FingerprintSettings, probes: Mapping[str, str]) -> list[str]:
    """Ids of the spaces in which models are compared. `probes`: digest of the probe set of each modality."""
    behaviour = [
        behaviour_space(kind, settings, modality, digest).id
        for kind in _BEHAVIOUR
        for modality, digest in sorted(probes.items())
    ]
    return [weights_space(settings).id, *behaviour]


def read_index(
    place: Place, probes: Sequence[ProbeSet] = (), version: int | None = None
) -> Snapshot:
    """An index as questions see it: in the spaces of these probe sets, else of its own. Starts nothing.

    Raises BadIndex, SpaceMismatch, and ValueError for an index of several probe sets of which none was given.
    """
    table = FingerprintTable.open(place, version)
    digests = {m: p.digest for m, p in choose_probes(table, probes, keep=False).items()}
    return open_snapshot(place, compared_spaces(index_settings(table), digests), version)
