"""Comparisons in plain sentences."""

from collections.abc import Mapping

from studies.engine.compare.power import SEED_LIMIT
from studies.engine.compare.results import Comparison


def _points(value: float, *, signed: bool = False) -> str:
    """Two decimals, never "-0.00"."""
    text = f"{value:{'+' if signed else ''}.2f}"
    return "0.00" if float(text) == 0 else text


def difference_text(comparison: Comparison) -> str:
    """The mean difference in words, such as "0.03 points higher on average"."""
    difference = comparison.mean_difference
    if difference == 0:
        return "no difference on average"
    side = "higher" if difference > 0 else "lower"
    size = _points(abs(difference))
    return f"{'less than 0.01' if size == '0.00' else size} points {side} on average"


def interval_text(comparison: Comparison) -> str:
    """The interval in words, such as "95 % interval -0.12 to 0.18" (percentage points)."""
    confidence = f"{100 * (1 - comparison.alpha):.4g}"
    return f"{confidence} % interval {_points(comparison.low)} to {_points(comparison.high)}"


def sentence(
    comparison: Comparison, *, data: str | None = None, names: Mapping[str, str] | None = None
) -> str:
    """What a comparison found, in one plain sentence with its numbers and without a full stop.

    Args:
        comparison: the comparison.
        data: name of the data set, to be mentioned.
        names: arm label -> name to print; labels without one are printed as they are.

    Returns:
        For example "tuned ternary is equivalent to tuned Glorot on digits: 0.03 points higher on
        average (95 % interval -0.12 to 0.18; 20 seeds; margin 0.5 points)".
    """
    names = names or {}
    arm = names.get(comparison.arm, comparison.arm)
    reference = names.get(comparison.reference, comparison.reference)
    where = "" if data is None else f" on {data}"
    claim = {
        "better": f"{arm} is better than {reference}{where}",
        "worse": f"{arm} is worse than {reference}{where}",
        "equivalent": f"{arm} is equivalent to {reference}{where}",
        "undecided": f"{arm} against {reference}{where} is undecided",
    }[comparison.verdict]
    numbers = (
        f"{difference_text(comparison)} ({interval_text(comparison)}; {comparison.n} seeds;"
        f" margin {comparison.margin:g} points)"
    )
    parts = [f"{claim}: {numbers}"]
    if comparison.note:
        parts.append(comparison.note)
    if comparison.verdict == "undecided":
        parts.append(seeds_text(comparison))
    return "; ".join(parts)


def seeds_text(comparison: Comparison) -> str:
    """How many seeds would decide an undecided comparison, in words."""
    if comparison.seeds_needed is None:
        return f"more than {SEED_LIMIT:,} seeds would be needed to decide (80 % power)"
    return f"about {comparison.seeds_needed:,} seeds in total would decide (80 % power)"
