"""The outcome over an axis that arms stand on, such as the depth of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from studies.engine.report.figures.style import COLOURS, LINES, MARKERS, Drawing, new_figure
from studies.engine.report.stored import PLACES, StoredStudy


def draw_course(study: StoredStudy) -> Drawing | None:
    """Every run over the first axis of the study, a line per family; None without an axis.

    Runs of arms with equal family and place stand above each other.
    """
    axis = next((name for name in study.rows[0] if name.startswith(PLACES)), None)
    if axis is None:
        return None
    outcome = study.comparisons.outcome
    lines = _lines(study, axis)
    places = sorted({place for line in lines.values() for place in line})
    if len(places) < 2:
        return None
    figure = new_figure(2.3 + 0.13 * math.ceil(len(lines) / 2))
    axes = figure.add_subplot()
    logarithmic = places[0] > 0 and places[-1] > 8 * places[0]
    for index, (family, line) in enumerate(lines.items()):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        # Side by side, so that seeds of different families do not hide each other.
        shift = (index - (len(lines) - 1) / 2) * 0.016
        span = math.log(places[-1] / places[0]) if logarithmic else places[-1] - places[0]
        at = {p: p * math.exp(shift * span) if logarithmic else p + shift * span for p in line}
        for place, values in line.items():
            axes.plot(
                [at[place]] * len(values), [outcome.scale * v for v in values], marker,
                color=colour, markersize=2.4, alpha=0.55, markeredgewidth=0,
            )  # fmt: skip
        ends = sorted(line)
        axes.plot(
            [at[place] for place in ends],
            [outcome.scale * sum(line[place]) / len(line[place]) for place in ends],
            color=colour, linestyle=LINES[index % len(LINES)], label=family,
        )  # fmt: skip
    name = axis.removeprefix(PLACES).replace("_", " ")
    if logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(name)
    axes.set_ylabel(outcome.label)
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.6)
    return Drawing(
        "course",
        f"{outcome.words[:1].upper()}{outcome.words[1:]} over {name}",
        f"A point is one training, a line joins the means of a family of arms. "
        f"{'Higher' if outcome.higher_is_better else 'Lower'} is better; where a line bends, the "
        f"initialisation stops carrying the network.",
        " ".join(
            f"{family}: "
            + ", ".join(
                f"{place:g}: {outcome.text(sum(line[place]) / len(line[place]))}"
                for place in sorted(line)
            )
            + "."
            for family, line in lines.items()
        ),
        figure,
    )


def _lines(study: StoredStudy, axis: str) -> Mapping[str, Mapping[float, list[float]]]:
    lines: dict[str, dict[float, list[float]]] = {}
    for row in study.confirmation:
        if row[axis]:
            line = lines.setdefault(row["family"] or row["arm"], {})
            value = float(row[study.comparisons.outcome.name])
            line.setdefault(float(row[axis]), []).append(value)
    return lines
