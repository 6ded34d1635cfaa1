"""Mean-field maps of the surrogates of binary networks: where information crosses many layers.

Stamatescu, Gerace, Lucibello, Fuss & White 2020, "Critical initialisation in continuous
approximations of binary neural networks" (arXiv 1902.00177); of the paper only abstract and
introduction could be read, the maps are derived and agree with its claims. Weights are +-1 with
means M, E M^2 = sigma_m^2; biases N(0, sigma_b^2); N inputs per unit, scaled by 1/sqrt(N); u is a
unit's mean input in units of its standard deviation, q = E u^2, and c the correlation of u for two
inputs of the network.

All integrals are over the standard Gaussian measure, by Gauss-Hermite quadrature in float64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

_NODES = 160


class Neuron(Protocol):
    """A neuron's mean output phi(u), odd and increasing from -1 to 1."""

    @property
    def slope(self) -> float:
        """phi'(0)."""

    def phi(self, u: Tensor) -> Tensor:
        """Return the mean output, elementwise."""

    def derivative(self, u: Tensor) -> Tensor:
        """Return phi'(u), elementwise."""


@dataclass(frozen=True)
class Sign:
    """phi(u) = erf(u / sqrt 2), the mean of sign(h) for Gaussian h."""

    slope: ClassVar[float] = math.sqrt(2.0 / math.pi)

    def phi(self, u: Tensor) -> Tensor:
        """Return erf(u / sqrt 2)."""
        return torch.erf(u / math.sqrt(2.0))

    def derivative(self, u: Tensor) -> Tensor:
        """Return sqrt(2 / pi) exp(-u^2 / 2)."""
        return self.slope * torch.exp(-0.5 * u**2)


@dataclass(frozen=True)
class Logistic:
    """phi(u) = tanh(slope u), the mean of a neuron with logistic noise.

    Args:
        slope: phi'(0) > 0.
    """

    slope: float = 1.0

    def phi(self, u: Tensor) -> Tensor:
        """Return tanh(slope u)."""
        return torch.tanh(self.slope * u)

    def derivative(self, u: Tensor) -> Tensor:
        """Return slope (1 - tanh(slope u)^2)."""
        return self.slope * (1.0 - self.phi(u) ** 2)


def variance_map(q: float, neuron: Neuron, sigma_m2: float, sigma_b2: float = 0.0) -> float:
    """Return q of the next layer of the deterministic surrogate.

    ``(sigma_m^2 qh + sigma_b^2) / (1 - sigma_m^2 qh)`` with ``qh = int Dz phi(sqrt(q) z)^2``.
    """
    signal = sigma_m2 * gauss(lambda z: neuron.phi(math.sqrt(q) * z) ** 2)
    return (signal + sigma_b2) / (1.0 - signal)


def correlation_map(
    c: float, q: float, neuron: Neuron, sigma_m2: float, sigma_b2: float = 0.0
) -> float:
    """Return c of the next layer of the deterministic surrogate, whose input has variance q.

    ``(sigma_m^2 int int phi(u_a) phi(u_b) + sigma_b^2) / ((1 - sigma_m^2 qh) q')`` with q' the
    variance of the next layer.
    """
    signal = sigma_m2 * gauss(lambda z: neuron.phi(math.sqrt(q) * z) ** 2)
    overlap = _overlap(c, q, neuron.phi)
    return (sigma_m2 * overlap + sigma_b2) / (signal + sigma_b2)


def fixed_point(neuron: Neuron, sigma_m2: float, sigma_b2: float = 0.0) -> float:
    """Return the variance q* that `variance_map` leaves as it is: its smallest stable one.

    Without biases that is 0 wherever sigma_m^2 phi'(0)^2 <= 1. Found by iteration from above,
    stopped at a relative step of 1e-13.

    Raises:
        ValueError: The iteration does not settle, as next to a critical point.
    """
    if sigma_b2 == 0.0 and sigma_m2 * neuron.slope**2 <= 1.0:
        return 0.0
    q = 1.0
    for _ in range(100_000):
        following = variance_map(q, neuron, sigma_m2, sigma_b2)
        if abs(following - q) <= 1e-13 * max(q, following):
            return following
        q = following
    raise ValueError(
        f"fixed_point: the variance does not settle at sigma_m2={sigma_m2:g}, "
        f"sigma_b2={sigma_b2:g}; move away from the critical point."
    )


def chi(neuron: Neuron, sigma_m2: float, sigma_b2: float = 0.0) -> float:
    """Return the slope of the correlation map at c = 1 and q = q*.

    ``sigma_m^2 (1 + q*) / (1 + sigma_b^2) int Dz phi'(sqrt(q*) z)^2``; 1 is the critical point, at
    which differences between inputs neither die out nor grow.
    """
    root = math.sqrt(q := fixed_point(neuron, sigma_m2, sigma_b2))
    response = gauss(lambda z: neuron.derivative(root * z) ** 2)
    return sigma_m2 * (1.0 + q) / (1.0 + sigma_b2) * response


def depth_scale(value: float) -> float:
    """Return xi = -1/ln(chi), in layers; networks up to about 6 xi deep can be trained."""
    return math.inf if value == 1.0 else -1.0 / math.log(value)


def lrt_variance_map(q: float, phi: Callable[[Tensor], Tensor], sigma_b2: float = 0.0) -> float:
    """Return q of the next layer of the LRT surrogate, whatever sigma_m^2.

    ``int Dz phi(sqrt(q) z)^2 + sigma_b^2``, q the second moment of the sampled pre-activation.
    """
    return gauss(lambda z: phi(math.sqrt(q) * z) ** 2) + sigma_b2


def lrt_correlation_map(
    c: float, q: float, phi: Callable[[Tensor], Tensor], sigma_m2: float, sigma_b2: float = 0.0
) -> float:
    """Return c of the next layer of the LRT surrogate, whose input has second moment q.

    ``(sigma_m^2 int int phi(h_a) phi(h_b) + sigma_b^2) / q'``: below sigma_m^2 = 1 even identical
    inputs lose their correlation, because each draws its own noise.
    """
    following = lrt_variance_map(q, phi, sigma_b2)
    return (sigma_m2 * _overlap(c, q, phi) + sigma_b2) / following


def gauss(function: Callable[[Tensor], Tensor]) -> float:
    """Integrate an elementwise function over the standard Gaussian measure."""
    nodes, weights = _quadrature()
    return float((weights * function(nodes)).sum())


def _overlap(c: float, q: float, phi: Callable[[Tensor], Tensor]) -> float:
    """Return E phi(u_a) phi(u_b) for Gaussians of variance q and correlation c."""
    nodes, weights = _quadrature()
    first, root = math.sqrt(q) * nodes[:, None], math.sqrt(max(0.0, 1.0 - c * c))
    second = math.sqrt(q) * (c * nodes[:, None] + root * nodes[None, :])
    product = phi(first) * phi(second)
    return float((weights[:, None] * weights[None, :] * product).sum())


@functools.cache
def _quadrature() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return torch.from_numpy(nodes), torch.from_numpy(weights / math.sqrt(2.0 * math.pi))
