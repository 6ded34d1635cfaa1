"""The importance of the hyperparameters as bars."""

from __future__ import annotations

from studies.engine.report.figures.style import COLOURS, INK, Drawing, new_figure
from studies.engine.report.importance import importances
from studies.engine.report.stored import StoredStudy


def draw_importance(study: StoredStudy) -> Drawing | None:
    """A bar per family and hyperparameter, with the level that chance reaches."""
    found = [i for label, trials in study.families.items() for i in importances(label, trials)]
    if not found:
        return None
    figure = new_figure(0.75 + 0.26 * len(found))
    axes = figure.add_subplot()
    for place, item in enumerate(found):
        clear = item.share > item.chance
        axes.barh(
            place, 100 * item.share, height=0.62, color=COLOURS[0] if clear else "none",
            edgecolor=COLOURS[0], linewidth=0.8, hatch=None if clear else "////",
        )  # fmt: skip
        axes.plot([100 * item.chance] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=1.4)
    axes.set_yticks(range(len(found)), [f"{item.family}: {item.name}" for item in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of the ranked accuracies' variance (%)")
    return Drawing(
        "importance",
        "Importance of the hyperparameters",
        "How much of the trials' order a hyperparameter explains that the others do not (quadratic "
        "in its logarithm). The tick is what one without influence stays below in 95 of 100 "
        "searches: a hatched bar, short of its tick, may be chance.",
        " ".join(
            f"{i.family}, {i.name}: {100 * i.share:.0f} %, chance level {100 * i.chance:.0f} % "
            f"({i.trials} trials)."
            for i in found
        ),
        figure,
    )
