"""A diagnosis in a handful of numbers, for tables with one line per training."""

from __future__ import annotations

import math

from lightning_modules.diagnostics.rows import Diagnosis, Row


def summarise(diagnosis: Diagnosis) -> dict[str, float]:
    """Return the numbers that are most often asked for; what was not measured is left out.

    * ``loss``, ``gradient_norm``: of the network.
    * ``output_second_moment``: of the last weight layer (the logits).
    * ``signal_slope``: mean change per layer of ln E[z^2], from the first weight layer to the last;
      0 is a signal that neither grows nor fades.
    * ``gradient_slope``: the same of ln |dL/dz|^2, from the last layer to the first.
    * ``gradient_spread``: standard deviation over weight matrices of ln of the gradient ratio.
    * ``largest_kurtosis``: of the pre-activations of any layer.
    * ``dead_units``: share of all activation outputs' units that are 0 on every example; an
      average over activation sites.
    * ``strength_ratio``: mean over weight matrices; 1 for independent weights.
    * ``correlation``: of two unrelated inputs at the last weight layer.
    * ``jacobian_max``, ``jacobian_median``, ``jacobian_min``, ``jacobian_mean_square``,
      ``gradient_quotient``, ``distance``: as measured.

    Slopes are left out for a single layer and where a signal has died out or overflowed.

    Args:
        diagnosis: of one step and seed.
    """
    found: dict[str, float] = {}
    for row in diagnosis.rows:
        if row.kind == "network" and row.statistic in _WHOLE and not row.layer:
            found.setdefault(row.statistic, row.value)
    signals = _column(diagnosis, "second_moment")
    if signals:
        found["output_second_moment"] = signals[-1].value
    found |= _slope("signal_slope", signals)
    found |= _slope("gradient_slope", _column(diagnosis, "gradient_square")[::-1])
    ratios = [
        math.log(row.value)
        for row in diagnosis.rows
        if row.statistic == "gradient_ratio"
        and row.layer.rpartition(".")[2] != "bias"
        and 0.0 < row.value < math.inf
    ]
    if len(ratios) > 1:
        mean = sum(ratios) / len(ratios)
        spread = sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios)
        found["gradient_spread"] = math.sqrt(spread)
    tails = [row.value for row in _column(diagnosis, "kurtosis") if not math.isnan(row.value)]
    if tails:
        found["largest_kurtosis"] = max(tails)
    dead = diagnosis.values("dead_units", "activation")
    if dead:
        found["dead_units"] = sum(dead.values()) / len(dead)
    strengths = diagnosis.values("strength_ratio", "parameter")
    if strengths:
        found["strength_ratio"] = sum(strengths.values()) / len(strengths)
    correlations = _column(diagnosis, "correlation")
    if correlations:
        found["correlation"] = correlations[-1].value
    return {name: value for name, value in found.items() if math.isfinite(value)}


_WHOLE = frozenset(
    ("loss", "gradient_norm", "jacobian_max", "jacobian_median", "jacobian_min",
     "jacobian_mean_square", "gradient_quotient", "distance")
)  # fmt: skip


def _column(diagnosis: Diagnosis, statistic: str) -> list[Row]:
    """A statistic of the weight layers in order of execution."""
    rows = [row for row in diagnosis.rows if row.statistic == statistic and row.kind == "weight"]
    return sorted(rows, key=lambda row: row.position)


def _slope(name: str, rows: list[Row]) -> dict[str, float]:
    if len(rows) < 2 or not all(0.0 < rows[end].value < math.inf for end in (0, -1)):
        return {}
    return {name: math.log(rows[-1].value / rows[0].value) / (len(rows) - 1)}
