"""Integrals over Gaussian variables, to rounding, for functions that are smooth between kinks.

Gauss-Legendre rules on panels replace the usual Gauss-Hermite rule, which converges slowly where a
function has kinks (ReLU) or changes over much less than a standard deviation (tanh at large
variance). The panels are bounded by the function's kinks, by points where the usual activations
change, and by a grid in units of the standard deviation; two correlated variables get a second set
of panels for every node of the first. Ours; 16 nodes per panel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

ORDER = 16
_REACH = 10.0  # the Gaussian measure beyond is 2e-23
_GRID = torch.linspace(-_REACH, _REACH, 9, dtype=torch.float64)
# where the usual activations change, in units of their argument
_POINTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_SPREADS = (-9.0, -3.0, -1.0, 0.0, 1.0, 3.0, 9.0)  # panels about a kink that noise has rounded off
_TINY = 1e-30


def gaussian_mean(
    function: Function,
    variance: Tensor,
    kinks: tuple[float, ...] = (),
    *,
    order: int = ORDER,
) -> Tensor:
    """Return ``E f(u)`` for Gaussian u of mean 0, one value per variance.

    Args:
        function: f, elementwise on float64 tensors, growing no faster than a power.
        variance: Variances >= 0 of any shape, float64.
        kinks: Arguments at which f or one of its derivatives jumps.
        order: Nodes per panel.
    """
    scale = variance.sqrt()[..., None]
    nodes, weights = _rule(_marks(kinks) / scale.clamp_min(_TINY), order)
    return (weights * function(scale * nodes)).sum(-1)


def gaussian_product_mean(
    function: Function,
    variance: float,
    correlation: Tensor,
    kinks: tuple[float, ...] = (),
    *,
    order: int = ORDER,
) -> Tensor:
    """Return ``E f(u) f(v)`` for Gaussian u, v of one variance, one value per correlation.

    Args:
        function: As in ``gaussian_mean``.
        variance: Variance >= 0 of both.
        correlation: Correlations in [-1, 1] of any shape, float64.
        kinks: As in ``gaussian_mean``.
        order: Nodes per panel.
    """
    values = [
        _product_mean(function, math.sqrt(variance), c, kinks, order)
        for c in correlation.flatten().tolist()
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(correlation.shape)


def _product_mean(
    function: Function, scale: float, c: float, kinks: tuple[float, ...], order: int
) -> float:
    rest = math.sqrt((1.0 - c) * (1.0 + c))
    marks = _marks(kinks) / max(scale, _TINY)
    # given the first variable, the mean over the second has its kinks rounded off over rest / c
    rounded = torch.tensor(kinks, dtype=torch.float64)[:, None] / max(scale, _TINY)
    rounded = (rounded + rest * torch.tensor(_SPREADS, dtype=torch.float64)) / math.copysign(
        max(abs(c), _TINY), c
    )
    first, weights = _rule(torch.cat([marks, rounded.flatten()]), order)
    inner = (marks - c * first[:, None]) / max(rest, _TINY)
    second, inner_weights = _rule(inner, order)
    means = (inner_weights * function(scale * (c * first[:, None] + rest * second))).sum(-1)
    return float((weights * function(scale * first) * means).sum())


def _marks(kinks: tuple[float, ...]) -> Tensor:
    marks = {0.0, *kinks, *_POINTS, *(-point for point in _POINTS)}
    return torch.tensor(sorted(marks), dtype=torch.float64)


def _rule(marks: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of the standard Gaussian measure, the last axis running over them.

    Args:
        marks: Bounds of panels along the last axis, beside those of the grid.
        order: Nodes per panel.
    """
    grid = _GRID.expand(*marks.shape[:-1], -1)
    edges = torch.cat([grid, marks.clamp(-_REACH, _REACH)], dim=-1).sort(dim=-1).values
    low, half = edges[..., :-1, None], edges.diff(dim=-1)[..., None] / 2.0
    points, shares = _legendre(order)
    nodes = (low + half * (1.0 + points)).flatten(-2)
    density = torch.exp(-0.5 * nodes.square()) / math.sqrt(2.0 * math.pi)
    return nodes, (half * shares).flatten(-2) * density


@functools.cache
def _legendre(order: int) -> tuple[Tensor, Tensor]:
    points, shares = np.polynomial.legendre.leggauss(order)
    return torch.from_numpy(points), torch.from_numpy(shares)
