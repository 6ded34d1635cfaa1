"""Figures as files for a paper, and as SVG that lives in a page."""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG

from studies.engine.report.figures.style import GRID, INK, SOFT, Drawing, house_style

DPI = 300


def save(drawing: Drawing, folder: Path) -> tuple[Path, ...]:
    """Write a drawing as PNG (300 dpi, white) and PDF (embedded TrueType fonts).

    Returns:
        The two paths. Equal drawings give equal bytes: no date is written.
    """
    paths = (folder / f"{drawing.name}.png", folder / f"{drawing.name}.pdf")
    with house_style():
        FigureCanvasAgg(drawing.figure)
        drawing.figure.savefig(
            paths[0],
            dpi=DPI,
            facecolor="white",
            metadata={"Software": None, "Title": drawing.title},
        )
        FigureCanvasPdf(drawing.figure)
        drawing.figure.savefig(
            paths[1], facecolor="white", metadata={"CreationDate": None, "Title": drawing.title}
        )
    return paths


def inline_svg(drawing: Drawing) -> str:
    """The drawing as an SVG element for a page.

    Ink, grid and soft grey become the page's colours, so that light and dark follow the page; ids
    get the drawing's name in front, so that several live in one page; the alternative text is its
    accessible name.
    """
    buffer = io.StringIO()
    with house_style(), mpl.rc_context({"svg.hashsalt": drawing.name}):
        FigureCanvasSVG(drawing.figure)
        drawing.figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{drawing.name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{drawing.name}-", text)
    for stand_in, colour in ((INK, "currentColor"), (GRID, "var(--grid)"), (SOFT, "var(--soft)")):
        text = text.replace(stand_in, colour)
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    head = (
        f'<svg class="drawing" role="img" aria-label="{escape(drawing.alt)}" {view[0]} '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return head + re.sub(r"\n\s*", "\n", text[text.index(">") + 1 :])
