"""The figures of a report; matplotlib is imported here and nowhere else in a study's process."""

from __future__ import annotations

from studies.engine.report.figures.course import draw_course
from studies.engine.report.figures.curves import draw_curves
from studies.engine.report.figures.diagnostics import draw_diagnostics
from studies.engine.report.figures.importance import draw_importance
from studies.engine.report.figures.saving import inline_svg, save
from studies.engine.report.figures.search import draw_history, draw_landscape
from studies.engine.report.figures.seeds import draw_differences, draw_seeds
from studies.engine.report.figures.style import Drawing, house_style, laid_out
from studies.engine.report.stored import StoredStudy

__all__ = ["Drawing", "draw_study", "inline_svg", "save"]

_FIGURES = (
    draw_landscape,
    draw_course,
    draw_seeds,
    draw_differences,
    draw_curves,
    draw_history,
    draw_importance,
    draw_diagnostics,
)


def draw_study(study: StoredStudy) -> tuple[Drawing, ...]:
    """Every figure for which a study has data, in the order of the report."""
    with house_style():
        drawings = [draw(study) for draw in _FIGURES]
        return tuple(laid_out(drawing) for drawing in drawings if drawing is not None)
