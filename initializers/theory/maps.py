"""Mean-field maps: what one layer does to the second moment of a signal and to a correlation.

Layers are wide, their weights independent with mean 0 and variance sigma_w^2 / fan_in, their biases
of variance sigma_b^2. Then q, the second moment of the pre-activations, and c, the correlation of
the pre-activations of two inputs, follow maps from layer to layer (Poole et al. 2016, "Exponential
expressivity in deep neural networks"; Schoenholz et al. 2017, "Deep information propagation"). With
u, v Gaussian of variance q and correlation c::

    (1) q'    = sigma_w^2 E phi(u)^2 + sigma_b^2
    (2) c'    = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q'
    (3) chi   = sigma_w^2 E phi'(u)^2                            dc'/dc at c = 1, q = q*
    (4) dq'/dq = chi + sigma_w^2 E phi(u) phi''(u)
    (5) xi_c  = -1 / ln(dc'/dc at c*),  xi_q = -1 / ln|dq'/dq at q*|

Convolutions obey the same maps with fan_in = C_in * taps, but for zero padding, which they ignore.

>>> maps = mean_field("relu", sigma_w2=2.0)
>>> round(maps.variance(0.7), 12), round(maps.correlation(0.0, 1.0), 3), round(maps.chi(1.0), 12)
(0.7, 0.318, 1.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from initializers.theory.activations import Activation, activation
from initializers.theory.fixed_points import settled_correlation, settled_variance
from initializers.theory.moments import (
    ActivationLike,
    Value,
    overlap,
    response,
    response_overlap,
    second_moment,
    second_moment_slope,
)

TRAINABLE_DEPTH = 6.0
"""Depth scales that can be trained through, as a rule (Schoenholz et al. 2017)."""


@dataclass(frozen=True)
class Maps:
    """The maps of one kind of layer, made by ``mean_field`` or those of ``theory.binary``.

    With the moments V, P, R, S of ``theory.moments``::

        variance     q' = (signal V(q) + bias) / (1 - noise V(q))
        correlation  c' = (shared P(q, c) + bias) / (signal V(q) + bias)

    Attributes:
        activation: phi.
        signal: What multiplies E phi^2.
        shared: What of it two inputs have in common; less than ``signal`` where each input has
            noise of its own.
        noise: How much of the signal counts against the scale of the pre-activations.
        bias: Variance of the biases, sigma_b^2.
    """

    activation: Activation
    signal: float
    shared: float
    noise: float = 0.0
    bias: float = 0.0

    def variance(self, q: Value) -> Value:
        """Return q of the next layer; infinite where ``noise V(q)`` reaches 1.

        Args:
            q: Second moment >= 0 of a layer's pre-activations; float or tensor.
        """
        v = second_moment(self.activation, q)
        rest = 1.0 - self.noise * v
        if isinstance(v, Tensor):
            return (self.signal * v + self.bias) / torch.as_tensor(rest).clamp_min(0.0)
        return (self.signal * v + self.bias) / rest if rest > 0.0 else math.inf

    def variance_slope(self, q: Value) -> Value:
        """Return dq'/dq, at q = 0 the limit from above."""
        rest = 1.0 - self.noise * second_moment(self.activation, q)
        slope = second_moment_slope(self.activation, q)
        return slope * (self.signal + self.noise * self.bias) / (rest * rest)

    def correlation(self, c: Value, q: float) -> Value:
        """Return c of the next layer, where both inputs have second moment q.

        Args:
            c: Correlation in [-1, 1]; float or tensor.
            q: Second moment, > 0 unless there are biases.

        Raises:
            ValueError: If there is no signal at all, or c is outside its interval.
        """
        total = self.signal * second_moment(self.activation, q) + self.bias
        if not total > 0.0:
            raise ValueError(f"correlation: without any signal (q={q!r}) it is not defined.")
        return (self.shared * overlap(self.activation, q, c) + self.bias) / total

    def chi(self, q: Value) -> Value:
        """Return chi = ``shared R(q) / (1 - noise V(q))``.

        The mean squared singular value of one layer's Jacobian, and at q = q* the slope of the
        correlation map at c = 1: below 1 close inputs converge and gradients vanish with depth,
        above 1 they diverge and explode.
        """
        rest = 1.0 - self.noise * second_moment(self.activation, q)
        return self.shared * response(self.activation, q) / rest

    def correlation_slope(self, c: Value, q: float) -> Value:
        """Return dc'/dc at the fixed point q of the variance: ``shared S(q, c) / (1 - noise V)``.

        At c = 1 it is ``chi(q)``.
        """
        rest = 1.0 - self.noise * second_moment(self.activation, q)
        return self.shared * response_overlap(self.activation, q, c) / rest

    def fixed_variance(self, start: float = 1.0) -> float:
        """Return q*, the second moment on which deep layers settle.

        Args:
            start: Second moment > 0 of the first pre-activations. It matters only where there are
                several fixed points: found is the first in the direction in which the map moves it.
                Where every q is fixed (ReLU at sigma_w^2 = 2), it is ``start``.

        Returns:
            The fixed point; 0 where the signal dies out, inf where it grows without bound.

        Raises:
            ValueError: If start is not positive and finite.
        """
        return settled_variance(self.variance, start)

    def fixed_correlation(self, q: float) -> float:
        """Return c*, the correlation on which deep layers settle at second moment q.

        1 where close inputs converge (``chi <= 1``), less where they diverge or where each input
        has noise of its own. For q > 0.
        """
        if self.shared == self.signal and self.chi(q) <= 1.0:
            return 1.0
        return settled_correlation(lambda c: self.correlation(c, q))

    def variance_depth(self, start: float = 1.0) -> float:
        """Return xi_q = -1 / ln |dq'/dq at q*|, the layers in which q approaches q* e-fold.

        Infinite at a critical point; NaN where there is no finite q*.
        """
        q = self.fixed_variance(start)
        return depth_scale(abs(self.variance_slope(q))) if math.isfinite(q) else math.nan

    def correlation_depth(self, start: float = 1.0) -> float:
        """Return xi_c = -1 / ln(dc'/dc at c*), the layers in which c approaches c* e-fold.

        That is ``-1 / ln chi`` in the ordered phase, where c* = 1. Networks up to about
        ``TRAINABLE_DEPTH`` xi_c layers can be trained (Schoenholz et al. 2017). Infinite at a
        critical point; NaN where there is no finite q*.
        """
        q = self.fixed_variance(start)
        if not math.isfinite(q):
            return math.nan
        c = self.fixed_correlation(q) if q > 0.0 else 1.0
        return depth_scale(self.correlation_slope(c, q))

    def trajectory(self, q: float, c: float, layers: int) -> tuple[Tensor, Tensor]:
        """Return q and c layer by layer.

        Args:
            q: Second moment of the first pre-activations, > 0.
            c: Correlation of those of two inputs.
            layers: Steps, >= 0.

        Returns:
            Two float64 tensors of ``layers + 1`` values that begin with q and c.
        """
        qs, cs = [q], [c]
        for _ in range(layers):
            cs.append(min(1.0, self.correlation(cs[-1], qs[-1])))
            qs.append(self.variance(qs[-1]))
        return torch.tensor(qs, dtype=torch.float64), torch.tensor(cs, dtype=torch.float64)


