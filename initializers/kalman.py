"""A Kalman filter for states that do not move, in time proportional to their number.

The state is a block of ``n`` weights; its prior and the noise of its measurements are Gaussian
with *equicorrelated* covariances ``s2 [(1 - c) I + c 1 1^T]``. All such matrices share their
eigenspaces: the mean of the block, with eigenvalue ``s2 (1 + (n - 1) c)``, and the deviations from
it, with ``s2 (1 - c)``. The filter therefore falls apart into two scalar ones, and no matrix is
ever built (derived). With precisions, the inverse variances, an update reads

    K = (1/r) / (1/q + 1/r)        mean <- mean + K (measurement - mean)        1/q <- 1/q + 1/r

which is the gain form ``K = q / (q + r)``, ``q <- (1 - K) q`` and allows a flat prior, ``1/q = 0``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Modes(NamedTuple):
    """One number for the mean of a block and one for the deviations from it.

    Attributes:
        common: Along the vector of ones.
        deviation: Orthogonal to it.
    """

    common: float
    deviation: float

    def per_entry(self, size: int) -> float:
        """Return the mean over a block of ``size`` entries: the trace over the size."""
        return (self.common + (size - 1) * self.deviation) / size


def equicorrelated(variance: float, correlation: float, size: int) -> Modes:
    """Return the two eigenvalues of ``variance * [(1 - c) I + c 1 1^T]``.

    Args:
        variance: Diagonal of the matrix, positive; infinite for a flat prior.
        correlation: c, in [0, 1).
        size: Number of rows.
    """
    return Modes(variance * (1.0 + (size - 1) * correlation), variance * (1.0 - correlation))


@dataclass
class Belief:
    """What is known about one mode of a block; how well, not what.

    Attributes:
        precision: Inverse variance, 0 for a flat prior.
        squares: Sum of the squared inverse noise variances so far.
    """

    precision: float
    squares: float = 0.0

    def update(self, noise: float) -> float:
        """Take in a measurement with this noise variance and return its gain K."""
        gained = 1.0 / noise
        self.precision += gained
        self.squares += gained * gained
        return gained / self.precision

    @property
    def variance(self) -> float:
        """Posterior variance q; infinite as long as nothing is known."""
        return 1.0 / self.precision if self.precision > 0.0 else math.inf

    @property
    def spread(self) -> float:
        """Variance of the posterior mean, for measurements that are pure noise of variance 1."""
        return self.squares / self.precision**2 if self.precision > 0.0 else 0.0


class BlockFilter:
    """Posterior of many blocks of equal size and equal covariances.

    Args:
        prior: Eigenvalues of the prior covariance Q_0, positive, may be infinite.
        size: Entries of a block.
    """

    def __init__(self, prior: Modes, size: int) -> None:
        self.size = size
        self.common, self.deviation = (Belief(1.0 / value) for value in prior)

    def update(self, noise: Modes, mean: Tensor, sample: Tensor) -> None:
        """Take in one measurement of every block.

        Args:
            noise: Eigenvalues of the noise covariance R_t, positive.
            mean: Means (blocks, size), changed in place; no blocks to follow the covariances alone.
            sample: The measurements (blocks, size), in memory that is used up.
        """
        gains = Modes(self.common.update(noise.common), self.deviation.update(noise.deviation))
        innovation = sample.sub_(mean)
        shift = innovation.mean(1, keepdim=True).mul_(gains.common - gains.deviation)
        mean.add_(innovation, alpha=gains.deviation).add_(shift)

    def covariance(self) -> Modes:
        """Return the eigenvalues of the posterior covariance Q_t."""
        return Modes(self.common.variance, self.deviation.variance)

    def spread(self) -> Modes:
        """Return the variances of the posterior mean per unit variance of the samples' entries."""
        return Modes(self.common.spread, self.deviation.spread)

    def perturb(self, mean: Tensor, normal: Tensor) -> None:
        """Turn the means into draws from the posterior, in place.

        Args:
            mean: Means (blocks, size).
            normal: Standard normal draws of that shape, in memory that is used up.
        """
        stds = Modes(*(math.sqrt(value) for value in self.covariance()))
        shift = normal.mean(1, keepdim=True).mul_(stds.common - stds.deviation)
        mean.add_(normal, alpha=stds.deviation).add_(shift)
