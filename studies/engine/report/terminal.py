"""The verdict as it is printed: as wide as the terminal, in colour only where one looks at it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from studies.engine.report.table import VerdictRow, comparison_table, footnotes, verdict_rows

if TYPE_CHECKING:
    from studies.engine.compare import Comparisons

# The verdict is a word; the colour only helps to find it.
_COLOURS = {"better": "32", "worse": "31", "equivalent": "36", "undecided": "33"}
_NARROWEST = 24


def verdict_text(
    comparisons: Comparisons,
    sentence: str,
    stream: TextIO | None = None,
    *,
    finding: Mapping[str, str] | None = None,
) -> str:
    """Table and plain sentence for a stream.

    A terminal narrower than the table gets it folded, arm below arm, and the sentence is broken at
    its width. A pipe or file gets the full table, the sentence in one line and no colour; nor is
    there colour where NO_COLOR is set (https://no-color.org) or TERM is dumb.

    Args:
        comparisons: what the study found.
        sentence: the study's answer.
        stream: where it will be printed; None is standard output.
        finding: "verdict" and "reason" on the claim under test, if the study judges it.
    """
    stream = sys.stdout if stream is None else stream
    sentences = [sentence, *([finding_text(finding)] if finding else [])]
    if not stream.isatty():
        return "\n\n".join([comparison_table(comparisons), *sentences])
    width = shutil.get_terminal_size().columns
    coloured = has_colour(os.environ)
    told = (
        textwrap.fill(text, max(width, _NARROWEST), break_on_hyphens=False) for text in sentences
    )
    return "\n\n".join([table_for_width(comparisons, width, coloured=coloured), *told])


def finding_text(finding: Mapping[str, str]) -> str:
    """What a study says of its claim."""
    return f"The claim under test: {finding['verdict']}. {finding['reason']}"


def has_colour(environment: Mapping[str, str]) -> bool:
    """Whether a terminal with this environment is to be given colours."""
    return not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def table_for_width(comparisons: Comparisons, width: int, *, coloured: bool = False) -> str:
    """The verdict table in lines of at most `width` columns, but not below 24.

    Args:
        comparisons: what is shown.
        width: columns of the terminal.
        coloured: mark the verdicts by colour, too.
    """

    def paint(row: VerdictRow) -> str:
        return _painted(row.verdict, row.word) if coloured else row.verdict

    plain = comparison_table(comparisons)
    if max(map(len, plain.splitlines())) <= width:
        return comparison_table(comparisons, paint)
    return _folded(comparisons, max(width, _NARROWEST), coloured=coloured)


def _folded(comparisons: Comparisons, width: int, *, coloured: bool) -> str:
    rows, notes = verdict_rows(comparisons)
    outcome = comparisons.outcome
    told = f"{outcome.label}, 95 % interval; differences in {outcome.difference}"
    lines = _broken(told, width, "")
    for row in rows:
        if row.arm:
            lines += ["", *_broken(f"{row.arm}: {row.mean} ({row.interval})", width, "")]
        if row.reference:
            found = f"{row.difference} ({row.difference_interval}) against {row.reference}:"
            lines += _broken(found, width, "  ")
            verdict = _broken(row.verdict, width, "    ")
            lines += [_painted(line, row.word) for line in verdict] if coloured else verdict
    for note in footnotes(notes):
        lines += _broken(note, width, "")
    return "\n".join(lines)


def _broken(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )


def _painted(text: str, word: str) -> str:
    return f"\x1b[{_COLOURS[word]}m{text}\x1b[0m" if word else text
