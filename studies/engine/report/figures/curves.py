"""Learning curves with bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.special import stdtrit

from studies.engine.report.figures.style import COLOURS, LINES, Drawing, log_axis, new_figure
from studies.engine.report.stored import StoredStudy


def draw_curves(study: StoredStudy) -> Drawing | None:
    """Validation error by epoch, mean and band over the seeds; None where no curves were kept."""
    curves = {s.arm: _errors(study, s.arm) for s in study.comparisons.arms}
    curves = {arm: table for arm, table in curves.items() if table.size}
    if not curves or max(table.shape[1] for table in curves.values()) < 2:
        return None
    figure = new_figure(2.35 + 0.13 * math.ceil(len(curves) / 2))
    axes = figure.add_subplot()
    lowest = math.inf
    for index, (arm, table) in enumerate(curves.items()):
        mean, half = mean_and_half(table)
        epochs = np.arange(1, table.shape[1] + 1)
        colour = COLOURS[index % len(COLOURS)]
        style = LINES[(index + index // len(COLOURS)) % len(LINES)]
        axes.plot(epochs, mean, color=colour, linestyle=style, label=arm)
        axes.fill_between(epochs, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
        lowest = min(lowest, float(np.nanmin(mean - half)))
    if lowest > 0:
        log_axis(axes, "y")
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation error (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.6, columnspacing=1.2)
    ends = {arm: mean_and_half(table)[0] for arm, table in curves.items()}
    return Drawing(
        "curves",
        "Learning curves",
        "Lower is better. A line is the mean validation error of an arm's confirmation runs after "
        "each epoch, its band the 95 % t interval of that mean: how fast an arm learns, beside "
        "where it ends.",
        "Validation error after the first and the last epoch: "
        + "; ".join(f"{arm} {m[0]:.1f} % and {m[-1]:.2f} %" for arm, m in ends.items())
        + ".",
        figure,
    )


def mean_and_half(table: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over runs and half the width of its 95 % t interval, per epoch.

    Args:
        table: shape (runs, epochs); NaN where a run had ended.

    Returns:
        Two float64 arrays, shape (epochs,). The half width is 0 where fewer than two runs are left.
    """
    count = np.sum(~np.isnan(table), axis=0)
    mean = np.nansum(table, axis=0) / np.maximum(count, 1)
    freedom = np.maximum(count - 1, 1)
    variance = np.nansum((table - mean) ** 2, axis=0) / freedom
    half = stdtrit(freedom, 0.975) * np.sqrt(variance / np.maximum(count, 1))
    return np.where(count > 0, mean, np.nan), np.where(count > 1, half, 0.0)


def _errors(study: StoredStudy, arm: str) -> NDArray[np.float64]:
    """Validation errors in per cent, shape (runs, epochs), NaN where a run had ended."""
    histories: list[Sequence[Mapping[str, str]]] = [
        study.curves[row["key"]]
        for row in study.confirmation
        if row["arm"] == arm and row.get("key", "") in study.curves
    ]
    longest = max(map(len, histories), default=0)
    table = np.full((len(histories), longest), np.nan)
    for row, history in zip(table, histories, strict=True):
        for index, epoch in enumerate(history):
            if epoch.get("val_accuracy"):
                row[index] = 100 * (1 - float(epoch["val_accuracy"]))
    return table if np.any(~np.isnan(table)) else np.empty((0, 0))
