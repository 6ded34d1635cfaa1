"""A look at every recipe of a study before anything is trained: arms may have their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from studies.engine import tasks
from studies.engine.plan import Plan
from studies.engine.run import Arm, Environment, Recipe, content_hash
from studies.engine.train import call


def inspect_parts(pool: Executor, plan: Plan, environment: Environment) -> dict[str, Any]:
    """Build everything that a study will train once, in a worker process.

    Args:
        pool: worker processes.
        plan: the study's numbers.
        environment: where to train.

    Returns:
        See `studies.engine.inspection.inspect`, of the study's own recipe.

    Raises:
        UserError: what is wrong, in one sentence.
    """
    starts = [f.arm({p.name: p.start for p in f.space}) for f in plan.families]
    arms: dict[str, list[Arm]] = {}
    recipes = {_kind(plan.recipe): plan.recipe}
    for arm in (*plan.study.arms, *starts):
        recipe = dataclasses.replace(plan.recipe, **arm.overrides)
        recipes.setdefault(_kind(recipe), recipe)
        arms.setdefault(_kind(recipe), []).append(arm)
    found = [
        call(pool, tasks.inspect, recipe, environment, *_of(arms.get(kind, [])))
        for kind, recipe in recipes.items()
    ]
    return found[0]


def _kind(recipe: Recipe) -> str:
    """Recipes that differ in the learning rate alone need one look."""
    return content_hash(dataclasses.asdict(dataclasses.replace(recipe, lr=1.0)))


def _of(arms: list[Arm]) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]]]:
    initializers = [dict(arm.initializer) for arm in arms]
    return initializers, [arm.method for arm in arms if arm.method is not None]
