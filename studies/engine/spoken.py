"""What a study says on the terminal before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studies.engine.plan import Plan
from studies.engine.progress import clock
from studies.engine.world import crew


def heading(plan: Plan, workers: int) -> str:
    """What is about to be done: recipe, search and confirmation.

    Args:
        plan: the study's numbers.
        workers: number of worker processes.
    """
    recipe = plan.recipe
    search_runs, confirm_runs = plan.most_runs
    searched = (
        f"  search: {len(plan.families)} families x {plan.trials} trials x "
        f"{len(plan.search_seeds)} seeds = at most {search_runs} trainings\n"
    )
    return (
        f"{plan.study.title}\n"
        f"  {recipe.data}, {recipe.network}, {recipe.epochs} epochs of batches of "
        f"{recipe.batch_size}, {recipe.optimizer} lr {recipe.lr:g}\n"
        f"{searched if plan.families else ''}"
        f"  confirmation: {len(plan.study.labels)} arms x {len(plan.seeds)} fresh seeds = "
        f"{confirm_runs} trainings, {crew(workers)}"
    )


def closing(plan: Plan, trained: int, seconds: float, paths: Sequence[Path]) -> str:
    """What was done, and where it lies.

    Args:
        plan: the study's numbers.
        trained: trainings of this sitting.
        seconds: their time on the clock.
        paths: files that were written.
    """
    if trained == 0:
        spent = "Nothing was left to train"
    else:
        spent = f"{trained} trainings in {clock(seconds)}"
    names = ", ".join(path.name for path in paths if path.parent == plan.output)
    return f"{spent}. Results: {plan.output}/ ({names})"
