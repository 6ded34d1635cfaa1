"""The search: what it saw of the hyperparameters, and how fast it got there."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.engine.report.figures.style import (
    COLOURS,
    INK,
    LINES,
    MARKERS,
    SOFT,
    Drawing,
    accuracy_axis,
    below,
    log_axis,
    new_figure,
    percent_floor,
)
from studies.engine.report.stored import StoredStudy, Trial, best_trial

_TERNARY = "ternary"
_MOST_PANELS = 6


def unscaled_scale(density: float, fan_in: float) -> float:
    """Scale at which ternary weights of this density are -1, 0 and +1.

    A weight's magnitude is ``scale * sqrt(2) / sqrt(fan_in * density)`` (`initializers.Ternary`
    with its default gain, that of ReLU); it is 1 at ``scale = sqrt(fan_in * density / 2)``.
    Source: derived.
    """
    return float(np.sqrt(fan_in * density / 2))


def draw_landscape(study: StoredStudy) -> Drawing | None:
    """Validation accuracy over the searched hyperparameters, every trial a point."""
    families = {label: trials for label, trials in study.families.items() if trials[0].values}
    if not families:
        return None
    planes = [label for label, trials in families.items() if len(trials[0].values) >= 2][:2]
    names = list(dict.fromkeys(name for t in families.values() for name in t[0].values))
    names = names[:_MOST_PANELS]
    below_rows = (len(names) + 1) // 2
    figure = new_figure(2.35 * len(planes) + 1.55 * below_rows + 0.15)
    grid = figure.add_gridspec(
        len(planes) + below_rows, 2, height_ratios=[1.5] * len(planes) + [1.0] * below_rows
    )
    floor = percent_floor([t.accuracy for trials in families.values() for t in trials])
    for row, label in enumerate(planes):
        _plane(study, figure, figure.add_subplot(grid[row, :]), label, floor)
    for index, name in enumerate(names):
        alone = index == len(names) - 1 and index % 2 == 0
        column = slice(None) if alone else index % 2
        axes = figure.add_subplot(grid[len(planes) + index // 2, column])
        _marginal(axes, families, name, floor)
        if index % 2 == 0:
            axes.set_ylabel("validation accuracy (%)")
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    lost = sum(t.accuracy < floor for trials in families.values() for t in trials)
    curve = (
        f" The dashed line: weights of exactly -1, 0 and +1 in the layer of the largest fan-in "
        f"({_fan_in(study)})."
        if any(_has_curve(study, families[label]) for label in planes)
        else ""
    )
    return Drawing(
        "landscape",
        "Accuracy over the searched hyperparameters",
        "Each point is one trial of the search (mean over its seeds); hollow or small: given up "
        f"early or diverged. The star is the best, which went into the confirmation.{curve}"
        + below(lost, "trial"),
        " ".join(_best_in_words(label, trials) for label, trials in families.items()),
        figure,
    )


def draw_history(study: StoredStudy) -> Drawing | None:
    """Best validation accuracy so far against the number of trials, per family."""
    families = study.families
    if not families or max(len(trials) for trials in families.values()) < 2:
        return None
    figure = new_figure(2.1)
    axes = figure.add_subplot()
    floor = percent_floor([trial.accuracy for trial in study.trials])
    for index, (label, trials) in enumerate(families.items()):
        colour = COLOURS[index % len(COLOURS)]
        marker = MARKERS[index % len(MARKERS)]
        _points(axes, [t.number + 1 for t in trials], trials, floor, colour, marker)
        counting = [0.0 if t.state == "pruned" else t.accuracy for t in trials]
        best = 100 * np.maximum.accumulate(counting)
        axes.plot(
            [t.number + 1 for t in trials], best, drawstyle="steps-post", color=colour,
            linestyle=LINES[index % len(LINES)], marker=marker, markevery=[-1], markersize=4,
            label=label,
        )  # fmt: skip
    accuracy_axis(axes, floor)
    axes.set_xlabel("trials of the family")
    axes.set_ylabel("validation accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=4, handlelength=2.6)
    lost = sum(trial.accuracy < floor for trial in study.trials)
    return Drawing(
        "search",
        "Search history at equal budget",
        "The lines are each family's best trial so far, the points its trials (hollow: given up "
        "early or diverged). Flat lines at the right mean that more trials would have changed "
        "little." + below(lost, "trial"),
        " ".join(_best_in_words(label, trials) for label, trials in families.items()),
        figure,
    )


def _plane(study: StoredStudy, figure: Figure, axes: Axes, label: str, floor: float) -> None:
    trials = study.families[label]
    first, second = list(trials[0].values)[:2]
    top = 100 * max(trial.accuracy for trial in trials)
    levels = np.linspace(100 * floor, max(top, 100 * floor + 0.1), 8)
    colours = mpl.colormaps["cividis"]
    norm = BoundaryNorm(levels.tolist(), colours.N)
    points = None
    for state, size, edge in (("complete", 22, INK), ("other", 12, SOFT)):
        some = [t for t in trials if (t.state == "complete") == (state == "complete")]
        if some:
            points = axes.scatter(
                [t.values[first] for t in some],
                [t.values[second] for t in some],
                c=[max(100 * t.accuracy, 100 * floor) for t in some],
                s=size, cmap=colours, norm=norm, edgecolors=edge, linewidths=0.5, zorder=3,
            )  # fmt: skip
    log_axis(axes, "x")
    log_axis(axes, "y")
    if _has_curve(study, trials):
        limits = (axes.get_xlim(), axes.get_ylim())
        density = np.geomspace(*limits[0], 60)
        curve = [unscaled_scale(float(d), _fan_in(study)) for d in density]
        axes.plot(density, curve, color=INK, linestyle=LINES[1], linewidth=0.9, zorder=2)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])
    if best := best_trial(trials):
        axes.plot(
            best.values[first], best.values[second], "*", color=COLOURS[1], markersize=9,
            markeredgecolor=INK, markeredgewidth=0.5, zorder=4,
        )  # fmt: skip
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    axes.set_title(label, loc="left")
    if points is not None:
        bar = figure.colorbar(points, ax=axes, pad=0.02, aspect=16, format="%.1f")
        bar.set_label("validation accuracy (%)")


def _marginal(axes: Axes, families: dict[str, tuple[Trial, ...]], name: str, floor: float) -> None:
    for index, (label, trials) in enumerate(families.items()):
        colour = COLOURS[index % len(COLOURS)]
        marker = MARKERS[index % len(MARKERS)]
        axes.plot([], [], marker, color=colour, markersize=3.5, label=label)  # for the legend
        if name in trials[0].values:
            _points(axes, [t.values[name] for t in trials], trials, floor, colour, marker)
            if best := best_trial(trials):
                axes.plot(
                    best.values[name], 100 * best.accuracy, "*", color=colour, markersize=8,
                    markeredgecolor=INK, markeredgewidth=0.5, zorder=4,
                )  # fmt: skip
    accuracy_axis(axes, floor)
    log_axis(axes, "x")
    axes.set_xlabel(name)


def _points(
    axes: Axes,
    places: list[int] | list[float],
    trials: tuple[Trial, ...],
    floor: float,
    colour: str,
    marker: str,
) -> None:
    """Trials as points at their accuracies, not below the floor; hollow unless complete."""
    for full in (True, False):
        some = [i for i, trial in enumerate(trials) if (trial.state == "complete") == full]
        axes.plot(
            [places[i] for i in some],
            [100 * max(trials[i].accuracy, floor) for i in some],
            marker, color=colour, markersize=3, alpha=0.8, markeredgewidth=0.6,
            markerfacecolor=colour if full else "none", linestyle="none",
        )  # fmt: skip


def _fan_in(study: StoredStudy) -> int:
    return int(study.results.get("facts", {}).get("max_fan_in", 0))


def _has_curve(study: StoredStudy, trials: tuple[Trial, ...]) -> bool:
    """Whether the family is plain ternary over density and scale, for which the curve holds."""
    rows = (row for row in study.rows if row["family"] == trials[0].family)
    name = next(rows)["initializer"]
    return (
        list(trials[0].values)[:2] == ["density", "scale"]
        and name == _TERNARY
        and (_fan_in(study) > 0)
    )


def _best_in_words(label: str, trials: tuple[Trial, ...]) -> str:
    best = best_trial(trials)
    if best is None:
        return f"{label}: no complete trial."
    values = ", ".join(f"{name} {value:.3g}" for name, value in best.values.items())
    return (
        f"{label}: best of {len(trials)} trials is number {best.number + 1}"
        f"{f' at {values}' if values else ''}, {100 * best.accuracy:.2f} %."
    )
