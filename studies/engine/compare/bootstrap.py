"""Bias-corrected and accelerated (BCa) bootstrap intervals for means."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

from studies.engine.compare.pairing import FloatArray

RESAMPLES = 10_000
"""Default number of resamples: the ends move by about 0.03 standard errors from seed to seed."""

_CHUNK = 1 << 20  # indices drawn at a time: 8 MB


@dataclass(frozen=True)
class Interval:
    """An interval for a mean.

    Attributes:
        low: lower end.
        high: upper end.
        method: "bca"; "t" where there are too few values for a bootstrap; "constant" where all
            values are equal (zero width).
    """

    low: float
    high: float
    method: Literal["bca", "t", "constant"]


def resampled_means(samples: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Means of bootstrap resamples, with the same resampled positions for every sample.

    Args:
        samples: shape (k, n).
        resamples: number of resamples.
        seed: seed of the resampling; equal seeds give bitwise equal means.

    Returns:
        Float64 array, shape (k, resamples).
    """
    rng = np.random.default_rng(seed)
    count, n = samples.shape
    means = np.empty((count, resamples))
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        positions = rng.integers(n, size=(rows, n))
        for sample, row in zip(samples, means, strict=True):
            row[start : start + rows] = sample[positions].mean(axis=1)
    return means


def bca_intervals(
    samples: ArrayLike,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    expand: bool = True,
) -> FloatArray:
    """BCa intervals for the means of many samples of one size.

    Efron (1987), in the form of Efron & Tibshirani (1993), chapter 14: bias z0 from the share of
    resampled means below the sample's (ties count half), acceleration from the jackknife, which
    for a mean is sum(c**3) / (6 sum(c**2)**1.5) with c = x - mean(x).

    The plain interval is too short for few values, by the factor sqrt((n-1)/n) z/t: at n = 10 it
    covers 90 % instead of 95 %. With ``expand`` the normal quantile z is replaced by
    sqrt(n/(n-1)) t with n - 1 degrees of freedom (Hesterberg, arXiv 1411.5279, the default of his
    R package ``resample`` for BCa too), which mends that and keeps the interval's asymmetry.

    Args:
        samples: shape (k, n), n >= 2, no sample with all values equal.
        confidence: nominal coverage, in (0, 1).
        seed: seed of the resampling.
        resamples: number of resamples.
        expand: correct for few values; False is the textbook interval.

    Returns:
        Float64 array, shape (k, 2): low and high.
    """
    values = np.asarray(samples, dtype=np.float64)
    n = values.shape[1]
    observed = values.mean(axis=1, keepdims=True)
    means = resampled_means(values, resamples, seed)
    noise = 1e-10 * np.abs(values).max(axis=1, keepdims=True)  # summation order, not data
    below = np.mean(means < observed - noise, axis=1)
    share = (below + np.mean(means <= observed + noise, axis=1)) / 2
    edge = 1 / (2 * resamples)
    bias = ndtri(np.clip(share, edge, 1 - edge))
    centred = values - observed
    acceleration = (centred**3).sum(axis=1) / (6 * (centred**2).sum(axis=1) ** 1.5)
    quantile = _quantile(n, confidence, expand)
    ends = np.empty((len(values), 2))
    for side, z in enumerate((-quantile, quantile)):
        shifted = bias + z
        # |acceleration| < 1/6 for a mean: only beyond 6 sigma does the denominator come near 0.
        level = ndtr(bias + shifted / np.maximum(1 - acceleration * shifted, 1e-3))
        ends[:, side] = [np.quantile(m, p) for m, p in zip(means, level, strict=True)]
    return ends


def _quantile(n: int, confidence: float, expand: bool) -> float:
    upper = (1 + confidence) / 2
    if not expand:
        return float(ndtri(upper))
    return math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, upper))


def mean_interval(
    values: ArrayLike,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval for the mean of one sample: BCa, with plain answers where BCa has none.

    * All values equal: an interval of zero width at that value.
    * Too few values: a bootstrap interval never leaves the data's range, and the range of n values
      covers a symmetric distribution's centre only with probability 1 - 2**(1-n). Where that is
      below ``confidence`` (n <= 5 at 95 %), the interval is Student's t.
    * Else `bca_intervals`, expanded. Its coverage at nominal 95 %, simulated, for 6, 10, 20 and 40
      values: normal 93, 94, 95, 95 %; exponential 90, 92, 93, 95 % (the textbook interval: normal
      86, 90, 94, 94 %; exponential 83, 87, 91, 94 %).

    Args:
        values: finite, shape (n,), n >= 2, equal where they are meant to be (`settle`).
        confidence: nominal coverage, in (0, 1).
        seed: seed of the resampling.
        resamples: number of resamples, at least 100.

    Returns:
        The interval, in the unit of the values.

    Raises:
        ValueError: for fewer than 2 or non-finite values, or a confidence or number of resamples
            out of range.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size < 2 or not np.all(np.isfinite(sample)):
        raise ValueError(f"an interval needs at least 2 finite values in a row, not {sample.size}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1")
    if resamples < 100:
        raise ValueError(f"resamples {resamples} must be at least 100")
    n = sample.size
    if np.ptp(sample) == 0:
        return Interval(float(sample[0]), float(sample[0]), "constant")
    if 0.5 ** (n - 1) > 1 - confidence:
        mean = float(sample.mean())
        error = float(sample.std(ddof=1)) / math.sqrt(n)
        reach = error * float(stdtrit(n - 1, (1 + confidence) / 2))
        return Interval(mean - reach, mean + reach, "t")
    low, high = bca_intervals(sample[None], confidence=confidence, seed=seed, resamples=resamples)[
        0
    ]
    return Interval(float(low), float(high), "bca")
