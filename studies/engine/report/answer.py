"""The study's answer in one plain sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.engine.plan import Plan
from studies.engine.report.table import points

if TYPE_CHECKING:
    from studies.engine.compare import Comparison, Comparisons

_WORDS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is equivalent to",
    "undecided": "is neither clearly different from nor clearly equivalent to",
}


def answer(plan: Plan, comparisons: Comparisons) -> str:
    """What the primary comparisons found, with their mean differences, in one sentence."""
    if all(summary.diverged == summary.n for summary in comparisons.arms):
        return (
            f"On {plan.recipe.data} with {plan.recipe.network}, every training diverged: this "
            "recipe says nothing about initialisation; lower --lr."
        )
    parts = []
    primary = [comparisons.between(*pair) for pair in plan.study.primary]
    for arm in dict.fromkeys(comparison.arm for comparison in primary):
        own = [comparison for comparison in primary if comparison.arm == arm]
        verdicts = dict.fromkeys(comparison.verdict for comparison in own)
        clauses = [
            f"{_WORDS[verdict]} {_listed([_named(c) for c in own if c.verdict == verdict])}"
            for verdict in verdicts
        ]
        parts.append(f"{arm} {_listed(clauses)}")
    return (
        f"On {plan.recipe.data} with {plan.recipe.network}, {'; '.join(parts)} "
        f"({_unit(comparisons)}, {len(plan.seeds)} seeds, "
        f"equivalent means within {plan.margin:g})."
    )


def _unit(comparisons: Comparisons) -> str:
    outcome = comparisons.outcome
    if outcome.unit:
        return f"differences in {outcome.difference} of {outcome.words}"
    return f"differences in {outcome.words}"


def _named(comparison: Comparison) -> str:
    return f"{comparison.reference} ({points(comparison.mean_difference)})"


def _listed(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
