"""Measurements of the confirmation runs against where they ended."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from studies.engine.compare.signed_rank import doubled_midranks
from studies.engine.report.figures.style import (
    COLOURS,
    MARKERS,
    Drawing,
    log_axis,
    new_figure,
    wrapped,
)
from studies.engine.report.stored import DIAGNOSTICS, StoredStudy

_MOST = 6


def draw_diagnostics(study: StoredStudy) -> Drawing | None:
    """Test accuracy over each diagnostic, a point per run; None where none was measured.

    Shown are the six whose rank correlation with the accuracy is the largest.
    """
    runs = study.confirmation
    accuracy = np.array([float(row["test_accuracy"]) for row in runs])
    values = {name: np.array([_value(row[name]) for row in runs]) for name in study.diagnostics}
    order = {name: rank_correlation(column, accuracy) for name, column in values.items()}
    known = [name for name in order if not math.isnan(order[name])]
    shown = sorted(known, key=lambda name: -abs(order[name]))[:_MOST]
    if not shown:
        return None
    height = (len(shown) + 1) // 2
    figure = new_figure(1.35 * height + 0.3 + 0.13 * math.ceil(len(study.comparisons.arms) / 2))
    for index, name in enumerate(shown):
        axes = figure.add_subplot(height, min(2, len(shown)), index + 1)
        for place, summary in enumerate(study.comparisons.arms):
            own = np.array([row["arm"] == summary.arm for row in runs])
            axes.plot(
                values[name][own], 100 * accuracy[own], MARKERS[place % len(MARKERS)],
                color=COLOURS[place % len(COLOURS)], markersize=2.6, alpha=0.8,
                markerfacecolor="none" if place >= len(COLOURS) else None, linestyle="none",
                markeredgewidth=0.5, label=summary.arm if index == 0 else None,
            )  # fmt: skip
        column = values[name][~np.isnan(values[name])]
        if column.min() > 0 and column.max() > 30 * column.min():
            log_axis(axes, "x")
        axes.set_xlabel(wrapped(_plain(name), 26))
        axes.set_title(f"rank correlation {order[name]:+.2f}", loc="left", fontsize=6)
        if index % 2 == 0:
            axes.set_ylabel("test accuracy (%)")
    figure.legend(loc="outside lower center", ncols=2)
    return Drawing(
        "diagnostics",
        "Diagnostics against the final accuracy",
        "Each point is one confirmation run: what was measured of the network against its test "
        "accuracy. Clouds of different arms side by side show differences between arms, a slope "
        "within one cloud a relation beyond the arm.",
        " ".join(f"{_plain(name)}: rank correlation {order[name]:+.2f}." for name in shown),
        figure,
    )


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation over the places where both are finite; NaN where undefined.

    Args:
        first: shape (n,).
        second: shape (n,).
    """
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return math.nan
    # Ranks of signed values: midranks of the distance from the smallest.
    one, other = (
        doubled_midranks(v[both] - v[both].min()).astype(np.float64) for v in (first, second)
    )
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def _value(text: str) -> float:
    return float(text) if text else math.nan


def _plain(name: str) -> str:
    return name.removeprefix(DIAGNOSTICS).replace("_", " ").replace(".", " ")
