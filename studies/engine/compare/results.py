"""What a comparison says, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from studies.engine.compare.outcome import TEST_ACCURACY, Outcome

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True)
class ArmSummary:
    """The outcome of one arm over its seeds; accuracies are fractions of 1.

    Attributes:
        arm: label.
        n: number of seeds.
        mean: mean value.
        std: standard deviation over the seeds (n - 1 in the denominator).
        low: lower end of the interval for the mean.
        high: upper end.
        interval_method: "bca", "t" (too few seeds) or "constant" (all equal); see `mean_interval`.
        diverged: number of runs that diverged, where the caller gave it.
    """

    arm: str
    n: int
    mean: float
    std: float
    low: float
    high: float
    interval_method: Literal["bca", "t", "constant"]
    diverged: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """One arm held against a reference, paired by seed; differences as they are shown: percentage
    points of accuracies.

    Attributes:
        arm: label of the arm.
        reference: label of the reference.
        n: number of pairs (seeds).
        mean_difference: mean of value(arm) - value(reference).
        std_difference: standard deviation of the differences.
        low: lower end of the interval for the mean difference, at confidence 1 - alpha and not
            widened for the number of comparisons.
        high: upper end.
        interval_method: "bca", "t" (too few seeds) or "constant" (all equal).
        p_value: exact two-sided Wilcoxon signed-rank test of no difference.
        p_adjusted: the same after Holm over the family of comparisons.
        p_equivalence: two one-sided paired t tests of a difference within the margin.
        p_equivalence_adjusted: the same after Holm over the family.
        verdict: "better", "worse", "equivalent" or "undecided" (`judge` defines them).
        seeds_needed: for an undecided comparison the total number of seeds that would decide it
            with 80 % probability, None if more than 10,000; None for a decided one.
        note: what a reader should know beyond the verdict, or "".
        margin: equivalence margin.
        alpha: family-wise error level.
    """

    arm: str
    reference: str
    n: int
    mean_difference: float
    std_difference: float
    low: float
    high: float
    interval_method: Literal["bca", "t", "constant"]
    p_value: float
    p_adjusted: float
    p_equivalence: float
    p_equivalence_adjusted: float
    verdict: Verdict
    seeds_needed: int | None
    note: str
    margin: float
    alpha: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Comparisons:
    """All arms and all comparisons of a study: one family for the Holm correction.

    Attributes:
        arms: summaries, in the order of the results.
        comparisons: in the order asked for.
        margin: equivalence margin as the outcome's differences are shown.
        alpha: family-wise error level.
        outcome: what is compared.
    """

    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    margin: float
    alpha: float
    outcome: Outcome = TEST_ACCURACY

    def arm(self, label: str) -> ArmSummary:
        """The summary of one arm; KeyError if there is none."""
        for summary in self.arms:
            if summary.arm == label:
                return summary
        raise KeyError(f"no arm {label!r} among {', '.join(s.arm for s in self.arms)}")

    def between(self, arm: str, reference: str) -> Comparison:
        """The comparison of this arm with this reference; KeyError if it was not made."""
        for comparison in self.comparisons:
            if (comparison.arm, comparison.reference) == (arm, reference):
                return comparison
        raise KeyError(f"{arm!r} was not compared with {reference!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the units named."""
        return {
            "units": {
                "accuracy": "fraction",
                "difference": self.outcome.difference,
            },
            "outcome": self.outcome.to_dict(),
            "margin": self.margin,
            "alpha": self.alpha,
            "arms": [summary.to_dict() for summary in self.arms],
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Comparisons":
        """The inverse of `to_dict`; entries beyond its own are ignored.

        Raises:
            KeyError: an entry is missing.
            TypeError: an arm or a comparison has other fields.
        """
        return cls(
            tuple(ArmSummary(**arm) for arm in data["arms"]),
            tuple(Comparison(**comparison) for comparison in data["comparisons"]),
            data["margin"],
            data["alpha"],
            Outcome.from_dict(data["outcome"]) if "outcome" in data else TEST_ACCURACY,
        )
