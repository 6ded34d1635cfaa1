"""Correction of p-values for the number of comparisons."""

import numpy as np
from numpy.typing import ArrayLike

from studies.engine.compare.pairing import FloatArray


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's step-down adjusted p-values (Holm 1979).

    The i-th smallest of m p-values is multiplied by m - i + 1, made monotone in i and capped at 1.
    Rejecting where the adjusted value is at most alpha keeps the probability of any false rejection
    at or below alpha, whatever the dependence between the tests (comparisons that share an arm are
    dependent).

    Args:
        p_values: shape (m,), each in [0, 1].

    Returns:
        Float64 array, shape (m,), in the given order.

    Raises:
        ValueError: for a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"p-values {values.tolist()} must be one row of numbers between 0 and 1")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
