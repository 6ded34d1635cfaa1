"""From accuracies per arm and seed to clean paired differences."""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Real
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studies.engine.compare.outcome import TEST_ACCURACY, Outcome

FloatArray: TypeAlias = NDArray[np.float64]
Results: TypeAlias = Mapping[str, Mapping[int, float]]
"""Arm label -> seed -> value of the outcome: test accuracy as a fraction in [0, 1], if no other."""

RESOLUTION = 5e-7
"""Accuracies closer than this are the same (a fraction, not percentage points).

Accuracies are counts over a test set, but they arrive as float32 or float64 quotients, so that two
differences of the same count can disagree by 1.2e-7. Half an image in a million is above that noise
and below the step of any test set of up to a million images.
"""


def settle(values: ArrayLike, tolerance: float = RESOLUTION) -> FloatArray:
    """Give values whose magnitudes agree up to rounding noise exactly the same magnitude.

    Walking up from zero, a magnitude within ``tolerance`` of the last kept one becomes that one
    (the first kept one is 0). Rounding to a fixed number of decimals would not do: two noisy copies
    of one number can fall on both sides of a rounding edge.

    Args:
        values: finite numbers, shape (n,).
        tolerance: largest magnitude difference that counts as noise, in the unit of the values.

    Returns:
        Float64 array, shape (n,), order and signs as given. Source: derived.
    """
    array = np.asarray(values, dtype=np.float64)
    magnitude = np.abs(array)
    settled = np.empty_like(magnitude)
    kept = 0.0
    for index in np.argsort(magnitude, kind="stable").tolist():
        if magnitude[index] - kept > tolerance:
            kept = float(magnitude[index])
        settled[index] = kept
    signed: FloatArray = np.sign(array) * settled + 0.0  # + 0.0 turns -0.0 into 0.0
    return signed


def _known_arm(results: Results, arm: str) -> Mapping[int, float]:
    if arm not in results:
        near = get_close_matches(str(arm), list(results), n=3) or sorted(results)
        raise ValueError(f"unknown arm {arm!r}: nearest names are {', '.join(near)}")
    return results[arm]


def _listing(seeds: Sequence[int], limit: int = 10) -> str:
    text = ", ".join(str(seed) for seed in seeds[:limit])
    left = len(seeds) - limit
    return text if left <= 0 else f"{text} and {left} more"


def values_of(results: Results, arm: str, outcome: Outcome = TEST_ACCURACY) -> FloatArray:
    """One arm's values in the order of its seeds.

    Args:
        results: arm -> seed -> value of the outcome.
        arm: a label in ``results``.
        outcome: what the values are.

    Returns:
        Float64 array, shape (number of seeds,), at least 2.

    Raises:
        ValueError: for an unknown arm, fewer than 2 seeds, or a value outside the outcome's ends.
        TypeError: for a seed that is not an integer or a value that is not a number.
    """
    per_seed = _known_arm(results, arm)
    for seed, value in per_seed.items():
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise TypeError(f"arm {arm!r}: seed {seed!r} must be an integer")
        number: object = value  # whatever the annotation says
        if not isinstance(number, Real):
            raise TypeError(f"arm {arm!r}, seed {seed}: {outcome.words} {value!r} must be a number")
        if not (math.isfinite(value) and outcome.low <= value <= outcome.high):
            raise ValueError(
                f"arm {arm!r}, seed {seed}: {outcome.words} {value} must be {_range(outcome)}"
                " (give a diverged run its finite worst value)"
            )
    if len(per_seed) < 2:
        raise ValueError(
            f"a comparison needs at least 2 seeds, but arm {arm!r} has {len(per_seed)}: add seeds"
        )
    return np.array([float(per_seed[seed]) for seed in sorted(per_seed)])


def _range(outcome: Outcome) -> str:
    if (outcome.low, outcome.high) == (0, 1):
        return "a fraction between 0 and 1"
    return f"from {outcome.low:g} to {outcome.high:g}"


def paired_differences(
    results: Results,
    arm: str,
    reference: str,
    *,
    common_only: bool = False,
    outcome: Outcome = TEST_ACCURACY,
) -> FloatArray:
    """Value of an arm minus value of the reference, seed by seed, in the order of the seeds.

    Args:
        results: arm -> seed -> value of the outcome.
        arm: label of the arm.
        reference: label of the arm that it is held against.
        common_only: compare on the seeds that both arms have; by default unequal seeds are an
            error, because what is missing may be missing for a reason.
        outcome: what the values are.

    Returns:
        Float64 array in the unit of the values, shape (n,), n >= 2, noise removed by `settle`.

    Raises:
        ValueError: for unknown or equal arms, seeds that only one arm has (unless
            ``common_only``), fewer than 2 pairs, or values outside the outcome's ends.
        TypeError: for a seed that is not an integer or a value that is not a number.
    """
    if arm == reference:
        raise ValueError(f"arm {arm!r} cannot be compared with itself: give another reference")
    for label in (arm, reference):
        values_of(results, label, outcome)
    ours, theirs = results[arm], results[reference]
    common = sorted(set(ours) & set(theirs))
    if not common_only:
        for label, missing in (
            (arm, set(theirs) - set(ours)),
            (reference, set(ours) - set(theirs)),
        ):
            if missing:
                other = reference if label == arm else arm
                raise ValueError(
                    f"arm {label!r} has no result for seeds {_listing(sorted(missing))} of"
                    f" {other!r}: complete it, or compare on the common seeds only"
                    " (common_only=True)"
                )
    if len(common) < 2:
        raise ValueError(
            f"a comparison needs at least 2 seeds, but {arm!r} and {reference!r} have"
            f" {len(common)} in common: add seeds"
        )
    return settle([float(ours[seed]) - float(theirs[seed]) for seed in common])
