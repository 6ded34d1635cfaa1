"""Figures as a page takes them: drawn already, perhaps in another process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

FIGURES = (
    "landscape", "course", "seeds", "differences", "curves", "search", "importance", "diagnostics",
)  # fmt: skip
"""Names of a study's figures, in the order of its page."""

# They take as long as all others: several processes end together if they begin with these.
_SLOW = ("diagnostics", "landscape", "seeds")


@dataclasses.dataclass(frozen=True)
class Words:
    """What is said of a figure.

    Args:
        name: of its files and its place on the page.
        title: one line.
        reading: one sentence or two that say how to read it.
        alt: what it shows, for whom it is read aloud: the numbers that matter.
    """

    name: str
    title: str
    reading: str
    alt: str


@dataclasses.dataclass(frozen=True)
class Picture(Words):
    """A figure of the report, drawn.

    Args:
        svg: the drawing as an element of a page.
        files: the drawing as PNG and PDF.
    """

    svg: str
    files: tuple[Path, ...]


Painter = Callable[[Path, str], Picture | None]
Spread = Callable[[Painter, Iterable[Path], Iterable[str]], Iterable[Picture | None]]
"""Calls a painter for each folder and name: `map`, or that of an executor."""


def paint_all(folder: Path, spread: Spread = map) -> tuple[Picture, ...]:
    """Every figure for which the finished study in a folder has data, in the order of the page.

    Args:
        folder: the study's output folder; the files go into its folder `figures`.
        spread: who calls the painters; an executor's `map` spreads them over its processes.

    Raises:
        UserError: the folder holds no finished study.
        OSError: it cannot be written.
    """
    names = sorted(FIGURES, key=lambda name: name not in _SLOW)
    painted = spread(paint, [folder] * len(names), names)
    found = {picture.name: picture for picture in painted if picture is not None}
    return tuple(found[name] for name in FIGURES if name in found)


def paint(folder: Path, name: str) -> Picture | None:
    """One figure of the finished study in a folder, if there are data for it.

    Args:
        folder: the study's output folder.
        name: one of `FIGURES`.
    """
    from studies.engine.uncollected import uncollected

    with uncollected():
        from studies.engine.report.figures import draw, finished
        from studies.engine.report.stored import load_study

        drawing = draw(load_study(folder), name)
        return None if drawing is None else finished(drawing, folder / "figures")
