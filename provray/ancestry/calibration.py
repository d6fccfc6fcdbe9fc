"""What verdicts are calibrated by: weights of the scores and nulls, fitted on families of known lineage.

They come as one safetensors file, made by `provray zoo fit`; its header says from which data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from provray.ancestry.null import Null

Floats = npt.NDArray[np.float64]
NullKey = tuple[str, str]
"""(score, condition)."""


@dataclass(frozen=True)
class Calibration:
    """coefficients: by pattern of the scores that are there, a weight for each feature and an intercept. nulls: by
    score
    and condition. facts: how it was made (command, digest of the data)."""

    coefficients: Mapping[str, Floats]
    nulls: Mapping[NullKey, Null]
    facts: Mapping[str, str] = field(default_factory=dict)

    def log_odds(self, pattern: str, features: Sequence[float]) -> float:
        """Log-odds of a pair whose features are there as `pattern` says; 0 stands for a missing one."""
        weights = self.coefficients[pattern]
        return float(weights[:-1] @ np.asarray(features) + weights[-1])


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write to a safetensors file."""
    tensors: dict[str, npt.NDArray[np.float64]] = {
        f"coefficients|{pattern}": weights for pattern, weights in calibration.coefficients.items()
    }
    counts = {}
    for (score, condition), null in calibration.nulls.items():
        name = f"null|{score}|{condition}"
        tensors[name] = np.concatenate([null.quantiles, [null.shape, null.scale]])
        counts[name] = f"{null.pairs} {null.families}"
    save_file(tensors, path, {**calibration.facts, "counts": json.dumps(counts, sort_keys=True)})


def read_calibration(path: Path) -> Calibration:
    """Read a file of `write_calibration`."""
    coefficients: dict[str, Floats] = {}
    nulls: dict[NullKey, Null] = {}
    with safe_open(path, "np") as file:
        facts = dict(file.metadata())
        counts = json.loads(facts.pop("counts"))
        for name in file.keys():  # noqa: SIM118 - safe_open is no dictionary
            kind, *rest = name.split("|")
            values = file.get_tensor(name)
            if kind == "coefficients":
                coefficients[rest[0]] = values
            else:
                pairs, families = (int(n) for n in counts[name].split())
                nulls[rest[0], rest[1]] = Null(
                    rest[1],
                    "shipped",
                    pairs,
                    families,
                    values[:-2],
                    float(values[-2]),
                    float(values[-1]),
                )
    return Calibration(coefficients, nulls, facts)


@lru_cache(maxsize=1)
def shipped_calibration() -> Calibration:
    """The calibration that comes with provray."""
    with resources.as_file(
        resources.files("provray.ancestry") / "data" / "calibration.safetensors"
    ) as path:
        return read_calibration(path)
