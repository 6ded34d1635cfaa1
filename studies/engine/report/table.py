"""The verdict table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from studies.engine.compare import Comparison, Comparisons


def head(comparisons: Comparisons) -> tuple[str, ...]:
    """The columns of the verdict table."""
    outcome = comparisons.outcome.heading
    return ("arm", outcome, "95 % interval", "compared with", "difference", "", "verdict")


NUMBERS = frozenset({1, 2, 4, 5})
"""Columns of the table that hold numbers: set to the right."""


class VerdictRow(NamedTuple):
    """One line of the verdict table, as texts; "" where an arm is not compared or goes on.

    Args:
        arm: label, with the number of diverged runs if any.
        mean: mean outcome as it is shown: test accuracy in per cent.
        interval: its interval.
        reference: what the arm is compared with.
        difference: mean difference, in percentage points of accuracies.
        difference_interval: its interval.
        verdict: the verdict, for an undecided one with the seeds it needs, and the note's number.
        word: the verdict alone.
    """

    arm: str
    mean: str
    interval: str
    reference: str = ""
    difference: str = ""
    difference_interval: str = ""
    verdict: str = ""
    word: str = ""


def verdict_rows(comparisons: Comparisons) -> tuple[tuple[VerdictRow, ...], tuple[str, ...]]:
    """The rows, one per arm in the order of the means and one more for each further comparison.

    Returns:
        The rows, and the notes that they refer to as [1], [2] ...
    """
    notes = list(dict.fromkeys(c.note for c in comparisons.comparisons if c.note))
    rows: list[VerdictRow] = []
    outcome = comparisons.outcome
    for summary in sorted(comparisons.arms, key=lambda arm: -outcome.sign * arm.mean):
        own = [c for c in comparisons.comparisons if c.arm == summary.arm]
        lost = f" ({summary.diverged} diverged)" if summary.diverged else ""
        left = (
            summary.arm + lost,
            outcome.text(summary.mean),
            f"{outcome.text(summary.low)} to {outcome.text(summary.high)}",
        )
        rows.append(VerdictRow(*left, *(_right(own[0], notes) if own else ())))
        rows += [VerdictRow("", "", "", *_right(comparison, notes)) for comparison in own[1:]]
    return tuple(rows), tuple(notes)


def comparison_table(
    comparisons: Comparisons, paint: Callable[[VerdictRow], str] = lambda row: row.verdict
) -> str:
    """The table as aligned text.

    Accuracies are percentages, differences percentage points with a 95 % interval; verdicts are
    those of `studies.engine.compare`.

    Args:
        comparisons: what is shown.
        paint: how the last column is written.
    """
    rows, notes = verdict_rows(comparisons)
    cells = [(*row[:6], paint(row)) for row in rows]
    top = head(comparisons)
    widths = [max(len(row[i]) for row in (top, *rows)) for i in range(len(top))]
    rule = "  ".join("-" * width for width in widths)
    lines = [_aligned(top, widths), rule, *(_aligned(row, widths) for row in cells)]
    return "\n".join([*lines, *footnotes(notes)])


def footnotes(notes: Sequence[str]) -> list[str]:
    """The notes below a table, numbered."""
    return [f"[{number}] {note}" for number, note in enumerate(notes, start=1)]


def _right(comparison: Comparison, notes: list[str]) -> tuple[str, str, str, str, str]:
    verdict: str = comparison.verdict
    if verdict == "undecided":
        needed = comparison.seeds_needed
        verdict += f" (needs {f'{needed:,}' if needed else 'over 10,000'} seeds)"
    if comparison.note:
        verdict += f" [{notes.index(comparison.note) + 1}]"
    return (
        comparison.reference,
        points(comparison.mean_difference),
        f"{points(comparison.low)} to {points(comparison.high)}",
        verdict,
        comparison.verdict,
    )


def points(value: float) -> str:
    """A difference with its sign and two decimals; never "-0.00"."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if i in NUMBERS else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
