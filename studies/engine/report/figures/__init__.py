"""The figures of a report; matplotlib is imported here and nowhere else in a study's process."""

from __future__ import annotations

from pathlib import Path

from studies.engine.report.figures.course import draw_course
from studies.engine.report.figures.curves import draw_curves
from studies.engine.report.figures.diagnostics import draw_diagnostics
from studies.engine.report.figures.importance import draw_importance
from studies.engine.report.figures.saving import inline_svg, save
from studies.engine.report.figures.search import draw_history, draw_landscape
from studies.engine.report.figures.seeds import draw_differences, draw_seeds
from studies.engine.report.figures.style import Drawing, house_style, laid_out
from studies.engine.report.pictures import FIGURES, Picture
from studies.engine.report.stored import StoredStudy

__all__ = ["Drawing", "draw", "draw_study", "finished", "inline_svg", "save"]

_DRAW = {
    "landscape": draw_landscape,
    "course": draw_course,
    "seeds": draw_seeds,
    "differences": draw_differences,
    "curves": draw_curves,
    "search": draw_history,
    "importance": draw_importance,
    "diagnostics": draw_diagnostics,
}


def draw(study: StoredStudy, name: str) -> Drawing | None:
    """One figure, if the study has data for it.

    Args:
        study: a finished study.
        name: one of `studies.engine.report.pictures.FIGURES`.
    """
    with house_style():
        drawing = _DRAW[name](study)
        return None if drawing is None else laid_out(drawing)


def draw_study(study: StoredStudy) -> tuple[Drawing, ...]:
    """Every figure for which a study has data, in the order of the report."""
    drawings = [draw(study, name) for name in FIGURES]
    return tuple(drawing for drawing in drawings if drawing is not None)


def finished(drawing: Drawing, folder: Path) -> Picture:
    """A drawing as files in a folder, which is made, and as part of a page.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    d = drawing
    return Picture(d.name, d.title, d.reading, d.alt, inline_svg(d), save(d, folder))
