"""The trainable-depth picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.engine.diagnosis.depths import START, Decay, TrainableDepth
from studies.engine.diagnosis.style import figure, look, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Style = dict[str, Any]


def depth_figure(
    decays: Sequence[Decay],
    depths: Sequence[TrainableDepth],
    limits: tuple[int, int],
    title: str,
    path: Path,
) -> Path:
    """Three panels: gradients and correlations over depth, and trainable depth over scale.

    Points are measured, lines predicted. A measured depth beyond the upper limit stands at it.
    """
    low, high = limits
    with figure(12.0, 4.3) as drawn:
        gradients, correlations, trainable = drawn.subplots(1, 3)
        for number, decay in enumerate(decays):
            colour, marker = look(number)
            style: dict[str, Any] = {
                "color": colour,
                "marker": marker,
                "markersize": 4,
                "linestyle": "",
            }
            dashes = ("-", "--", ":")[number % 3]
            count = len(decay.gradients)
            shown = sorted({round(low * (count / low) ** (k / 24)) for k in range(25)})
            # A network of d layers ends d layers after its first: count back from the end.
            gradients.plot(shown, [_power(decay.gradients[count - d]) for d in shown], **style)
            correlations.plot(
                shown, [max(1.0 - decay.correlations[d - 1], 1e-16) for d in shown], **style
            )
            if decay.predicted_gradients:
                back = decay.predicted_gradients[::-1][:count]
                gradients.plot(
                    range(1, count + 1), [_power(v) for v in back], color=colour, linestyle=dashes
                )
            if decay.predicted_correlations:
                rest = [max(1.0 - c, 1e-16) for c in decay.predicted_correlations]
                correlations.plot(range(1, len(rest) + 1), rest, color=colour, linestyle=dashes)
            _trainable_points(trainable, number, decay.label, depths, limits)
        for ax in (gradients, correlations):
            ax.set_xlabel("depth, layers")
            ax.set_yscale("log")
            ax.set_xlim(low, high)
        for edge in (math.exp(-6.0), math.exp(6.0)):
            gradients.axhline(edge, color="#666666", linewidth=0.8, linestyle=":")
        gradients.set_title("Gradient²: first over last layer")
        gradients.text(high, math.exp(6.0), "e⁶ ", ha="right", va="bottom", color="#444444")
        gradients.text(high, math.exp(-6.0), "e⁻⁶ ", ha="right", va="top", color="#444444")
        correlations.set_title(f"1 - correlation of two inputs (first {1 - START:.1f})")
        trainable.set_title("Trainable depth: six e-fold depths")
        trainable.set_yscale("log")
        trainable.set_ylim(low * 0.9, high * 1.1)
        trainable.set_xlabel("multiplier of the initialiser's scale")
        trainable.set_ylabel("layers; at the top edge: more than that")
        handles, labels = trainable.get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
        drawn.suptitle(f"{title}: points are measured, lines predicted")
        return save(drawn, path)


def _trainable_points(
    ax: Axes, number: int, label: str, depths: Sequence[TrainableDepth], limits: tuple[int, int]
) -> None:
    colour, marker = look(number)
    own = next(one for one in depths if one.label == label)
    style: Style = {"color": colour, "marker": marker, "markersize": 4.5, "linestyle": ""}
    for scale, value in own.measured:
        ax.plot([scale], [min(value, limits[1])], **style)
    scales = [scale for scale, _ in own.predicted]
    values = [min(value, 1e6) for _, value in own.predicted]
    ax.plot(scales, values, color=colour, linestyle=("-", "--", ":")[number % 3])
    ax.plot([], [], color=colour, marker=marker, label=label)


def _power(logarithm: float) -> float:
    """e^x, within what a float and an axis can hold."""
    return math.exp(min(max(logarithm, -600.0), 600.0)) if math.isfinite(logarithm) else math.nan
