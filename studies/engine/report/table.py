"""The verdict table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.engine.compare import Comparison, Comparisons

_HEAD = ("arm", "test accuracy %", "95 % interval", "compared with", "difference", "", "verdict")


def comparison_table(comparisons: Comparisons) -> str:
    """One row per arm, and one more for each further comparison of it.

    Accuracies are percentages of the test split, differences percentage points with a 95 %
    interval; verdicts are those of `studies.engine.compare`.
    """
    notes = list(dict.fromkeys(c.note for c in comparisons.comparisons if c.note))
    rows: list[tuple[str, ...]] = []
    for summary in sorted(comparisons.arms, key=lambda arm: -arm.mean):
        own = [c for c in comparisons.comparisons if c.arm == summary.arm]
        lost = f" ({summary.diverged} diverged)" if summary.diverged else ""
        left = (
            summary.arm + lost,
            f"{100 * summary.mean:.2f}",
            f"{100 * summary.low:.2f} to {100 * summary.high:.2f}",
        )
        rows.append((*left, *(_right(own[0], notes) if own else ("", "", "", ""))))
        rows += [("", "", "", *_right(comparison, notes)) for comparison in own[1:]]
    footnotes = [f"[{number}] {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join([_aligned([_HEAD, *rows]), *footnotes])


def _right(comparison: Comparison, notes: list[str]) -> tuple[str, ...]:
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
    )


def points(value: float) -> str:
    """Percentage points with their sign and two decimals; never "-0.00"."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = {1, 2, 4, 5}

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    head, *body = rows
    return "\n".join([line(head), "  ".join("-" * w for w in widths), *(line(r) for r in body)])
