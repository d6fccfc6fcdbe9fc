"""The figure of a stealing benchmark: fidelity, accuracy and variance of members against training iterations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from provray.testbed.steal_results import Look, surrogates_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that stay apart for the colour-blind (Okabe and Ito); markers tell lines apart without any.
_STYLES = (
    ("#000000", "o", "--"),
    ("#0072B2", "s", "-"),
    ("#E69F00", "^", "-"),
    ("#009E73", "D", "-"),
    ("#CC79A7", "v", "-"),
    ("#D55E00", "P", "-"),
)
_INK, _FAINT = "#333333", "#d9d9d9"
#: What each panel shows: its title, its axis, the value.
_PANELS: tuple[tuple[str, str, Callable[[Look], float]], ...] = (
    ("Fidelity", "share of labels equal to the victim's", lambda look: look.fidelity),
    ("Accuracy", "share of labels that are right", lambda look: look.accuracy),
    (
        "Variance of members' predictions",
        "mean variance, in 10⁻³",
        lambda look: 1e3 * look.variance,
    ),
)


def draw_steal_plot(looks: Sequence[Look], file: Path, *, title: str) -> None:
    """Draw one line per surrogate, the mean over seeds, on a band from the lowest to the highest seed.

    `file` ends in .png or .svg. Raises ValueError if there is nothing to draw. The variance panel leaves out
    surrogates whose members never differ: the control.
    """
    if not looks:
        raise ValueError("no checkpoint was looked at, so there is nothing to draw")
    # matplotlib is needed for this alone; a figure of its own keeps the process's backend as it is
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(_PANELS))
    iterations = sorted({look.iteration for look in looks})
    seeds = len({look.seed for look in looks})
    for axes, (heading, axis, value) in zip(panels, _PANELS, strict=True):
        _dress(axes, heading, axis, iterations)
        for number, name in enumerate(surrogates_of(looks)):
            runs = _runs([look for look in looks if look.surrogate == name], value)
            if not runs.any():
                continue
            colour, marker, line = _STYLES[number % len(_STYLES)]
            axes.fill_between(
                iterations, runs.min(0), runs.max(0), color=colour, alpha=0.12, linewidth=0
            )
            axes.plot(
                iterations,
                runs.mean(0),
                line,
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.7,
                label=name,
                zorder=4 if number == 0 else 3,
            )
        if axes is panels[-1]:
            axes.set_ylim(bottom=0)
        else:
            _cut(axes, heading, [value(look) for look in looks if look.iteration != iterations[0]])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=10
    )
    shown = f"mean of {seeds} seeds, band from lowest to highest" if seeds > 1 else "one seed"
    figure.suptitle(f"{title}; {shown}", fontsize=11, color=_INK)
    figure.savefig(file)


def _cut(axes: Axes, heading: str, values: Sequence[float]) -> None:
    """Let the axis begin below `values`: untrained networks at the bottom would press all else together."""
    if values:
        bottom = np.floor(20 * min(values)) / 20
        axes.set_ylim(bottom=bottom)
        axes.set_title(f"{heading} (axis begins at {bottom:.2f})", loc="left", fontsize=12)


def _runs(looks: Sequence[Look], value: Callable[[Look], float]) -> np.ndarray:
    """Values as seeds × iterations."""
    seeds = sorted({look.seed for look in looks})
    return np.array(
        [
            [value(look) for look in sorted(looks, key=lambda o: o.iteration) if look.seed == seed]
            for seed in seeds
        ]
    )


def _dress(axes: Axes, heading: str, axis: str, iterations: Sequence[int]) -> None:
    axes.set_title(heading, loc="left", fontsize=12, color=_INK)
    axes.set_ylabel(axis, fontsize=10, color=_INK)
    axes.set_xlabel("training iterations", fontsize=10, color=_INK)
    axes.set_xticks(list(iterations))
    axes.tick_params(labelsize=9, colors=_INK)
    axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
