"""Predicted against measured, layer by layer, and the Jacobian's singular values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from studies.engine.diagnosis.measuring import Measured
from studies.engine.diagnosis.outcomes import Outcome
from studies.engine.diagnosis.style import figure, look, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = (
    ("second_moment", "weight", "Signal: E z² of pre-activations", True),
    ("gradient_square", "weight", "Gradient: |dL/dz|² per example", True),
    ("chi", "weight", "χ: growth of a small change per layer", False),
    ("correlation", "weight", "Correlation of two unrelated inputs", False),
    ("kurtosis", "weight", "Kurtosis of pre-activations (Gaussian: 3)", False),
    ("dead_units", "activation", "Dead units after the activation", False),
)
_TICKS = 14  # most layer names on an axis

Points = Mapping[str, Sequence[float]]
"""Values by layer, one for each seed."""


def propagation(measured: Sequence[Measured], title: str, path: Path) -> Path:
    """Six panels over the layers: points are measured (mean and range over seeds), lines theory."""
    with figure(11.0, 6.4) as drawn:
        axes = drawn.subplots(2, 3).ravel()
        for ax, (statistic, kind, name, logarithmic) in zip(axes, _PANELS, strict=True):
            layers = list(dict.fromkeys(x for m in measured for x in _points(m, statistic, kind)))
            if statistic == "chi":  # of blocks where layers have none
                layers, kind = _chi_layers(measured, layers)
            for number, one in enumerate(measured):
                _draw(ax, number, len(measured), layers, _points(one, statistic, kind))
                _theory(ax, number, layers, one, statistic)
            _finish(ax, layers, name, logarithmic=logarithmic)
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
        drawn.suptitle(f"{title}: points are measured, lines predicted")
        return save(drawn, path)


def spectra(measured: Sequence[Measured], title: str, path: Path) -> Path | None:
    """Singular values of the input-output Jacobian; None where they were not measured exactly."""
    found = {one.label: _spectrum(one) for one in measured}
    if not any(found.values()):
        return None
    with figure(6.4, 4.0) as drawn:
        ax = drawn.subplots()
        lowest = 1.0
        for number, (label, values) in enumerate(found.items()):
            shown = [value for value in values if value > 0.0]
            if not shown:
                continue
            lowest = min(lowest, *shown)
            colour, marker = look(number)
            ax.plot(
                range(1, len(shown) + 1), shown, color=colour, marker=marker, markersize=4,
                linewidth=1.0, label=f"{label} ({len(values)} values)",
            )  # fmt: skip
        ax.axhline(1.0, color="#666666", linewidth=0.8, linestyle=":")
        ax.set_yscale("log")
        ax.set_xlabel("singular value, from the largest to the smallest")
        ax.set_ylabel("value (mean over examples and seeds)")
        ax.set_title(f"{title}: input-output Jacobian; an isometry is 1 throughout")
        ax.legend()
        return save(drawn, path)


def outcome_figure(found: Sequence[Outcome], path: Path, most: int = 12) -> Path:
    """Rank correlations with their intervals, and the strongest diagnostic against accuracy."""
    shown = found[:most]
    with figure(10.0, max(3.2, 0.35 * len(shown) + 1.4)) as drawn:
        left, right = drawn.subplots(1, 2)
        places = range(len(shown))[::-1]
        for place, one in zip(places, shown, strict=True):
            clear = one.low > 0.0 or one.high < 0.0
            colour = look(0)[0] if clear else "#888888"
            left.plot([one.low, one.high], [place, place], color=colour, linewidth=1.5)
            left.plot([one.correlation], [place], color=colour, marker="o" if clear else "s")
        left.axvline(0.0, color="#666666", linewidth=0.8)
        left.set_yticks(list(places), [one.name for one in shown])
        left.set_xlim(-1.05, 1.05)
        left.set_xlabel("Spearman's rank correlation with validation accuracy, 95 % interval")
        left.set_title("Diagnostics at initialisation")
        best = shown[0]
        right.plot(
            best.values, [100 * a for a in best.accuracies], linestyle="", marker="o",
            markersize=3.5, color=look(0)[0], alpha=0.6,
        )  # fmt: skip
        if min(best.values) > 0.0 and max(best.values) > 50 * min(best.values):
            right.set_xscale("log")
        right.set_xlabel(best.name)
        right.set_ylabel("validation accuracy, %")
        right.set_title(f"{best.runs} runs of {best.arms} arms and trials")
        return save(drawn, path)


def _points(one: Measured, statistic: str, kind: str) -> Points:
    found: dict[str, list[float]] = {}
    for diagnosis in one.diagnoses:
        for layer, value in diagnosis.values(statistic, kind).items():
            if math.isfinite(value):
                found.setdefault(layer, []).append(value)
    return found


def _chi_layers(measured: Sequence[Measured], layers: list[str]) -> tuple[list[str], str]:
    blocks = list(dict.fromkeys(x for m in measured for x in _points(m, "chi", "block")))
    return (blocks, "block") if blocks else (layers, "weight")


def _draw(ax: Axes, number: int, of: int, layers: Sequence[str], points: Points) -> None:
    colour, marker = look(number)
    shift = 0.12 * (number - (of - 1) / 2) if len(layers) <= 30 else 0.0
    for place, layer in enumerate(layers):
        values = points.get(layer, ())
        if values:
            ax.plot(
                [place + shift] * 2, [min(values), max(values)], color=colour, linewidth=1.0,
                alpha=0.7,
            )  # fmt: skip
            mean = sum(values) / len(values)
            ax.plot(
                [place + shift], [mean], color=colour, marker=marker, markersize=4.5, linestyle=""
            )


def _theory(ax: Axes, number: int, layers: Sequence[str], one: Measured, statistic: str) -> None:
    quantity = "gradient_growth" if statistic == "gradient_square" else statistic
    theory = {row.layer: row.predicted for row in one.predictions if row.quantity == quantity}
    places = [place for place, layer in enumerate(layers) if layer in theory]
    values = [theory[layers[place]] for place in places]
    if statistic == "gradient_square" and places:
        # The theory speaks of growth: it is hung up at the last layer that it knows.
        last = _points(one, statistic, "weight").get(layers[places[-1]], ())
        values = [value * sum(last) / len(last) for value in values] if last else []
        places = places if last else []
    colour, marker = look(number)
    ax.plot(places, values, color=colour, linewidth=1.3, linestyle=("-", "--", ":")[number % 3])
    if len(places) == 1:  # too few for a line
        ax.plot(places, values, color=colour, marker="_", markersize=14, linestyle="")
    ax.plot([], [], color=colour, marker=marker, linewidth=1.3, label=one.label)


def _finish(ax: Axes, layers: Sequence[str], name: str, *, logarithmic: bool) -> None:
    ax.set_title(name)
    if logarithmic and ax.has_data():
        ax.set_yscale("log")
    if not layers:
        ax.text(0.5, 0.5, "nothing of this kind", ha="center", transform=ax.transAxes)
        return
    step = -(-len(layers) // _TICKS)
    places = range(0, len(layers), step)
    ax.set_xlim(-0.6, len(layers) - 0.4)
    steep = max(map(len, layers)) * len(places) > 36
    ax.set_xticks(
        list(places), [layers[place] for place in places],
        rotation=60 if steep else 0, ha="right" if steep else "center",
        rotation_mode="anchor" if steep else "default",
    )  # fmt: skip
    if not logarithmic and name.startswith("Dead"):
        ax.set_ylim(-0.03, 1.03)


def _spectrum(one: Measured) -> list[float]:
    sums: dict[int, list[float]] = {}
    for diagnosis in one.diagnoses:
        for row in diagnosis.rows:
            if row.statistic == "singular_value":
                sums.setdefault(row.index, []).append(row.value)
    return [sum(values) / len(values) for _, values in sorted(sums.items())]
