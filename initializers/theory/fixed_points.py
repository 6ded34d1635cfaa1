"""Fixed points of the maps by bracketing, exact to rounding however slowly the map converges."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

_LOWEST, _HIGHEST = 1e-12, 1e12
_STEP = 4.0
_EQUAL = 1e-14  # relative change by one layer that is rounding
_NEAR_1 = 1e-9


def settled_variance(variance: Callable[[float], float], start: float) -> float:
    """Return the first fixed point on the way from ``start`` in the direction of the map.

    Args:
        variance: The map.
        start: Where to begin, in (0, inf).

    Returns:
        The fixed point; 0 or inf if there is none on the way down or up (between 1e-12 and 1e12).

    Raises:
        ValueError: If start is not positive and finite.
    """
    if not 0.0 < start < math.inf:
        raise ValueError(f"fixed_variance: start must be in (0, inf), got {start!r}.")

    def change(q: float) -> float:
        return variance(q) / q - 1.0

    first = change(start)
    if abs(first) <= _EQUAL:
        return start
    up = first > 0.0
    near, far = start, start
    while _LOWEST <= far <= _HIGHEST:
        far *= _STEP if up else 1.0 / _STEP
        value = change(far) if up else -change(far)
        if value < -_EQUAL:  # it moves back from there
            low, high = sorted((near, far))
            return float(brentq(change, low, high, xtol=1e-15 * low, rtol=1e-14))
        if value > _EQUAL:  # else a fixed point, or so far out that the map is linear to rounding
            near = far
    return math.inf if up else 0.0


def settled_correlation(correlation: Callable[[float], float]) -> float:
    """Return the stable fixed point in [0, 1) of a correlation map that leaves 1 unstable.

    Args:
        correlation: The map, a power series with coefficients >= 0 (for c >= 0): convex, so that
            there is one such point at most; 1 if it is closer to 1 than 1e-9.
    """

    def change(c: float) -> float:
        return correlation(c) - c

    if change(0.0) <= _EQUAL:
        return 0.0
    if change(1.0 - _NEAR_1) >= 0.0:
        return 1.0
    return float(brentq(change, 0.0, 1.0 - _NEAR_1, xtol=1e-14, rtol=1e-14))
