"""From paired differences to verdicts: the tests and the rules, without intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from studies.engine.compare.equivalence import equivalence_test
from studies.engine.compare.multiplicity import holm
from studies.engine.compare.pairing import settle
from studies.engine.compare.results import Verdict
from studies.engine.compare.signed_rank import signed_rank_test

SMALL_BUT_REAL = "a real difference, but smaller than the margin"
OPPOSED = "mean and ranks disagree about the direction: a few extreme seeds carry the mean"


@dataclass(frozen=True)
class Judgement:
    """P-values and verdict of one comparison in its family (fields as in `Comparison`).

    ``opposed`` is True where the rank sums do not favour the side of the mean.
    """

    p_value: float
    p_adjusted: float
    p_equivalence: float
    p_equivalence_adjusted: float
    verdict: Verdict
    note: str
    opposed: bool


def judge(
    differences: Sequence[ArrayLike], margin: float, alpha: float = 0.05, *, sign: int = 1
) -> tuple[Judgement, ...]:
    """Judge a family of comparisons.

    The rules, in this order, each p-value after Holm over the family:

    1. *equivalent* if the equivalence test has p <= alpha: the mean difference is shown to be
       smaller than the margin. That comes first because it is the stronger statement about what
       matters; where the difference is also significant, the note says so.
    2. *better* or *worse*, by the side of the mean, if the signed-rank test has p <= alpha and its
       ranks point the same way. Where they oppose the mean (one diverged run among many small
       wins), neither word would be true: undecided, with a note.
    3. *undecided* otherwise: the data exclude neither no difference nor one beyond the margin.

    Claims of a difference and claims of equivalence are two questions, and Holm is applied to each:
    with probability at least 1 - alpha no arm is wrongly called better or worse, and with
    probability at least 1 - alpha none is wrongly called equivalent, however many are compared.
    Equivalence needs the correction as much as difference does, for a study that looks at many
    arms and reports those that came out equivalent selects in the same way. (No comparison can
    suffer both errors: there either is no difference or one outside the margin.)

    Args:
        differences: one row of paired differences per comparison, each of length >= 2.
        margin: equivalence margin, in the unit of the differences.
        alpha: family-wise level of either kind of claim.
        sign: 1 where a higher value is better, -1 where a lower one is.

    Returns:
        One judgement per comparison, in order.
    """
    rows = [settle(row) for row in differences]
    tests = [signed_rank_test(row) for row in rows]
    equivalences = [equivalence_test(row, margin) for row in rows]
    adjusted = holm([test.p_value for test in tests])
    equivalences_adjusted = holm(equivalences)
    judgements = []
    for row, test, p, q, q_raw in zip(
        rows, tests, adjusted, equivalences_adjusted, equivalences, strict=True
    ):
        mean = float(row.mean())
        differs = bool(p <= alpha)
        opposed = mean * test.direction < 0 or (mean == 0 and differs)
        verdict: Verdict = "undecided"
        note = ""
        if q <= alpha:
            verdict = "equivalent"
            note = SMALL_BUT_REAL if differs else ""
        elif differs and opposed:
            note = OPPOSED
        elif differs:
            verdict = "better" if sign * mean > 0 else "worse"
        judgements.append(
            Judgement(test.p_value, float(p), q_raw, float(q), verdict, note, opposed)
        )
    return tuple(judgements)