def mean_field(phi: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> Maps:
    """Return the maps of an ordinary layer with independent weights: (1) to (4) above.

    Args:
        phi: Name, module or ``Activation``.
        sigma_w2: Weight variance times fan_in, >= 0.
        sigma_b2: Variance of the biases, >= 0.

    Raises:
        ValueError: If a variance is negative or infinite, or the activation unknown.
    """
    check_variances("mean_field", sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    return Maps(activation(phi), sigma_w2, sigma_w2, 0.0, sigma_b2)


def depth_scale(slope: float) -> float:
    """Return xi = -1 / ln(slope) in layers: what a map's slope at a fixed point means in depth.

    Infinite at slope 1, 0 at slope 0, negative above 1, where perturbations grow e-fold in -xi
    layers.

    Raises:
        ValueError: If the slope is negative or no number.
    """
    if not slope >= 0.0:
        raise ValueError(f"depth_scale: slope must be >= 0, got {slope!r}.")
    if slope == 0.0:
        return 0.0
    logarithm = math.log(slope)
    return math.inf if abs(logarithm) < _CRITICAL else -1.0 / logarithm


_CRITICAL = 1e-10  # moments at q = 0 are limits, accurate to about 1e-11


def check_variances(owner: str, **values: float) -> None:
    """Raise ValueError for a variance that is negative, infinite or no number."""
    for name, value in values.items():
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{owner}: {name} must be a variance in [0, inf), got {value!r}.")
