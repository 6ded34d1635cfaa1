"""Tables of plain text that fit a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

_GAP = "  "
_LEAST = 20  # columns below which the last cell is not squeezed in but put under its row
_INDENT = "    "


def text_table(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return rows as text with aligned columns.

    Args:
        rows: Cells, in equal numbers; the first row is the head.
        width: Columns of the terminal. The last cell of a row is wrapped to what the others leave,
            or stands below them, indented, where they leave too little. None wraps nothing.

    >>> print(text_table([("name", "needs"), ("lsuv", "data"), ("zeros", "")]))
    name   needs
    lsuv   data
    zeros
    """
    return "\n".join(line for lines in table_lines(rows, width) for line in lines)


def table_lines(rows: Sequence[Sequence[str]], width: int | None = None) -> list[list[str]]:
    """Return the lines of every row; arguments as for ``text_table``."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = sum(size + len(_GAP) for size in widths[:-1])
    found: list[list[str]] = []
    for row in rows:
        start = "".join(
            cell.ljust(size) + _GAP for cell, size in zip(row[:-1], widths[:-1], strict=True)
        )
        if width is None or left + len(row[-1]) <= width:
            lines = [start + row[-1]]
        elif width - left >= _LEAST:
            first, *others = textwrap.wrap(row[-1], width - left)
            lines = [start + first, *(" " * left + other for other in others)]
        else:
            lines = [start, *wrapped(row[-1], width, _INDENT)]
        found.append([line.rstrip() for line in lines])
    return found


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text as lines of at most ``width`` columns, the indentation included."""
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)


def joined(names: Iterable[str]) -> str:
    """Return names as one cell; a dash where there are none."""
    return ", ".join(names) or "-"
