"""All parts together: one number per pair, fitted on one fold's families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from provray.testbed.scoreboard.cases import Cases
from provray.testbed.scoreboard.parts import BEHAVIOUR_MEAN, LOWER_PROFILE, SHARED_VALUES, Matrix

#: What the fusions see of a pair.
FEATURES = (
    "weights",
    "biases",
    SHARED_VALUES,
    "dna noise@0",
    "dna noise@1/6",
    "dna noise@1/3",
    "dna noise@1/2",
    "dna noise@2/3",
    "dna noise@5/6",
    "dna noise@1",
    "dna natural@1",
    "dna mixed@1",
    "dna mixed@probabilities",
    "dna natural@probabilities",
    "dna noise@probabilities",
    "gif mixed@top_logit",
    "gif mixed@feature_norm",
    LOWER_PROFILE,
)


def untrained(parts: Mapping[str, Matrix]) -> Matrix:
    """Largest of the weights score, the lower profile and the mean behaviour: nothing is fitted."""
    with np.errstate(invalid="ignore"):
        return np.fmax(np.fmax(parts["weights"], parts[LOWER_PROFILE]), parts[BEHAVIOUR_MEAN])


def features(
    parts: Mapping[str, Matrix], cases: Cases, names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Suspects × candidates × features; 0, the expectation of strangers, where a score is missing."""
    columns = [parts[name][np.ix_(cases.suspects, cases.candidates)] for name in names]
    return np.nan_to_num(np.stack(columns, axis=-1))


def logistic(
    parts: Mapping[str, Matrix], cases: Cases, fold: int, names: Sequence[str] = FEATURES
) -> npt.NDArray[np.float64]:
    """Log-odds of ancestry, suspects × candidates, by logistic regression fitted on the pairs of `fold` alone.

    Classes are balanced; features are scaled by their deviation in that fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = [name for name in names if name in parts]
    values = features(parts, cases, names)
    used = cases.asked & cases.of_fold(fold)[:, None]
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000)
    )
    model.fit(values[used], cases.true[used])
    flat = values.reshape(-1, values.shape[-1])
    odds: npt.NDArray[np.float64] = model.decision_function(flat).reshape(values.shape[:2])
    return odds
