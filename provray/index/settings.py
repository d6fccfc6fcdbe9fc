"""The settings an index was begun with: whoever adds to it or asks it uses the same."""

from __future__ import annotations

import json

from provray.fingerprints.settings import FingerprintSettings, WeightsSettings
from provray.fingerprints.space import weights_space
from provray.index.table import FingerprintTable


def index_settings(table: FingerprintTable, sample: int | None = None) -> FingerprintSettings:
    """Settings of the index's own weights space, or of a new index with this `sample` (None: everything is read).

    Raises ValueError if `sample` is another than the index's: sketches of two samples are never compared.
    """
    spaces = [space for space in table.spaces().values() if space.kind == "weights"]
    asked = FingerprintSettings(weights=WeightsSettings(sample=sample or 0))
    if not spaces or weights_space(asked) in spaces:
        return asked
    held = FingerprintSettings(weights=WeightsSettings(**json.loads(spaces[0].settings)))
    if sample is not None and sample != held.weights.sample:
        raise ValueError(
            f"the weights in {table.location} are sketched with a sample of {held.weights.sample} blocks (0: all), not "
            f"{sample}: leave --sample out, or crawl into a new index"
        )
    return held
