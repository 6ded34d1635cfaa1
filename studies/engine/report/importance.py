"""How much each hyperparameter mattered in the search of a family."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from studies.engine.compare.signed_rank import doubled_midranks
from studies.engine.report.stored import Trial


@dataclasses.dataclass(frozen=True)
class Importance:
    """The part of a hyperparameter in a family's results.

    Args:
        family: label of the family.
        name: the hyperparameter.
        share: what the fit loses without it, of the variance of the ranked accuracies; in [0, 1].
        chance: the share that a hyperparameter without any influence stays below with
            probability 0.95.
        trials: number of trials behind it.
    """

    family: str
    name: str
    share: float
    chance: float
    trials: int


def importances(family: str, trials: Sequence[Trial]) -> tuple[Importance, ...]:
    """Importance of every hyperparameter that a family's search varied.

    The trials' accuracies are ranked (one diverged trial counts no more than another bad one) and
    fitted by least squares with a quadratic in the logarithm of every hyperparameter, without
    products. A hyperparameter's share is R2 of that fit less R2 of the fit without its two terms:
    what it alone can explain. Source: derived (the usual semipartial R2). Under no influence the
    F ratio of two added terms has degrees of freedom 2 and n - 2k - 1, and the chance level is its
    95 % quantile as a share, taken at the R2 that the others reach: with B the 95 % quantile of
    Beta(1, (n - 2k - 1) / 2) it is B (1 - R2 without). Ranks are no normal errors, so the level is
    approximate; and trials that a sampler placed are no random design, so read it as a guide.

    Args:
        family: label of the family.
        trials: its trials; pruned ones count with the accuracy they had.

    Returns:
        One value per hyperparameter, in their order; empty where there are fewer than 2k + 4 trials
        for k hyperparameters, or no variance.
    """
    names = list(trials[0].values) if trials else []
    freedom = len(trials) - 2 * len(names) - 1
    ranks = doubled_midranks(np.array([t.accuracy for t in trials])).astype(np.float64)
    if not names or freedom < 3 or np.ptp(ranks) == 0:
        return ()
    terms = {name: _quadratic([t.values[name] for t in trials]) for name in names}
    full = _explained(list(terms.values()), ranks)
    quantile = float(betaincinv(1.0, freedom / 2, 0.95))
    found = []
    for name in names:
        without = _explained([t for other, t in terms.items() if other != name], ranks)
        share = max(0.0, full - without)
        found.append(Importance(family, name, share, quantile * (1 - without), len(trials)))
    return tuple(found)


def _quadratic(values: Sequence[float]) -> NDArray[np.float64]:
    """Columns log x and its square, centred so that they stay apart; shape (n, 2)."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    logs = (logs - logs.mean()) / (logs.std() or 1.0)
    return np.stack([logs, logs**2], axis=1)


def _explained(terms: Sequence[NDArray[np.float64]], target: NDArray[np.float64]) -> float:
    """R2 of the least-squares fit with a constant."""
    centred = target - target.mean()
    design = np.column_stack([np.ones(len(target)), *terms])
    coefficients = np.linalg.lstsq(design, centred, rcond=None)[0]
    left = centred - design @ coefficients
    return float(1 - (left @ left) / (centred @ centred))
