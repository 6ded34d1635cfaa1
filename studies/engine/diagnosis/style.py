"""How figures look: colours that colour-blind readers tell apart, and a marker for each as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color Universal Design", without yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "svg.hashsalt": "studies",
}


def look(number: int) -> tuple[str, str]:
    """Colour and marker of the number-th initialiser."""
    return COLOURS[number % len(COLOURS)], MARKERS[(number + number // 7) % len(MARKERS)]


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches, without a display or global state left behind."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        yield Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, path: Path) -> Path:
    """Write a figure as PNG."""
    drawn.savefig(path, metadata={"Software": None})
    return path
