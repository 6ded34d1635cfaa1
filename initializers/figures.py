"""Pictures of weights: how the values of each layer are distributed.

matplotlib is imported when something is drawn, and only then. No global state of it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The colours of Okabe and Ito, which people with any colour vision tell apart.
COLOURS: tuple[str, ...] = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
#: Lines that stay visible where one covers another.
STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
FORMATS: tuple[str, ...] = (".png", ".svg", ".pdf")
MOST_LAYERS = 60  # more panels are not readable on one page
_BINS = 41  # odd, so that 0 lies in the middle of one
_COLUMNS = 5
_TICKS = (0.0, 0.01, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Panel:
    """The weights of one layer under one or several initialisers.

    Attributes:
        title: Name of the weight.
        values: One tensor per initialiser, of any shape and at least one value.
    """

    title: str
    values: tuple[Tensor, ...]


def draw_histogram(axes: Axes, values: Sequence[Tensor], bins: int = _BINS) -> None:
    """Draw the share of the values per bin, on a root scale that shows peaks and tails alike.

    Args:
        axes: Where to draw.
        values: One tensor per colour; all of them share the bins, which are symmetric about 0.
        bins: Number of bins, odd.
    """
    limit = max(float(one.abs().max()) for one in values) or 1.0
    edges = torch.linspace(-limit, limit, bins + 1, dtype=torch.float64)
    for number, one in enumerate(values):
        counts = torch.histogram(one.detach().double().flatten(), edges).hist
        shares = (counts / counts.sum()).sqrt()
        colour = COLOURS[number % len(COLOURS)]
        axes.stairs(
            shares.tolist(),
            edges.tolist(),
            color=colour,
            fill=len(values) == 1,
            linewidth=1.2,
            linestyle=STYLES[number % len(STYLES)],
        )
    axes.set_xlim(-limit * 1.05, limit * 1.05)
    axes.set_ylim(0.0, 1.05)
    axes.set_yticks([tick**0.5 for tick in _TICKS], [f"{tick:.0%}" for tick in _TICKS])
    axes.set_xticks([-limit, 0.0, limit], [f"{-limit:.2g}", "0", f"{limit:.2g}"])
    axes.tick_params(labelsize=6, length=2, pad=1.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_distributions(
    path: Path, title: str, labels: Sequence[str], panels: Sequence[Panel]
) -> int:
    """Draw one histogram per layer and write the figure.

    Args:
        path: File to write; its suffix is one of ``FORMATS``.
        title: Line above the panels.
        labels: Name of each initialiser, one per tensor of a panel.
        panels: The layers; of more than ``MOST_LAYERS`` an even choice is drawn.

    Returns:
        How many layers were drawn.

    Raises:
        OSError: If the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = _even_choice(panels)
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    width, height = max(2.3 * columns, 5.0), 1.4 * rows + 0.7 + 0.2 * len(labels)
    figure = Figure(figsize=(width, height), dpi=130)
    grid = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(shown):
            axes.set_visible(False)
            continue
        draw_histogram(axes, shown[number].values)
        axes.set_title(_in_lines(shown[number].title), fontsize=6.5, pad=2.5, linespacing=1.1)
        if number % columns:
            axes.set_yticklabels([])
    part = f" ({len(shown)} of {len(panels)} layers)" if len(shown) < len(panels) else ""
    top = 1.0 - (0.45 + 0.2 * len(labels)) / height
    figure.subplots_adjust(
        left=0.5 / width, right=1 - 0.12 / width, bottom=0.42 / height, top=top, hspace=0.72
    )
    figure.suptitle(f"{title}{part}", fontsize=9, y=1 - 0.08 / height, va="top")
    lines = [
        Line2D([], [], color=COLOURS[n % len(COLOURS)], linestyle=STYLES[n % len(STYLES)])
        for n in range(len(labels))
    ]
    figure.legend(
        lines,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.2 / height),
        fontsize=8,
        frameon=False,
        labelspacing=0.25,
    )
    figure.supxlabel("weight", fontsize=7, y=0.06 / height)
    figure.supylabel("share of the weights per bin (root scale)", fontsize=7, x=0.06 / width)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return len(shown)


def _even_choice(panels: Sequence[Panel]) -> list[Panel]:
    """Return at most ``MOST_LAYERS`` panels, the first and the last among them."""
    if len(panels) <= MOST_LAYERS:
        return list(panels)
    step = (len(panels) - 1) / (MOST_LAYERS - 1)
    return [panels[round(number * step)] for number in range(MOST_LAYERS)]


def _in_lines(name: str, most: int = 34) -> str:
    """Return a qualified name in two lines, broken at a dot, if it is long."""
    if len(name) <= most:
        return name
    half = [at for at, character in enumerate(name[:most]) if character == "."]
    cut = half[-1] + 1 if half else most
    return f"{name[:cut]}\n{name[cut:]}"
