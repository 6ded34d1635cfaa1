"""The edge of chaos: the weight and bias variances at which chi = 1."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from initializers.theory.moments import ActivationLike, response, second_moment

_ROUNDING = 1e-12


class EdgeOfChaos(NamedTuple):
    """A curve of critical points, parametrised by the fixed point of the second moment.

    Attributes:
        q: Second moments q*.
        sigma_w2: Weight variances times fan_in.
        sigma_b2: Bias variances; NaN where none is critical, because it would be negative.
    """

    q: Tensor
    sigma_w2: Tensor
    sigma_b2: Tensor


def edge_of_chaos(phi: ActivationLike, q: Tensor) -> EdgeOfChaos:
    """Return the critical variances that have the given fixed points.

    ``sigma_w^2 = 1 / E phi'(u)^2`` makes chi 1, ``sigma_b^2 = q - sigma_w^2 E phi(u)^2`` makes q
    fixed. For ReLU every q gives the single point (2, 0).

    Args:
        phi: Name, module or ``Activation``.
        q: Second moments > 0 of any shape.

    Returns:
        Three float64 tensors of q's shape.

    Raises:
        ValueError: If a q is negative or the activation unknown.
    """
    fixed = torch.as_tensor(q, dtype=torch.float64)
    sigma_w2 = 1.0 / response(phi, fixed)
    sigma_b2 = fixed - sigma_w2 * second_moment(phi, fixed)
    sigma_b2 = torch.where(sigma_b2.abs() <= _ROUNDING * fixed, 0.0, sigma_b2)
    return EdgeOfChaos(fixed, sigma_w2, torch.where(sigma_b2 < 0.0, torch.nan, sigma_b2))
