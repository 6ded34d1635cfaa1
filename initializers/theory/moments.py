"""Gaussian moments of activations, from which all maps are made.

With u ~ N(0, q), and u, v of variance q and correlation c::

    V(q)    = E phi(u)^2                  second_moment
    R(q)    = E phi'(u)^2                 response
    P(q, c) = E phi(u) phi(v)             overlap
    S(q, c) = E phi'(u) phi'(v)           response_overlap
    V'(q)   = E u phi(u) phi'(u) / q      second_moment_slope
    E phi(u)^4 / V^2                      kurtosis

V' equals ``E [phi'^2 + phi phi'']`` by partial integration and holds for kinks as well, where
phi'' is no function (derived). Each takes a float and returns a float, or takes a tensor of any
shape and returns a float64 tensor of that shape.

>>> round(gain("tanh"), 6)  # 1 / sqrt(E tanh(Z)^2)
1.592537
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from initializers.theory.activations import Activation, activation
from initializers.theory.quadrature import ORDER, gaussian_mean, gaussian_product_mean

Value = TypeVar("Value", float, Tensor)
ActivationLike = str | nn.Module | Activation

#: At smaller variances derivatives are those at this one, the limit from above to 1e-12.
SMALLEST = 1e-12


def second_moment(phi: ActivationLike, q: Value, *, order: int = ORDER) -> Value:
    """Return ``E phi(u)^2`` at variance q.

    Args:
        phi: Name, module or ``Activation``.
        q: Variance >= 0.
        order: Nodes per panel of the quadrature.

    Raises:
        ValueError: If q is negative or no number, or the activation unknown.
    """
    f = activation(phi)
    return _over_variances(q, lambda t: gaussian_mean(lambda u: f(u) ** 2, t, f.kinks, order=order))


def kurtosis(phi: ActivationLike, q: Value, *, order: int = ORDER) -> Value:
    """Return ``E phi(u)^4 / (E phi(u)^2)^2`` at variance q > 0; see ``second_moment``.

    6 for ReLU and 3 for the identity, at every q. Variances below ``SMALLEST`` count as that.
    """
    f = activation(phi)

    def ratio(t: Tensor) -> Tensor:
        t = t.clamp_min(SMALLEST)
        fourth = gaussian_mean(lambda u: f(u) ** 4, t, f.kinks, order=order)
        return fourth / gaussian_mean(lambda u: f(u) ** 2, t, f.kinks, order=order) ** 2

    return _over_variances(q, ratio)


def response(phi: ActivationLike, q: Value, *, order: int = ORDER) -> Value:
    """Return ``E phi'(u)^2`` at variance q, at 0 the limit from above; see ``second_moment``."""
    f = activation(phi)
    return _over_variances(
        q,
        lambda t: gaussian_mean(
            lambda u: f.derivative(u) ** 2, t.clamp_min(SMALLEST), f.kinks, order=order
        ),
    )


def second_moment_slope(phi: ActivationLike, q: Value, *, order: int = ORDER) -> Value:
    """Return dV/dq at variance q, at 0 the limit from above; see ``second_moment``."""
    f = activation(phi)

    def slope(t: Tensor) -> Tensor:
        t = t.clamp_min(SMALLEST)
        return gaussian_mean(lambda u: u * f(u) * f.derivative(u), t, f.kinks, order=order) / t

    return _over_variances(q, slope)


def overlap(phi: ActivationLike, q: float, c: Value, *, order: int = ORDER) -> Value:
    """Return ``E phi(u) phi(v)`` at variance q and correlation c.

    Args:
        phi: Name, module or ``Activation``.
        q: Variance >= 0 of both.
        c: Correlation in [-1, 1].
        order: Nodes per panel of the quadrature.

    Raises:
        ValueError: If q is negative, c outside [-1, 1], or the activation unknown.
    """
    f = activation(phi)
    return _over_correlations(f, q, c, f.kinks, order)


def response_overlap(phi: ActivationLike, q: float, c: Value, *, order: int = ORDER) -> Value:
    """Return ``E phi'(u) phi'(v)``, at q = 0 the limit from above; see ``overlap``."""
    f = activation(phi)
    return _over_correlations(f.derivative, max(q, SMALLEST), c, f.kinks, order)


def gain(phi: ActivationLike, q: float = 1.0) -> float:
    """Return ``sqrt(q / E phi(u)^2)``: the gain that keeps the second moment at q.

    ``Var w = gain^2 / fan_in`` then gives the next pre-activation the second moment q. At q = 1
    it is ``initializers.gain_value(name, "moment")``, there from a table.

    Args:
        phi: Name, module or ``Activation``.
        q: Second moment of the pre-activations, > 0.

    Raises:
        ValueError: If q is not positive, or the activation unknown or 0 everywhere.
    """
    signal = second_moment(phi, float(q))
    if not q > 0.0 or not signal > 0.0:
        raise ValueError(f"gain: q and E phi^2 must be positive, got {q!r} and {signal!r}.")
    return math.sqrt(q / signal)


def _over_variances(q: Value, integral: Callable[[Tensor], Tensor]) -> Value:
    values = torch.as_tensor(q, dtype=torch.float64)
    if not bool((values >= 0.0).all()):
        raise ValueError(f"q must be a variance >= 0, got {q!r}.")
    return _like(q, integral(values))


def _over_correlations(
    function: Callable[[Tensor], Tensor], q: float, c: Value, kinks: tuple[float, ...], order: int
) -> Value:
    values = torch.as_tensor(c, dtype=torch.float64)
    if not q >= 0.0:
        raise ValueError(f"q must be a variance >= 0, got {q!r}.")
    if not bool((values.abs() <= 1.0 + 1e-12).all()):
        raise ValueError(f"c must be a correlation in [-1, 1], got {c!r}.")
    values = values.clamp(-1.0, 1.0)
    return _like(c, gaussian_product_mean(function, q, values, kinks, order=order))


def _like(given: Value, result: Tensor) -> Value:
    return result if isinstance(given, Tensor) else float(result)
