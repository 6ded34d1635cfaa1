"""Two one-sided tests: is the mean difference smaller than a margin?"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from studies.engine.compare.pairing import RESOLUTION


def equivalence_test(differences: ArrayLike, margin: float) -> float:
    """P-value of the claim that the mean difference lies strictly between -margin and +margin.

    Two one-sided paired t tests, one against each edge (Schuirmann 1987); the larger p-value
    counts, and needs no correction for there being two. Level alpha corresponds to the
    1 - 2 alpha t interval lying inside the margins.

    Differences that are all equal leave the t test without a scale: zero spread in a handful of
    counts is an accident, not certainty. The exact signed-rank test takes its place: n pairs on
    the inner side of both edges give p = 2**-n (and a mean on or outside an edge gives 1).

    Args:
        differences: finite, shape (n,), n >= 2, equal where they are meant to be (`settle`).
        margin: positive, in the unit of the differences.

    Returns:
        The p-value.

    Raises:
        ValueError: for fewer than 2 differences, or a margin that is not positive and finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"an equivalence test needs at least 2 differences, not {values.size}")
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin {margin} must be a positive number")
    n = values.size
    distance = margin - abs(float(values.mean()))  # to the nearer edge, whose p-value is larger
    if np.ptp(values) == 0:
        return 0.5**n if distance > RESOLUTION else 1.0
    error = float(values.std(ddof=1)) / math.sqrt(n)
    return float(stdtr(n - 1, -distance / error))
