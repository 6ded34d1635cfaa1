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
    rows: list[tuple[str, ...]] = []
    for summary in sorted(comparisons.arms, key=lambda arm: -arm.mean):
        own = [c for c in comparisons.comparisons if c.arm == summary.arm]
        lost = f" ({summary.diverged} diverged)" if summary.diverged else ""
        left = (
            summary.arm + lost,
            f"{100 * summary.mean:.2f}",
            f"{100 * summary.low:.2f} to {100 * summary.high:.2f}",
        )
        rows.append((*left, *(_right(own[0]) if own else ("", "", "", ""))))
        rows += [("", "", "", *_right(comparison)) for comparison in own[1:]]
    return _aligned([_HEAD, *rows])


def _right(comparison: Comparison) -> tuple[str, ...]:
    verdict: str = comparison.verdict
    if verdict == "undecided":
        needed = comparison.seeds_needed
        verdict += f" (needs {f'{needed:,}' if needed else 'over 10,000'} seeds)"
    return (
        comparison.reference,
        f"{comparison.mean_difference:+.2f}",
        f"{comparison.low:+.2f} to {comparison.high:+.2f}",
        verdict,
    )


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
