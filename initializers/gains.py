"""Gains: the square root of weight variance times fan that keeps the signal's second moment at 1.

For ``z = W phi(z')`` with ``z' ~ N(0, 1)`` the second moment stays 1 if
``Var w * fan_in * E[phi(Z)^2] = 1``, hence ``gain = 1 / sqrt(E[phi(Z)^2])``: the *moment*
convention (derived; He et al. 2015 for ReLU). The *torch* convention takes the values of
``torch.nn.init.calculate_gain``, which differ for tanh (5/3), sigmoid (1) and SELU (3/4).
"""

from __future__ import annotations

import math
import numbers

from initializers.validate import suggestion

# E[phi(Z)^2] for Z ~ N(0, 1); the tests integrate every one of them numerically.
SECOND_MOMENTS: dict[str, float] = {
    "linear": 1.0,
    "relu": 0.5,
    "leaky_relu": (1.0 + 0.01**2) / 2.0,
    "tanh": 0.394294490397841,
    "sigmoid": 0.293379035858093,
    "gelu": 1.0 / 3.0 + 1.0 / (2.0 * math.sqrt(3.0) * math.pi),
    "silu": 0.355775519817352,
    "elu": 0.644945417492924,
    "selu": 1.0,
    "softplus": 0.921245908859301,
    "mish": 0.452342192375878,
    "hardtanh": 0.516058550961713,
    "erf": 2.0 / math.pi * math.asin(2.0 / 3.0),
}
_TORCH_GAINS = {"tanh": 5.0 / 3.0, "sigmoid": 1.0, "selu": 0.75}

GAIN_NAMES: tuple[str, ...] = tuple(SECOND_MOMENTS)
"""The nonlinearities whose gain `gain_value` knows by name."""
CONVENTIONS: tuple[str, ...] = ("torch", "moment")


def gain_value(
    gain: float | str, convention: str = "torch", *, negative_slope: float = 0.01
) -> float:
    """Return the gain of a nonlinearity as a number.

    Args:
        gain: A name out of ``GAIN_NAMES`` or a positive number, which is returned as it is.
        convention: ``"torch"`` (values of ``torch.nn.init.calculate_gain``; the moment gain where
            torch has none) or ``"moment"`` (``1 / sqrt(E[phi(Z)^2])``).
        negative_slope: Slope of ``leaky_relu`` below zero.

    Raises:
        TypeError: If ``gain`` is neither text nor a number.
        ValueError: If the name or convention is unknown, or the number not positive and finite.

    >>> round(gain_value("relu"), 6), round(gain_value("tanh", "moment"), 6)
    (1.414214, 1.592537)
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}.")
    if isinstance(gain, str):
        if gain not in SECOND_MOMENTS:
            raise ValueError(
                f"gain must be a positive number or one of {', '.join(GAIN_NAMES)}, "
                f"got {gain!r}{suggestion(gain, GAIN_NAMES)}."
            )
        if convention == "torch" and gain in _TORCH_GAINS:
            return _TORCH_GAINS[gain]
        if gain == "leaky_relu":
            return math.sqrt(2.0 / (1.0 + negative_slope**2))
        return 1.0 / math.sqrt(SECOND_MOMENTS[gain])
    number: object = gain
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise TypeError(f"gain must be a positive number or a name, got {gain!r}.")
    if not 0.0 < float(number) < math.inf:
        raise ValueError(f"gain must be in (0, inf), got {gain!r}.")
    return float(number)


def check_gain(owner: object, field: str = "gain", convention: str = "convention") -> None:
    """Check the gain and convention fields of a frozen dataclass; a number is stored as float.

    Raises:
        TypeError: If the gain is neither text nor a number.
        ValueError: If name, number or convention are not allowed.
    """
    value = getattr(owner, field)
    try:
        result = gain_value(value, getattr(owner, convention))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{type(owner).__name__}: {error}") from None
    if not isinstance(value, str):
        object.__setattr__(owner, field, result)
