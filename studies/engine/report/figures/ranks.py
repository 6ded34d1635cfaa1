"""Average ranks over studies with the critical difference, and probabilities of improvement."""

from __future__ import annotations

from collections.abc import Sequence

from studies.engine.report.figures.style import COLOURS, INK, SOFT, Drawing, new_figure, wrapped
from studies.engine.report.several import Improvement, Ranking


def draw_ranks(ranking: Ranking) -> Drawing:
    """A critical-difference diagram with a row per arm, so that long names stay readable."""
    count = len(ranking.arms)
    groups = ranking.cliques()
    figure = new_figure(0.85 + (0.27 if count <= 12 else 0.18) * count)
    axes = figure.add_subplot()
    for row, rank in enumerate(ranking.ranks):
        axes.plot([1, rank], [row, row], color=SOFT, linewidth=0.6)
        axes.plot(rank, row, "o", color=COLOURS[0], markersize=4.5)
    step = 0.045 * (count - 1) + 0.02
    right = count + step * (len(groups) + 1)
    for index, (first, last) in enumerate(groups):
        place = count + step * (index + 1)
        axes.plot(
            [place, place], [first - 0.25, last + 0.25], color=INK, linewidth=2.4,
            solid_capstyle="butt",
        )  # fmt: skip
    length = ranking.critical_difference
    top = -1.0
    end = 1 + length
    axes.plot([1, end], [top, top], color=COLOURS[1], linewidth=1.6, marker="|", markersize=6)
    axes.annotate(
        f"critical difference {length:.2f}", (1, top), xytext=(0, 4), textcoords="offset points",
        color=COLOURS[1], va="bottom",
    )  # fmt: skip
    axes.set_yticks(range(count), [wrapped(arm) for arm in ranking.arms], linespacing=0.9)
    axes.set_ylim(count - 0.5, -1.75)
    axes.set_xlim(0.9, max(right, end) + 0.1)
    every = -(-count // 10)  # at most ten numbers side by side
    axes.set_xticks([1, *range(max(2, every), count + 1, every)])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"average rank over {ranking.studies} studies (1 is best)")
    together = (
        "; ".join(f"{ranking.arms[a]} to {ranking.arms[b]}" for a, b in groups)
        or "none: all arms are told apart"
    )
    return Drawing(
        "ranks",
        "Average ranks and the critical difference",
        "Further left is better. Arms that a vertical bar spans are not told apart by Nemenyi's "
        "test: their ranks differ by less than the critical difference drawn at the top.",
        "Average ranks: "
        + ", ".join(f"{a} {r:.2f}" for a, r in zip(ranking.arms, ranking.ranks, strict=True))
        + f". Not told apart: {together}.",
        figure,
    )


def draw_improvement(found: Sequence[Improvement]) -> Drawing:
    """Probability that a run of an arm beats one of its reference, with intervals."""
    figure = new_figure(0.6 + 0.36 * len(found))
    axes = figure.add_subplot()
    axes.axvline(50, color=INK, linewidth=0.6)
    for place, item in enumerate(found):
        clear = item.low > 0.5 or item.high < 0.5
        colour = COLOURS[0] if clear else SOFT
        ends = [100 * item.low, 100 * item.high]
        axes.plot(ends, [place] * 2, color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(
            100 * item.probability, place, "o", color=colour, markersize=4.5,
            markerfacecolor=colour if clear else "none",
        )  # fmt: skip
    names = [f"{wrapped(item.arm)}\nvs {item.reference}" for item in found]
    axes.set_yticks(range(len(found)), names, linespacing=0.9, fontsize=6)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("probability of improvement (%)")
    return Drawing(
        "improvement",
        "Probability of improvement",
        "How often a run of the arm beats a run of its reference, ties counting half, averaged "
        "over the studies, with its 95 % interval; hollow where that includes one half. It says "
        "how often, not by how much.",
        " ".join(
            f"{i.arm} against {i.reference}: {100 * i.probability:.0f} %, interval "
            f"{100 * i.low:.0f} to {100 * i.high:.0f} %."
            for i in found
        ),
        figure,
    )
