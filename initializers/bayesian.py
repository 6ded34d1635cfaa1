"""Weights as the posterior mean of random samples: a Bayesian initialisation.

Our reading of Murru and Rossini, "A Bayesian approach for initialization of weights in
backpropagation neural net with application to character recognition", Neurocomputing 2016 (arXiv
2004.01875). We know its abstract and a summary: a simplified Kalman filter, in Bayesian terms,
whose state are the weights and whose measurements are random samplings of the weights, all normal
and mutually dependent through constructed covariance matrices. Prior values, entries of the
matrices and stopping rule could not be read; those here are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initializers import draws, validate
from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.fans import MODES
from initializers.gains import check_gain, gain_value
from initializers.kalman import BlockFilter, Modes, equicorrelated

OUTPUTS: tuple[str, ...] = ("mean", "sample")


@dataclass(frozen=True)
class BayesKalman(Initializer):
    """Kalman estimate of each unit's weights from random samples (our reading, see the module).

    The incoming weights of a unit (a filter of a convolution, a row of an embedding) are a block
    with prior ``N(0, Q_0)``. Up to ``samples`` times every weight is sampled from the uniform law
    of standard deviation ``std = scale * gain / sqrt(fan)`` (Glorot's by default), taken as a
    measurement with noise covariance R, and the block updated:

        K = Q (Q + R)^-1      mean <- mean + K (sample - mean)      Q <- (I - K) Q

    Q_0 and R have the diagonals ``prior * std^2`` and ``noise * std^2`` and equal correlations
    within a block (``initializers.kalman``: linear in the number of weights). The dependence
    between the weights matters only where the two correlations differ: with the defaults the mean
    of a block is trusted far less than the deviations, so that units start with small strengths.

    The mean of T samples shrinks as T grows: without correlations its variance is
    ``std^2 T / (T + noise / prior)^2`` (derived), at most ``std^2 prior / (4 noise)``. Stop early,
    or set ``calibrated``, with which T only decides how strongly the uniform law is smoothed.

    Formula:
        K = Q (Q + R)^-1,  mu <- mu + K (m - mu),  Q <- (I - K) Q;  w = mu

    Args:
        samples: Largest number of samples T, at least 1.
        stop: Sample no further once ``trace(Q) < stop * trace(Q_0)``, in [0, 1).
        calibrated: Rescale the result by a constant, so that the variance of a weight is
            ``std^2``.
        output: ``mean``, the posterior mean, or ``sample``, a draw from the posterior.
        prior: Variance of the prior over that of a sample, in (0, inf); large values are a flat
            prior, under which the result is the plain mean of the samples.
        noise: Variance of the measurement noise over that of a sample, in (0, inf).
        prior_correlation: Correlation of two weights of a block under the prior, in [0, 1).
        noise_correlation: The same of the measurement noise.
        scale: Multiplier of the standard deviation, in (0, inf).
        gain: Positive number or the name of a nonlinearity (see ``gain_value``).
        mode: ``fan_in``, ``fan_out``, ``fan_avg`` or ``fan_geo``.
        convention: ``torch`` or ``moment`` gains.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    samples: int = 10
    stop: float = 0.1
    calibrated: bool = False
    output: str = "mean"
    prior: float = 1.0
    noise: float = 1.0
    prior_correlation: float = 0.0
    noise_correlation: float = 0.5
    scale: float = 1.0
    gain: float | str = "linear"
    mode: str = "fan_avg"
    convention: str = "torch"

    fills_in_place: ClassVar[bool] = True
    family: ClassVar[str] = "bayesian"
    citation: ClassVar[str] = (
        "Murru, Rossini 2016, A Bayesian approach for initialization of weights (our reading)"
    )

    def __post_init__(self) -> None:
        validate.integer(self, "samples", "[1, inf)")
        validate.number(self, "stop", "[0, 1)")
        validate.flag(self, "calibrated")
        validate.choice(self, "output", OUTPUTS)
        for field in ("prior", "noise", "scale"):
            validate.number(self, field, "(0, inf)")
        for field in ("prior_correlation", "noise_correlation"):
            validate.number(self, field, "[0, 1)")
        validate.choice(self, "mode", MODES)
        check_gain(self)

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Sample and filter one weight; see ``Initializer.fill``."""
        estimate = self.begin(weight, context)
        sample = torch.empty_like(estimate.mean)
        while not estimate.done:
            estimate.draw(sample)
            estimate.update(sample)
        estimate.finish(sample)

    def begin(self, weight: Tensor, context: LayerContext) -> Estimate:
        """Set a weight to the prior mean, 0, and return the filter that will estimate it."""
        return Estimate(self, weight.zero_().flatten(1), context)

    def sample_std(self, context: LayerContext) -> float:
        """Return the standard deviation of a sample, ``scale * gain / sqrt(fan)``."""
        fan, gain = self.reference(context)
        return self.scale * gain / math.sqrt(fan)

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return the standard deviation of a weight, which the covariances alone determine."""
        if self.calibrated:
            return self.sample_std(context)
        nothing = torch.empty(0, context.columns)
        estimate = Estimate(self, nothing, context)
        while not estimate.done:
            estimate.update(nothing)
        return estimate.std

    def reference(self, context: LayerContext) -> tuple[float, float]:
        """Return the fan of the mode, and the gain."""
        return context.fans.of(self.mode), gain_value(self.gain, self.convention)


class Estimate:
    """The filter of one weight, with all its blocks side by side.

    Args:
        method: The hyperparameters.
        mean: Prior means (units, inputs of a unit), changed in place; no units to follow
            the covariances alone.
        context: The weight's context.
    """

    def __init__(self, method: BayesKalman, mean: Tensor, context: LayerContext) -> None:
        self.method, self.mean, self.context = method, mean, context
        self.sample_std = method.sample_std(context)
        self.count = 0
        self.filter = BlockFilter(
            self._modes(method.prior, method.prior_correlation), context.columns
        )
        self._noise = self._modes(method.noise, method.noise_correlation)
        self._trace = self.filter.covariance().per_entry(context.columns)

    @property
    def done(self) -> bool:
        """Whether all samples are taken or the posterior is narrow enough."""
        left = self.filter.covariance().per_entry(self.context.columns)
        return self.count >= self.method.samples or left < self.method.stop * self._trace

    @property
    def std(self) -> float:
        """Standard deviation of an entry of the result before calibration."""
        size = self.context.columns
        variance = self.sample_std**2 * self.filter.spread().per_entry(size)
        if self.method.output == "sample":
            variance += self.filter.covariance().per_entry(size)
        return math.sqrt(variance)

    def draw(self, sample: Tensor) -> None:
        """Fill ``sample`` with the next random sampling of the weight."""
        draws.fill_uniform(sample, self.sample_std, self.context.generator)

    def update(self, sample: Tensor, distrust: float = 1.0) -> None:
        """Take in a sample, whose memory is used up, with its noise variance times ``distrust``."""
        noise = Modes(*(value * distrust for value in self._noise))
        self.filter.update(noise, self.mean, sample)
        self.count += 1

    def finish(self, spare: Tensor) -> None:
        """Turn the means into the result; ``spare`` is memory of the weight's size."""
        if self.method.output == "sample":
            stream = self.context.stream("BayesKalman/posterior")  # whatever the number of samples
            draws.fill_normal(spare, 1.0, stream)
            self.filter.perturb(self.mean, spare)
        if self.method.calibrated:
            self.mean.mul_(self.sample_std / self.std)
        self.context.note(f"{self.count} samples")

    def _modes(self, ratio: float, correlation: float) -> Modes:
        return equicorrelated(ratio * self.sample_std**2, correlation, self.context.columns)
