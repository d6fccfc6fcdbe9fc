"""Probe sets: the fixed inputs that every model of a modality is asked about.

`ProbeSet` is a content-addressed list of probes in three strata; `default_probes` builds the sets that come
with provray, `probes_from_images` and `probes_from_texts` make one of your own, `read_probes` and
`write_probes` keep it as Parquet.
"""

from provray.probes.build import (
    DEFAULT_COUNT,
    default_probes,
    probes_from_images,
    probes_from_texts,
)
from provray.probes.probe import MODALITIES, Modality, Probe, make_probe
from provray.probes.probe_set import (
    ProbeSet,
    ProbeSetError,
    Shard,
    read_probes,
    write_probes,
)

__all__ = [
    "DEFAULT_COUNT",
    "MODALITIES",
    "Modality",
    "Probe",
    "ProbeSet",
    "ProbeSetError",
    "Shard",
    "default_probes",
    "make_probe",
    "probes_from_images",
    "probes_from_texts",
    "read_probes",
    "write_probes",
]
