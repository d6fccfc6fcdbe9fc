"""What simple people would try first: four plain scores, models × models, NaN where they do not apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file

from provray.testbed.folders import Record
from provray.testbed.scoreboard.cases import Cases, data_of
from provray.testbed.scoreboard.outputs import Outputs, labelled_set

Matrix = npt.NDArray[np.float64]

BASELINES = (
    "plain weight cosine",
    "linear CKA, natural",
    "agreement on errors",
    "sample correlation (SAC)",
)


def baseline_matrices(
    zoo: Path,
    records: Mapping[str, Record],
    outputs: Mapping[str, Outputs],
    cases: Cases,
) -> dict[str, Matrix]:
    """All four, for the pairs of `cases` that are asked."""
    return {
        BASELINES[0]: weight_cosines(zoo, records, cases),
        BASELINES[1]: linear_cka(outputs, cases),
        BASELINES[2]: agreement_on_errors(records, outputs, cases),
        BASELINES[3]: sample_correlation(records, outputs, cases),
    }


def _empty(cases: Cases) -> Matrix:
    return np.full((len(cases.models), len(cases.models)), np.nan)


def weight_cosines(zoo: Path, records: Mapping[str, Record], cases: Cases) -> Matrix:
    """Cosine of all weights that two files hold under the same names and shapes, side by side as one vector.

    0 where they share nothing.
    """

    @lru_cache(maxsize=64)
    def tensors(number: int) -> dict[str, npt.NDArray[np.float32]]:
        file = zoo / records[cases.models[number]].path / "model.safetensors"
        # through torch: numpy knows no bfloat16
        return {n: t.float().numpy().ravel() for n, t in load_file(file).items() if t.ndim >= 1}

    found = _empty(cases)
    for row, suspect in enumerate(cases.suspects):
        own = tensors(int(suspect))
        for candidate in cases.candidates[cases.asked[row]]:
            other = tensors(int(candidate))
            shared = [n for n in own if n in other and own[n].shape == other[n].shape]
            dot = sum(float(own[n] @ other[n]) for n in shared)
            norms = [sum(float(t[n] @ t[n]) for n in shared) for t in (own, other)]
            found[suspect, candidate] = dot / max((norms[0] * norms[1]) ** 0.5, 1e-30)
    return found


def linear_cka(outputs: Mapping[str, Outputs], cases: Cases) -> Matrix:
    """Linear CKA of the last hidden states on natural default probes, exact (Kornblith et al., ICML 2019)."""
    found = _empty(cases)
    by_size: dict[int, list[int]] = {}
    for number, model in enumerate(cases.models):
        if model in outputs:
            by_size.setdefault(outputs[model].gram.size, []).append(number)
    for numbers in by_size.values():
        grams = np.stack([outputs[cases.models[n]].gram for n in numbers])
        found[np.ix_(numbers, numbers)] = grams @ grams.T
    return found


def _domain(record: Record, outputs: Outputs) -> str | None:
    """The labelled set of a candidate's own task, None if it has no answers there."""
    domain = data_of(record)
    return domain if domain in outputs.probabilities else None


def agreement_on_errors(
    records: Mapping[str, Record], outputs: Mapping[str, Outputs], cases: Cases
) -> Matrix:
    """Share of the inputs a candidate gets wrong on which the suspect gives the same wrong label.

    NaN for suspects of another number of classes: their labels mean something else.
    """
    found = _empty(cases)
    for candidate in cases.candidates:
        model = cases.models[candidate]
        if model not in outputs or (domain := _domain(records[model], outputs[model])) is None:
            continue
        own = outputs[model].probabilities[domain]
        named = own.argmax(1)
        wrong = named != labelled_set(domain).labels
        for suspect in cases.suspects:
            other = outputs.get(cases.models[suspect])
            given = None if other is None else other.probabilities.get(domain)
            if given is not None and given.shape[1] == own.shape[1] and wrong.any():
                found[suspect, candidate] = np.mean(given.argmax(1)[wrong] == named[wrong])
    return found


def sample_correlation(
    records: Mapping[str, Record], outputs: Mapping[str, Outputs], cases: Cases
) -> Matrix:
    """Minus the mean difference of two models' correlations among inputs (SAC, Guan et al., NeurIPS 2022).

    C_ij is the correlation of a model's outputs on inputs i and j: mixtures of two pictures (their SAC-m), or plain
    test texts. It needs no common classes.
    """
    found = _empty(cases)
    domains: dict[str, list[int]] = {}
    for candidate in cases.candidates:
        model = cases.models[candidate]
        if model in outputs and (domain := _domain(records[model], outputs[model])) is not None:
            mixed = f"{domain} mixed"
            name = mixed if mixed in outputs[model].probabilities else domain
            domains.setdefault(name, []).append(int(candidate))
    for domain, candidates in domains.items():
        held = {
            number: _correlations(given)
            for number, model in enumerate(cases.models)
            if model in outputs and (given := outputs[model].probabilities.get(domain)) is not None
        }
        for suspect in cases.suspects:
            if suspect in held:
                for candidate in candidates:
                    difference = np.abs(held[int(suspect)] - held[candidate]).mean()
                    found[suspect, candidate] = -float(difference)
    return found


def _correlations(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = probabilities - probabilities.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.maximum(norms, 1e-12)
    return (unit @ unit.T).astype(np.float32)


def names_of(parts: Sequence[str]) -> list[str]:
    """The baselines among some parts, in order."""
    return [name for name in BASELINES if name in parts]
