"""Pieces of HTML: a page, a table, a figure. Everything that comes in as text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from studies.engine.report.pictures import Picture

# Nothing is fetched, run or sent: the page is what it shows.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, sections: Mapping[str, tuple[str, str]], top: str) -> str:
    """A whole page without scripts that asks no network for anything.

    Args:
        title: of the window, plain text.
        sections: id -> (heading in plain text, HTML), in order; each gets a link at the top.
        top: HTML before the sections: the heading and the answer.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    links = "".join(
        f'<li><a href="#{key}">{escape(heading)}</a></li>' for key, (heading, _) in sections.items()
    )
    body = "\n".join(
        f'<section id="{key}" aria-labelledby="{key}-heading">\n'
        f'<h2 id="{key}-heading">{escape(heading)}</h2>\n{html}\n</section>'
        for key, (heading, html) in sections.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<main id="main" tabindex="-1">
{top}
<nav aria-label="Sections"><ul>{links}</ul></nav>
{body}
</main>
</body>
</html>
"""


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: frozenset[int] = frozenset(),
    classes: Sequence[str] = (),
) -> str:
    """A table whose first column names its rows.

    Args:
        caption: plain text.
        head: column headings, plain text.
        rows: cells as HTML; an empty first cell continues the row above.
        numbers: columns set to the right.
        classes: CSS class per row, "" for none.
    """

    def line(row: Sequence[str], kind: str) -> str:
        cells = []
        for i, cell in enumerate(row):
            style = ' class="n"' if i in numbers else ""
            if kind == "col":
                cells.append(f'<th scope="col"{style}>{escape(cell)}</th>')
            elif i == 0 and cell:
                cells.append(f'<th scope="row"{style}>{cell}</th>')
            else:
                cells.append(f"<td{style}>{cell}</td>")
        return "".join(cells)

    marks = list(classes) or ["first" if row[0] else "" for row in rows]
    body = "\n".join(
        f"<tr{f' class={mark!r}' if mark else ''}>{line(row, 'row')}</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(caption)}">\n'
        f"<table>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{line(head, 'col')}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def figures(pictures: Sequence[Picture]) -> str:
    """Pictures beside or below each other, each with its line on how to read it."""
    parts = [
        f'<figure id="figure-{d.name}">\n<h3>{escape(d.title)}</h3>\n{d.svg}\n'
        f"<figcaption>{escape(d.reading)}</figcaption>\n</figure>"
        for d in pictures
    ]
    return '<div class="figures">\n' + "\n".join(parts) + "\n</div>"


def definitions(items: Mapping[str, str]) -> str:
    """Terms in plain text and their meanings in HTML."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{v}</dd>" for k, v in items.items()) + "</dl>"


def verdict_cell(verdict: str, word: str) -> str:
    """A verdict as a cell's HTML."""
    return f'<span class="{word}">{escape(verdict)}</span>' if word else ""
