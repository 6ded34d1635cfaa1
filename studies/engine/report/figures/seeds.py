"""Every seed of every arm, pairs joined, and the differences of the pairs."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from studies.engine.compare import Comparison, Comparisons
from studies.engine.report.figures.style import COLOURS, INK, SOFT, Drawing, new_figure, wrapped
from studies.engine.report.stored import StoredStudy
from studies.engine.report.table import points

VERDICT_MARKS = {
    "better": ("^", COLOURS[2]),
    "worse": ("v", COLOURS[1]),
    "equivalent": ("D", COLOURS[0]),
    "undecided": ("o", INK),
}


def draw_seeds(study: StoredStudy) -> Drawing:
    """The outcome of every confirmation run: per comparison two rows, joined by seed."""
    comparisons, outcome = study.comparisons, study.comparisons.outcome
    scale = outcome.scale
    pairs = [(c.arm, c.reference) for c in comparisons.comparisons]
    lonely = [s.arm for s in comparisons.arms if not any(s.arm in pair for pair in pairs)]
    groups: list[tuple[str, ...]] = [*pairs, *((arm,) for arm in lonely)]
    rows = sum(len(group) for group in groups)
    figure = new_figure(0.45 + 0.235 * rows + 0.09 * len(groups))
    axes = figure.add_subplot()
    ticks: list[float] = []
    labels: list[str] = []
    top = 0.0
    for group in groups:
        places = [top + i for i in range(len(group))]
        if len(group) == 2:
            ours, theirs = (study.accuracies[arm] for arm in group)
            joins = [
                [(scale * ours[seed], places[0]), (scale * theirs[seed], places[1])]
                for seed in sorted(set(ours) & set(theirs))
            ]
            # Many lines lie upon each other: fainter, they show where most of them run.
            alpha = min(0.6, max(0.2, 12 / max(1, len(joins))))
            lines = LineCollection(joins, colors=SOFT, linewidths=0.5, alpha=alpha, zorder=1)
            axes.add_collection(lines)
        for place, arm, colour, marker in zip(places, group, COLOURS, ("o", "^"), strict=False):
            values = [scale * value for value in study.accuracies[arm].values()]
            axes.plot(
                values, [place] * len(values), marker, color=colour, markersize=2.6, alpha=0.75,
                markeredgewidth=0, zorder=2,
            )  # fmt: skip
            summary = comparisons.arm(arm)
            axes.plot(
                [scale * summary.low, scale * summary.high], [place, place], color=INK,
                linewidth=2.2, solid_capstyle="butt", zorder=3,
            )  # fmt: skip
            axes.plot(scale * summary.mean, place, "|", color=INK, markersize=7, zorder=4)
            ticks.append(place)
            labels.append(wrapped(arm))
        top = places[-1] + 1.4
    axes.set_yticks(ticks, labels, linespacing=0.9)
    axes.set_ylim(top - 0.8, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(outcome.label)
    best = max(comparisons.arms, key=lambda s: s.mean)
    worst = min(comparisons.arms, key=lambda s: s.mean)
    return Drawing(
        "seeds",
        "Every seed of every arm",
        "Each point is one training on a fresh seed; a line joins the two trainings of a pair, "
        "which saw the same batches. Bar and tick: the mean and its "
        f"{confidence(comparisons)} interval. Above in each pair: the arm (circles); below: what "
        "it is compared with (triangles).",
        f"{len(study.confirmation)} trainings of {len(comparisons.arms)} arms. "
        f"Highest mean: {best.arm}, {outcome.text(best.mean)} {outcome.unit}; lowest: "
        f"{worst.arm}, {outcome.text(worst.mean)} {outcome.unit}.".replace(" .", "."),
        figure,
    )


def draw_differences(study: StoredStudy) -> Drawing | None:
    """Paired differences with intervals and the equivalence margin; None without comparisons."""
    comparisons = study.comparisons
    rows, outcome = comparisons.comparisons, comparisons.outcome
    scale = outcome.scale
    if not rows:
        return None
    figure = new_figure(0.75 + 0.36 * len(rows))
    axes = figure.add_subplot()
    axes.axvspan(-comparisons.margin, comparisons.margin, color=COLOURS[4], alpha=0.22, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.6)
    for place, comparison in enumerate(rows):
        ours, theirs = study.accuracies[comparison.arm], study.accuracies[comparison.reference]
        seeds = sorted(set(ours) & set(theirs))
        values = [scale * (ours[seed] - theirs[seed]) for seed in seeds]
        spread = np.linspace(0.16, 0.34, 5)[np.arange(len(values)) % 5]
        axes.plot(
            values, place + spread, ".", color=SOFT, markersize=2.2, alpha=0.8, markeredgewidth=0
        )
        marker, colour = VERDICT_MARKS[comparison.verdict]
        axes.plot(
            [comparison.low, comparison.high], [place] * 2, color=colour, linewidth=1.6,
            solid_capstyle="butt",
        )  # fmt: skip
        axes.plot(comparison.mean_difference, place, marker, color=colour, markersize=4.5)
    names = [f"{wrapped(c.arm)}\nvs {c.reference}" for c in rows]
    axes.set_yticks(range(len(rows)), names, linespacing=0.9, fontsize=6)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    unit = f"\n({outcome.difference})" if outcome.unit else ""
    axes.set_xlabel(f"difference in {outcome.words}{unit}")
    found = [verdict for verdict in VERDICT_MARKS if any(c.verdict == verdict for c in rows)]
    handles = [
        Line2D([], [], color=VERDICT_MARKS[v][1], marker=VERDICT_MARKS[v][0], markersize=4, label=v)
        for v in found
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(found))
    return Drawing(
        "differences",
        "Differences to the reference",
        f"{'Right' if outcome.higher_is_better else 'Left'} of zero the arm is better. The band is "
        f"the equivalence margin of ±{comparisons.margin:g} {outcome.difference}; "
        f"marker and line are the mean difference and its "
        f"{confidence(comparisons)} interval, small points the seeds. The marker's form is the "
        "verdict.",
        " ".join(_in_words(comparison) for comparison in rows),
        figure,
    )


def confidence(comparisons: Comparisons) -> str:
    """The intervals' confidence in words."""
    return f"{100 * (1 - comparisons.alpha):.4g} %"


def _in_words(comparison: Comparison) -> str:
    return (
        f"{comparison.arm} against {comparison.reference}: {points(comparison.mean_difference)}, "
        f"interval {points(comparison.low)} to {points(comparison.high)}, {comparison.verdict}."
    )
