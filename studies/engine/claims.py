"""Whether a paper's claim was reproduced: a verdict on the whole study, in one sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from studies.engine.compare import Comparison, Comparisons

FindingWord = Literal["reproduced", "not reproduced", "undecided"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a study says of the claim that it tests.

    Args:
        verdict: "reproduced", "not reproduced" or "undecided".
        reason: the numbers that say so, as a sentence or two.
    """

    verdict: FindingWord
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a claim is judged by.

    Args:
        comparisons: arms, paired comparisons and verdicts.
        rows: one mapping per training of the confirmation, as in runs.csv.
    """

    comparisons: Comparisons
    rows: Sequence[Mapping[str, Any]]

    def values(self, arm: str, column: str) -> dict[int, float]:
        """A column of an arm's runs by seed.

        Raises:
            KeyError: no run of that arm has the column.
        """
        found = {
            int(row["seed"]): float(row[column])
            for row in self.rows
            if row["arm"] == arm and row.get(column) not in (None, "")
        }
        if not found:
            raise KeyError(f"no run of {arm!r} has {column!r}")
        return found

    def mean(self, arm: str, column: str) -> float:
        """Mean of a column over an arm's seeds."""
        values = self.values(arm, column).values()
        return math.fsum(values) / len(values)


Judge: TypeAlias = Callable[[Evidence], Finding]
"""From a study's evidence to its finding."""


def expect(expected: Mapping[tuple[str, str], Sequence[str]], *, at_most: float = 0.0) -> Judge:
    """A judge for claims about pairs of arms.

    The claim is reproduced if every pair came out as expected, not reproduced if one came out
    otherwise, and undecided if a pair is undecided and none contradicts.

    Args:
        expected: (arm, reference) -> the verdicts that agree with the claim: "better", "worse",
            "equivalent".
        at_most: a pair that is worse agrees too if its mean difference is at most so large, in
            the unit that differences are shown in; for claims such as "or just below".
    """

    def judge(evidence: Evidence) -> Finding:
        found = [(evidence.comparisons.between(*pair), words) for pair, words in expected.items()]
        against = [c for c, words in found if not _agrees(c, words, at_most) and _decided(c)]
        open_ = [c for c, words in found if not _agrees(c, words, at_most) and not _decided(c)]
        counted = f"{len(found) - len(against) - len(open_)} of {len(found)} comparisons agree"
        if against:
            return Finding("not reproduced", f"{counted}; against the claim: {_told(against)}.")
        if open_:
            return Finding("undecided", f"{counted}; undecided: {_told(open_)}.")
        return Finding("reproduced", f"{counted}: {_told([c for c, _ in found])}.")

    return judge


def _decided(comparison: Comparison) -> bool:
    return comparison.verdict != "undecided"


def _agrees(comparison: Comparison, words: Sequence[str], at_most: float) -> bool:
    small = comparison.verdict == "worse" and abs(comparison.mean_difference) <= at_most
    return comparison.verdict in words or small


def _told(comparisons: Sequence[Comparison]) -> str:
    return "; ".join(
        f"{c.arm} against {c.reference} {c.verdict} ({c.mean_difference:+.2f})" for c in comparisons
    )
