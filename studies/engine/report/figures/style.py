"""How all figures look: one column of a paper, safe for colour-blind eyes, readable in grey."""

from __future__ import annotations

import contextlib
import dataclasses
import textwrap
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from studies.engine.report.pictures import Words

WIDTH = 3.4
"""Inches: one column of a two-column paper."""

# Stand-ins that an inline SVG replaces, so that the drawing follows the page's light or dark.
INK = "#1b1b1a"
SOFT = "#8a8a89"
GRID = "#dededd"

# Okabe & Ito (2008) without yellow, which is too faint on white, and with grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", SOFT, INK)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "d")
LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (2.5, 1)),
    (0, (6, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)),
)  # fmt: skip

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.2,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclasses.dataclass(frozen=True)
class Drawing(Words):
    """A figure of the report, with what is said of it.

    Args:
        figure: matplotlib's.
    """

    figure: Figure


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw and save inside: matplotlib's settings of all figures."""
    with mpl.rc_context(_RC):  # type: ignore[arg-type]
        yield


def new_figure(height: float) -> Figure:
    """A figure of one column's width.

    Args:
        height: inches.
    """
    return Figure(figsize=(WIDTH, height), layout="constrained")


def laid_out(drawing: Drawing) -> Drawing:
    """Settle where everything stands, once for all the formats that it is saved in."""
    drawing.figure.draw_without_rendering()
    drawing.figure.set_layout_engine("none")
    return drawing


def wrapped(label: str, width: int = 21) -> str:
    """A label in as few lines of at most so many characters, broken at a comma or evenly."""
    lines = textwrap.wrap(label, width)
    if len(lines) < 2:
        return label
    parts = [part.strip() for part in label.replace(", ", ",\n").split("\n")]
    if len(parts) == len(lines) and max(map(len, parts)) <= width:
        return "\n".join(parts)
    even = next(w for w in range(1, width + 1) if len(textwrap.wrap(label, w)) <= len(lines))
    return "\n".join(textwrap.wrap(label, even))


def percent_floor(values: Sequence[float]) -> float:
    """Where an axis of accuracies (fractions) begins so that the good ones can be told apart.

    Below the best by three times its distance from the median, but not below the worst: a few
    failed trainings must not squeeze the rest into a line.
    """
    array = np.asarray(values, dtype=np.float64)
    best, middle = float(array.max()), float(np.median(array))
    return max(float(array.min()), best - max(3 * (best - middle), 0.01))


def log_axis(axes: Axes, which: str) -> None:
    """Make an axis logarithmic, with few ticks in plain numbers."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    decades = float(np.log10(high / low))
    subs = (1.0,) if decades > 2.2 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def accuracy_axis(axes: Axes, floor: float) -> None:
    """Begin a vertical axis of accuracies in per cent at a floor (fraction), with room above."""
    top = axes.get_ylim()[1]
    room = 0.06 * max(top - 100 * floor, 0.1)
    axes.set_ylim(100 * floor - room / 2, top + room)


def below(count: int, what: str) -> str:
    """A sentence about points that an axis leaves out; empty if there are none."""
    if count == 0:
        return ""
    verb = "lies" if count == 1 else "lie"
    return f" {count} {what}{'' if count == 1 else 's'} {verb} below the axis (drawn at its foot)."
