"""What an index keeps beside its table, under names that are hashes of the content: probe sets and spaces.

An object that is there is never written again, so writers need no lock, and whoever changes one can be found out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import PurePosixPath

from provray.fingerprints.space import FORMAT, Space
from provray.index.location import BadIndex, IndexLocation
from provray.probes import ProbeSet, ProbeSetError
from provray.probes.probe_set import probes_from_bytes, probes_to_bytes


def probes_name(digest: str) -> str:
    """Where the probe set with this digest lies."""
    return f"probes/{digest}.parquet"


def space_name(space_id: str) -> str:
    """Where the space with this id lies."""
    return f"spaces/{space_id}.json"


def keep_probes(location: IndexLocation, probes: ProbeSet) -> None:
    """Keep a copy of a probe set. Raises BadIndex if it cannot be written."""
    location.write_new(probes_name(probes.digest), probes_to_bytes(probes))


def read_kept_probes(location: IndexLocation, digest: str) -> ProbeSet:
    """The index's copy of a probe set. Raises BadIndex if there is none, ProbeSetError if it was changed."""
    name = probes_name(digest)
    probes = probes_from_bytes(location.read(name), f"{location}/{name}")
    if probes.digest != digest:
        raise ProbeSetError(
            f"{location}/{name} holds the probe set {probes.digest[:12]}… instead of the one it is named "
            "after; delete it and crawl again"
        )
    return probes


def kept_probes(location: IndexLocation) -> list[str]:
    """Digests of the probe sets that are kept, sorted."""
    names = [PurePosixPath(name) for name in location.names("probes")]
    return [name.stem for name in names if name.suffix == ".parquet"]


def keep_spaces(location: IndexLocation, spaces: Iterable[Space]) -> None:
    """Keep what spaces are made of, each as the JSON that its id is the hash of. Raises BadIndex if they cannot be
    written."""
    for space in spaces:
        text = json.dumps({"format": FORMAT, **asdict(space)}, sort_keys=True)
        location.write_new(space_name(space.id), text.encode())


def read_kept_space(location: IndexLocation, space_id: str) -> Space | None:
    """The space with this id; None if it was made by a provray whose numbers are others. Raises BadIndex if there is
    none, or it was changed."""
    name = space_name(space_id)
    content = location.read(name)
    changed = BadIndex(
        f"{location}/{name} was changed after it was written; delete it and crawl again"
    )
    if not space_id.endswith(f"-{hashlib.sha256(content).hexdigest()[:16]}"):
        raise changed
    try:
        plain = json.loads(content)
        made_as = plain.pop("format")
        space = Space(**plain)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise changed from error
    if made_as != FORMAT:
        return None
    if space.id != space_id:
        raise changed
    return space


def kept_spaces(location: IndexLocation) -> list[str]:
    """Ids of the spaces that are kept, sorted."""
    names = [PurePosixPath(name) for name in location.names("spaces")]
    return [name.stem for name in names if name.suffix == ".json"]
