"""What the infinitely wide picture misses at finite width, above all for sparse ternary weights.

In the limit of infinite width only the variance of the weights enters. The first corrections are
governed by the degree d = density * fan_in, the mean number of non-zero inputs of a unit. With
kappa(x) = E x^4 / (E x^2)^2, 3 for a Gaussian, n units per layer and r = kappa(phi(u)) / kappa(u)
(all derived)::

    (1) kappa_w  = 1 / (1 - p0)                                  ternary weights
    (2) kappa_z  = 3 + (kappa_w - 3) kappa_x / n                 z = W x, one input x
                 = 3 + (1/d - 3/n) kappa_x
    (3) kappa'   = 3 + (1/d - 3/n) r kappa                       layer to layer
    (4) std(|h_L|^2) / E|h_L|^2 = sqrt(exp(v) - 1),  v = sum over layers of (r kappa - 1) / n
    (5) P(unit without inputs)  = (1 - density)^n, about exp(-d)
    (6) share of singular values that are 0 = g + h + d g h - 1,  h = exp(-d g),
        g the smallest solution of g = exp(-d h); square matrices of large width

>>> [round(k, 12) for k in kurtosis_path(degree=2.0, layers=3)]  # ReLU, at the critical degree
[3.0, 6.0, 9.0, 12.0]
>>> round(critical_degree("relu"), 12), round(critical_degree("linear"), 12)
(2.0, 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from initializers.theory.moments import ActivationLike, kurtosis

GAUSSIAN = 3.0


def weight_kurtosis(zero_proportion: float) -> float:
    """Return the kurtosis ``1 / (1 - p0)`` of ternary weights (1).

    Args:
        zero_proportion: p0, in [0, 1).

    Raises:
        ValueError: If it is outside that interval.
    """
    if not 0.0 <= zero_proportion < 1.0:
        raise ValueError(f"zero_proportion must be in [0, 1), got {zero_proportion!r}.")
    return 1.0 / (1.0 - zero_proportion)


def preactivation_kurtosis(
    weight_kurtosis: float, fan_in: float, input_kurtosis: float = GAUSSIAN
) -> float:
    """Return the kurtosis of ``z = W x`` over draws of W, for one input x (2).

    ``3 + (kappa_w - 3) kappa_x / fan_in``; for ternary weights ``3 + (1/d - 3/fan_in) kappa_x``.

    Args:
        weight_kurtosis: That of the independent weights, of mean 0.
        fan_in: Inputs of a unit, non-zero weights or not; inf leaves a Gaussian.
        input_kurtosis: ``mean(x^4) / mean(x^2)^2`` of the input.
    """
    return GAUSSIAN + (weight_kurtosis - GAUSSIAN) * input_kurtosis / fan_in


def kurtosis_ratio(phi: ActivationLike, q: float = 1.0) -> float:
    """Return r, the kurtosis of phi(u) over that of u for Gaussian u of variance q.

    2 for ReLU, 1 for the identity. For activations that scale (ReLU, leaky ReLU) it holds for every
    symmetric u, for others it is an approximation where u is nearly Gaussian.
    """
    return kurtosis(phi, q) / GAUSSIAN


def kurtosis_path(
    degree: float,
    layers: int,
    fan_in: float = math.inf,
    phi: ActivationLike = "relu",
    start: float = GAUSSIAN,
) -> list[float]:
    """Return the kurtosis of the pre-activations layer by layer (3).

    ``kappa' = 3 + (1/d - 3/n) r kappa``.

    Args:
        degree: d > 0.
        layers: Steps, >= 0.
        fan_in: n, the width.
        phi: Activation between the layers.
        start: Kurtosis in the first layer.

    Returns:
        ``layers + 1`` values that begin with ``start``.
    """
    path, factor = [start], _factor(degree, fan_in, phi)
    for _ in range(layers):
        path.append(GAUSSIAN + factor * path[-1])
    return path


def kurtosis_limit(degree: float, fan_in: float = math.inf, phi: ActivationLike = "relu") -> float:
    """Return the kurtosis of deep layers: ``3 / (1 - r (1/d - 3/n))`` (3).

    Infinite at and below the critical degree; arguments as ``kurtosis_path``.
    """
    factor = _factor(degree, fan_in, phi)
    return GAUSSIAN / (1.0 - factor) if factor < 1.0 - _ROUNDING else math.inf


def critical_degree(phi: ActivationLike = "relu", fan_in: float = math.inf) -> float:
    """Return the degree below which the kurtosis grows without bound: ``1 / (1/r + 3/n)``.

    Unscaled ternary weights have d = gain^2 whatever their width: exactly the critical degree for
    ReLU (2) and for linear networks (1).
    """
    return 1.0 / (1.0 / kurtosis_ratio(phi) + GAUSSIAN / fan_in)


def norm_spread(kurtoses: Sequence[float], width: float, phi: ActivationLike = "relu") -> float:
    """Return the relative standard deviation of ``|h_L|^2`` over draws of the weights (4).

    For activations that scale, such as ReLU, where a layer adds ``(2 kappa - 1) / n`` to v.

    Args:
        kurtoses: Kurtosis of the pre-activations of each layer.
        width: Units n of each layer.
        phi: Activation.
    """
    ratio = kurtosis_ratio(phi)
    return math.sqrt(math.expm1(sum(ratio * kappa - 1.0 for kappa in kurtoses) / width))


def empty_rows(density: float, fan_in: float) -> float:
    """Return the chance that a unit has no input: ``(1 - density)^fan_in``, about exp(-d) (5).

    For independent weights. A ReLU unit without inputs and bias never learns.

    Args:
        density: Share of non-zero weights, in [0, 1].
        fan_in: Weights of a unit.

    Raises:
        ValueError: If the density is outside its interval.
    """
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"density must be in [0, 1], got {density!r}.")
    return float((1.0 - density) ** fan_in)


def empty_rows_exact(nonzeros: int, rows: int, columns: int) -> float:
    """Return the same chance where a matrix has an exact number of non-zero weights in all.

    The hypergeometric ``C(n - columns, K) / C(n, K)``, n = rows * columns.

    Args:
        nonzeros: K, in [0, n].
        rows: Units.
        columns: Weights of a unit.

    Raises:
        ValueError: If there are more non-zero weights than weights.
    """
    total = rows * columns
    if not 0 <= nonzeros <= total:
        raise ValueError(f"nonzeros must be in [0, {total}], got {nonzeros!r}.")
    if nonzeros > total - columns:
        return 0.0
    terms = (total - columns, total - nonzeros, total - columns - nonzeros, total)
    one, two, three, four = (math.lgamma(term + 1.0) for term in terms)
    return math.exp(one + two - three - four)


def zero_singular_values(degree: float) -> float:
    """Return the share of singular values that are 0 in a wide square sparse matrix (6).

    More than its empty rows: 21.6 % at d = 2. After Bordenave, Lelarge and Salez 2011, "The rank of
    diluted random graphs"; the formula is recalled, and agrees with random ternary matrices.

    Args:
        degree: d > 0.

    Raises:
        ValueError: If it is not.
    """
    _check_degree(degree)
    g, before = 0.0, -1.0
    while g - before > _ROUNDING:  # rises to the smallest solution
        g, before = math.exp(-degree * math.exp(-degree * g)), g
    h = math.exp(-degree * g)
    return max(0.0, g + h + degree * g * h - 1.0)


_ROUNDING = 1e-12


def _check_degree(degree: float) -> None:
    if not degree > 0.0:
        raise ValueError(f"degree must be > 0, got {degree!r}.")


def _factor(degree: float, fan_in: float, phi: ActivationLike) -> float:
    _check_degree(degree)
    return (1.0 / degree - GAUSSIAN / fan_in) * kurtosis_ratio(phi)
