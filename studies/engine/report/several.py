"""Several studies together: average ranks and the probability of improvement."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr

from studies.engine.compare import holm
from studies.engine.compare.pairing import settle
from studies.engine.compare.signed_rank import doubled_midranks

Accuracies = Mapping[str, Mapping[int, float]]
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Average ranks of arms over studies.

    Args:
        arms: labels, best average rank first.
        ranks: their average ranks over the studies; 1 is best, ties share the mean rank.
        studies: number of studies.
        p_friedman: Friedman's test that all arms rank alike (chi-squared approximation).
        critical_difference: two average ranks further apart than this differ (Nemenyi).
        p_values: Holm-adjusted p-values of each arm's rank against the best one's; the first is 1.
        alpha: level of both.
    """

    arms: tuple[str, ...]
    ranks: tuple[float, ...]
    studies: int
    p_friedman: float
    critical_difference: float
    p_values: tuple[float, ...]
    alpha: float

    def cliques(self) -> tuple[tuple[int, int], ...]:
        """First and last arm of every largest group that Nemenyi's test does not tell apart."""
        groups: list[tuple[int, int]] = []
        for first, rank in enumerate(self.ranks):
            close = [j for j, r in enumerate(self.ranks) if r - rank <= self.critical_difference]
            if close[-1] > first and not any(close[-1] <= last for _, last in groups):
                groups.append((first, close[-1]))
        return tuple(groups)


def rank_arms(means: Mapping[str, Sequence[float]], *, alpha: float = 0.05) -> Ranking:
    """Rank arms over studies, as Demsar (2006, JMLR 7) recommends for classifiers over data sets.

    Friedman's test asks whether the arms differ at all. Nemenyi's critical difference,
    ``q * sqrt(k (k + 1) / (6 N))`` for k arms and N studies with q the studentised range's
    quantile over sqrt(2), compares all pairs. Holm's procedure compares each arm with the best
    ranked one by ``z = (R_i - R_best) / sqrt(k (k + 1) / (6 N))``; as the data chose the best, read
    it as a description. All are approximations for many studies: with fewer than five or so, hardly
    anything can be told apart, and nothing should be concluded from that.

    Args:
        means: arm -> mean outcome per study, the higher the better, all of one length
            N >= 2; at least two arms.
        alpha: family-wise level.

    Raises:
        ValueError: fewer than two arms or studies, or unequal lengths.
    """
    lengths = {len(row) for row in means.values()}
    if len(means) < 2 or len(lengths) != 1 or min(lengths) < 2:
        raise ValueError("ranks need at least two arms and two studies with a mean for each")
    labels = list(means)
    table = np.array([means[label] for label in labels], dtype=np.float64).T
    ranks = np.array([_ranks(row) for row in table])
    studies, k = ranks.shape
    average = ranks.mean(axis=0)
    error = math.sqrt(k * (k + 1) / (6 * studies))
    order = sorted(range(k), key=lambda i: (average[i], i))
    z = [(average[i] - average[order[0]]) / error for i in order[1:]]
    adjusted = holm([min(1.0, 2 * float(ndtr(-value))) for value in z])
    return Ranking(
        tuple(labels[i] for i in order),
        tuple(float(average[i]) for i in order),
        studies,
        _friedman(ranks),
        nemenyi_quantile(k, alpha) * error,
        (1.0, *(float(p) for p in adjusted)),
        alpha,
    )


def nemenyi_quantile(arms: int, alpha: float = 0.05) -> float:
    """Upper quantile of the studentised range for infinite degrees of freedom, over sqrt(2).

    Args:
        arms: number of arms, >= 2.
        alpha: upper tail.

    Returns:
        q of Demsar (2006), table 5: 1.960 for two arms, 2.343 for three, 3.164 for ten. The
        range's distribution, ``k * integral phi(x) (Phi(x) - Phi(x - w))**(k - 1) dx``, is
        integrated and inverted by bisection.
    """
    x = np.linspace(-8.5, 8.5, 3401)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    def below(width: float) -> float:
        inner = (ndtr(x) - ndtr(x - width)) ** (arms - 1)
        return float(arms * np.sum(density * inner) * (x[1] - x[0]))

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 1 - alpha else (low, middle)
    return low / math.sqrt(2)


def _ranks(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks with 1 for the largest; ties share."""
    settled = settle(row.max() - row)
    return doubled_midranks(settled) / 2.0


def _friedman(ranks: NDArray[np.float64]) -> float:
    """P-value of Friedman's test with the correction for ties."""
    studies, k = ranks.shape
    spread = float(((ranks - (k + 1) / 2) ** 2).sum()) / (studies * (k - 1))
    if spread == 0:
        return 1.0
    between = studies * float(((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum())
    return float(chdtrc(k - 1, between / spread))


@dataclasses.dataclass(frozen=True)
class Improvement:
    """How probable it is that a run of an arm beats one of the reference.

    Args:
        arm: label.
        reference: label.
        probability: mean over the studies, ties count half; 0.5 is no difference.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    arm: str
    reference: str
    probability: float
    low: float
    high: float


def improvement(
    arm: str, reference: str, studies: Sequence[Accuracies], *, seed: int = 0
) -> Improvement:
    """Probability of improvement (Agarwal et al. 2021, section 4.3), averaged over studies.

    Per study the share of all pairs of runs, one of each arm, in which the arm's value is
    higher, ties counting half (Mann and Whitney's U over the number of pairs). It asks how often,
    not by how much. The interval is a percentile bootstrap, stratified by study, that draws seeds,
    because runs of one seed belong together.

    Args:
        arm: label.
        reference: label.
        studies: outcome by arm and seed, the higher the better, per study; the seeds
            that both arms have count.
        seed: of the bootstrap (2,000 resamples).
    """
    rng = np.random.default_rng(seed)
    shares = []
    resampled = np.zeros(_RESAMPLES)
    for accuracies in studies:
        seeds = sorted(set(accuracies[arm]) & set(accuracies[reference]))
        ours = np.array([accuracies[arm][s] for s in seeds])
        theirs = np.array([accuracies[reference][s] for s in seeds])
        gap = ours[:, None] - theirs[None, :]
        wins = (np.sign(np.where(np.abs(gap) < 5e-7, 0.0, gap)) + 1) / 2
        n = len(seeds)
        shares.append(float(wins.mean()))
        counts = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)
        resampled += np.einsum("bi,ij,bj->b", counts, wins, counts, optimize=True) / n**2
    low, high = np.quantile(resampled / len(studies), [0.025, 0.975])
    return Improvement(arm, reference, sum(shares) / len(shares), float(low), float(high))
