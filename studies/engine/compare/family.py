"""Compare the arms of a study: summaries, paired comparisons and verdicts in one value."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from studies.engine.compare.bootstrap import RESAMPLES, mean_interval
from studies.engine.compare.judgement import Judgement, judge
from studies.engine.compare.outcome import TEST_ACCURACY, Outcome
from studies.engine.compare.pairing import (
    FloatArray,
    Results,
    paired_differences,
    settle,
    values_of,
)
from studies.engine.compare.power import seeds_needed
from studies.engine.compare.results import ArmSummary, Comparison, Comparisons


def summarise(
    results: Results,
    arm: str,
    *,
    alpha: float = 0.05,
    seed: int = 0,
    diverged: int | None = None,
    resamples: int = RESAMPLES,
    outcome: Outcome = TEST_ACCURACY,
) -> ArmSummary:
    """Mean outcome of one arm with its bootstrap interval over all of its seeds.

    Args:
        results: arm -> seed -> value of the outcome.
        arm: label of the arm.
        alpha: the interval has confidence 1 - alpha.
        seed: seed of the bootstrap.
        diverged: number of diverged runs, passed through.
        resamples: number of bootstrap resamples.
        outcome: what the values are.

    Returns:
        The summary; the interval is kept within the outcome's ends.

    Raises:
        ValueError, TypeError: as `values_of` and `mean_interval`.
    """
    values = settle(values_of(results, arm, outcome))
    interval = mean_interval(values, confidence=1 - alpha, seed=seed, resamples=resamples)
    return ArmSummary(
        arm=arm,
        n=values.size,
        mean=float(values.mean()),
        std=_deviation(values),
        low=max(outcome.low, interval.low),
        high=min(outcome.high, interval.high),
        interval_method=interval.method,
        diverged=diverged,
    )


def compare(
    results: Results,
    reference: str,
    *,
    margin: float = 0.5,
    alpha: float = 0.05,
    seed: int = 0,
    common_only: bool = False,
    diverged: Mapping[str, int] | None = None,
    resamples: int = RESAMPLES,
    outcome: Outcome = TEST_ACCURACY,
) -> Comparisons:
    """Compare every other arm with one reference; arguments and errors as `compare_pairs`."""
    pairs = [(arm, reference) for arm in results if arm != reference]
    if not pairs:
        raise ValueError(f"nothing to compare with {reference!r}: give at least one other arm")
    return compare_pairs(
        results,
        pairs,
        margin=margin,
        alpha=alpha,
        seed=seed,
        common_only=common_only,
        diverged=diverged,
        resamples=resamples,
        outcome=outcome,
    )


def compare_pairs(
    results: Results,
    pairs: Sequence[tuple[str, str]],
    *,
    margin: float = 0.5,
    alpha: float = 0.05,
    seed: int = 0,
    common_only: bool = False,
    diverged: Mapping[str, int] | None = None,
    resamples: int = RESAMPLES,
    outcome: Outcome = TEST_ACCURACY,
) -> Comparisons:
    """Compare arms with their references; the listed pairs are one family for Holm.

    Args:
        results: arm -> seed -> value of the outcome. A diverged run has its finite worst
            value.
        pairs: (arm, reference) labels, each pair once.
        margin: equivalence margin as the outcome's differences are shown: percentage points of test
            accuracy, in (0, 100], if no other.
        alpha: family-wise error level, in (0, 0.5]; intervals have confidence 1 - alpha.
        seed: seed of the bootstrap. Every interval uses the same stream, so that an interval does
            not depend on what else is compared.
        common_only: compare on the seeds that both arms of a pair have, instead of an error.
        diverged: arm -> number of diverged runs, for the summaries.
        resamples: bootstrap resamples per interval, at least 100.
        outcome: what the values are, and whether more of it is better.

    Returns:
        Summaries of all arms in ``results``, and the comparisons in the order of ``pairs``.

    Raises:
        ValueError: for an unknown arm, an arm against itself, a pair listed twice, no pairs,
            unequal seeds, fewer than 2 seeds, values outside the outcome's ends, or a margin,
            alpha or number of resamples out of range.
        TypeError: for a seed that is not an integer or a value that is not a number.
    """
    _check(pairs, margin, alpha, outcome)
    edge = margin / outcome.scale
    rows = [
        paired_differences(results, a, b, common_only=common_only, outcome=outcome)
        for a, b in pairs
    ]
    judgements = judge(rows, edge, alpha, sign=outcome.sign)
    comparisons = []
    for (arm, reference), row, judgement in zip(pairs, rows, judgements, strict=True):
        interval = mean_interval(row, confidence=1 - alpha, seed=seed, resamples=resamples)
        comparisons.append(
            Comparison(
                arm=arm,
                reference=reference,
                n=row.size,
                mean_difference=outcome.scale * float(row.mean()),
                std_difference=outcome.scale * _deviation(row),
                low=outcome.scale * interval.low,
                high=outcome.scale * interval.high,
                interval_method=interval.method,
                p_value=judgement.p_value,
                p_adjusted=judgement.p_adjusted,
                p_equivalence=judgement.p_equivalence,
                p_equivalence_adjusted=judgement.p_equivalence_adjusted,
                verdict=judgement.verdict,
                seeds_needed=_plan(row, judgement, edge, alpha, len(pairs)),
                note=judgement.note,
                margin=margin,
                alpha=alpha,
            )
        )
    summaries = (
        summarise(
            results,
            arm,
            alpha=alpha,
            seed=seed,
            diverged=None if diverged is None else diverged.get(arm, 0),
            resamples=resamples,
            outcome=outcome,
        )
        for arm in results
    )
    return Comparisons(tuple(summaries), tuple(comparisons), margin, alpha, outcome)


def _plan(
    row: FloatArray, judgement: Judgement, margin: float, alpha: float, comparisons: int
) -> int | None:
    if judgement.verdict != "undecided":
        return None
    return seeds_needed(
        float(row.mean()),
        _deviation(row),
        margin,
        alpha=alpha,
        comparisons=comparisons,
        more_than=row.size,
        by_difference=not judgement.opposed,
    )


def _deviation(values: FloatArray) -> float:
    return 0.0 if np.ptp(values) == 0 else float(values.std(ddof=1))


def _check(pairs: Sequence[tuple[str, str]], margin: float, alpha: float, outcome: Outcome) -> None:
    if not pairs:
        raise ValueError("nothing to compare: list at least one (arm, reference) pair")
    seen: set[frozenset[str]] = set()
    for arm, reference in pairs:
        if frozenset((arm, reference)) in seen:
            raise ValueError(f"{arm!r} and {reference!r} are compared twice: list them once")
        seen.add(frozenset((arm, reference)))
    most = outcome.scale * (outcome.high - outcome.low)
    if not (math.isfinite(margin) and 0 < margin <= most):
        raise ValueError(
            f"margin {margin} must be above 0 and at most {most:g} {outcome.difference}"
        )
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha {alpha} must be above 0 and at most 0.5")
