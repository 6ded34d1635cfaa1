"""The terminal's tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_modules.diagnostics import Gap
from studies.engine.diagnosis.measuring import Measured
from studies.engine.diagnosis.outcomes import Outcome

_COLUMNS = {
    "loss": "loss",
    "output_second_moment": "E logit^2",
    "signal_slope": "signal/layer",
    "gradient_slope": "gradient/layer",
    "largest_kurtosis": "kurtosis",
    "dead_units": "dead",
    "correlation": "correlation",
    "jacobian_max": "sv max",
    "jacobian_median": "sv median",
    "jacobian_min": "sv min",
    "gradient_quotient": "quotient",
}
LEGEND = (
    "signal, gradient: change per layer of ln E[z^2] forwards and of ln |dL/dz|^2 backwards, 0 is "
    "steady. kurtosis: the largest of any layer's pre-activations, a Gaussian has 3. dead: share "
    "of activations that are 0 on every example. correlation: of two unrelated inputs at the last "
    "layer. sv: singular values of the input-output Jacobian. Means over the seeds."
)


def summary_table(measured: Sequence[Measured]) -> str:
    """One line per initialiser."""
    summaries = [one.summary() for one in measured]
    names = [name for name in _COLUMNS if any(name in summary for summary in summaries)]
    rows = [["initialiser", *(_COLUMNS[name] for name in names)]]
    for one, summary in zip(measured, summaries, strict=True):
        rows.append([one.label, *(_number(summary.get(name)) for name in names)])
    return aligned(rows)


def layer_table(one: Measured, most: int = 30) -> str:
    """Measured and predicted numbers of one initialiser, a line per weight layer."""
    layers = list(one.diagnoses[0].values("second_moment", "weight"))
    rows = [["layer", "E z^2", "theory", "kurtosis", "chi", "theory", "|dL/dz|^2", "dead"]]
    theory = {(row.layer, row.quantity): row.predicted for row in one.predictions}
    for layer in layers[:most]:
        rows.append(
            [
                layer,
                _number(_mean(one, "second_moment", layer)),
                _number(theory.get((layer, "second_moment"))),
                _number(_mean(one, "kurtosis", layer)),
                _number(_mean(one, "chi", layer)),
                _number(theory.get((layer, "chi"))),
                _number(_mean(one, "gradient_square", layer)),
                _number(_mean(one, "dead_units", layer)),
            ]
        )
    more = f"\n... and {len(layers) - most} layers more" if len(layers) > most else ""
    return aligned(rows) + more


def outcome_table(outcomes: Sequence[Outcome]) -> str:
    """One line per diagnostic, the strongest rank correlation first."""
    rows = [["diagnostic", "rank correlation", "95 % interval", "runs", "arms"]]
    for one in outcomes:
        interval = f"{one.low:+.2f} to {one.high:+.2f}"
        rows.append([one.name, f"{one.correlation:+.2f}", interval, str(one.runs), str(one.arms)])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    head, *body = rows
    return "\n".join([line(head), "  ".join("-" * w for w in widths), *map(line, body)])


def _mean(one: Measured, statistic: str, layer: str) -> float | None:
    values = [
        found[layer]
        for diagnosis in one.diagnoses
        if layer in (found := diagnosis.values(statistic, "weight"))
    ]
    return sum(values) / len(values) if values else None


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.3g}"


def gaps_text(measured: Sequence[Measured], most: int = 6) -> str:
    """What was not measured or predicted: a line per kind, with the first layer and its reason."""
    lines = [f"{one.label}: no theory: {one.reason}" for one in measured if one.reason]
    kinds: dict[str, dict[str, Gap]] = {}
    for gap in (gap for one in measured for gap in one.everything.gaps):
        kinds.setdefault(gap.statistic, {}).setdefault(gap.layer, gap)
    for gaps in kinds.values():
        first, more = next(iter(gaps.values())), len(gaps) - 1
        lines.append(str(first) + (f" Likewise of {more} more." if more else ""))
    if len(lines) > most:
        lines[most:] = [f"... and {len(lines) - most} more: see diagnostics.json"]
    return "\n".join(lines)
