"""When a search trial is not worth its remaining seeds: a comparison paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# With fewer completed trials the noise is not known well enough to stop anything.
FEWEST_TRIALS = 4
STANDARD_ERRORS = 2.0


def paired_noise(values: Sequence[Sequence[float]]) -> float:
    """Standard deviation of a trial's accuracy on one seed, the seed's own effect removed.

    The residual of the two-way layout value[trial, seed] = trial + seed + noise, over the better
    half of the trials, because poor points of the space are far noisier than good ones.

    Args:
        values: one row per completed trial, one column per search seed (at least 2 each).

    Returns:
        The estimate, in the unit of the values.
    """
    table = np.asarray(values, dtype=np.float64)
    order = np.argsort(-table.mean(axis=1), kind="stable")
    table = table[order[: max(2, (len(table) + 1) // 2)]]
    residual = (
        table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    )
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    return math.sqrt(float((residual**2).sum()) / degrees)


def should_prune(so_far: Sequence[float], completed: Sequence[Sequence[float]]) -> bool:
    """Whether a trial lags so far behind the best that its other seeds are not worth training.

    It does when its mean deficit to the best completed trial *on the same seeds* exceeds two
    standard errors of such a difference, sqrt(2 / seeds) times `paired_noise` each.

    Args:
        so_far: the trial's accuracies on the first seeds.
        completed: accuracies of completed trials on all seeds.
    """
    if len(completed) < FEWEST_TRIALS or len(completed[0]) < 2:
        return False
    best = max(completed, key=lambda row: sum(row))
    seeds = len(so_far)
    deficit = sum(b - a for a, b in zip(so_far, best, strict=False)) / seeds
    return deficit > STANDARD_ERRORS * math.sqrt(2.0 / seeds) * paired_noise(completed)
