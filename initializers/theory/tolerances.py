"""Standard errors of what is measured on random weights and signals (derived).

For tests and error bars: a deviation of more than four of them is no chance. All are relative to
the expected value unless said otherwise.
"""

from __future__ import annotations

import math


def second_moment_error(kurtosis: float, count: int) -> float:
    """Return ``sqrt((kappa - 1) / n)``, that of the mean square of n independent values.

    Gaussian weights: sqrt(2/n); uniform: sqrt(0.8/n); ternary weights with independent draws:
    sqrt(p0 / ((1 - p0) n)); with exact counts there is none. Given the input, it is that of
    ``sum(z^2) / n_out`` as well.

    Args:
        kurtosis: Of the values, >= 1.
        count: n, at least 1.
    """
    return math.sqrt((kurtosis - 1.0) / count)


def rectified_second_moment_error(kurtosis: float, count: int) -> float:
    """Return ``sqrt((2 kappa - 1) / n)``, that of ``sum(relu(z)^2)`` over n units of one layer.

    Args:
        kurtosis: Of the symmetric pre-activations z.
        count: n, at least 1.
    """
    return second_moment_error(2.0 * kurtosis, count)


def mean_error(std: float, count: int) -> float:
    """Return ``std / sqrt(n)``, the absolute one of a mean of n independent values."""
    return std / math.sqrt(count)


def kurtosis_error(count: int) -> float:
    """Return ``sqrt(24 / n)``, the absolute one of the kurtosis of n Gaussian values."""
    return math.sqrt(24.0 / count)


def share_error(share: float, count: int) -> float:
    """Return ``sqrt(p (1 - p) / n)``, the absolute one of a share, such as that of empty rows."""
    return math.sqrt(share * (1.0 - share) / count)
