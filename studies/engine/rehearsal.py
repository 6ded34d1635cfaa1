"""--dry-run: the plan, its number of trainings, and how long it will take."""

from __future__ import annotations

import dataclasses

from studies.engine import tasks
from studies.engine.parts import inspect_parts
from studies.engine.plan import Plan
from studies.engine.progress import clock
from studies.engine.run import Arm, Environment, Run
from studies.engine.session import choose_form
from studies.engine.train import call, open_pool
from studies.engine.world import crew

# Start-up of the workers and the writing of results, measured on two cores.
_OVERHEAD_SECONDS = 12.0


def rehearse(plan: Plan, environment: Environment, workers: int, stack: int | None) -> int:
    """Print what a study would do, with an estimate from two short trainings; returns 0.

    The trainings are one of one epoch and one of two, each on at most 40 batches: their difference
    is the cost of an epoch, the rest the cost of a run.

    Raises:
        UserError: the plan could not be carried out.
    """
    starts = [f.arm({p.name: p.start for p in f.space}) for f in plan.families]
    arms = (*plan.study.arms, *starts)
    with open_pool(1) as pool:
        facts = inspect_parts(pool, plan, environment)
        form = choose_form(pool, plan.recipe, environment, workers, stack)
        examples = facts["data"]["n_train"]
        # A user's own DataModule may not know how to take less than all.
        ours = facts["data"]["fingerprint"] != "unknown"
        few = min(examples, 40 * plan.recipe.batch_size) if ours else examples
        seconds = [
            sum(
                result.seconds
                for result in call(
                    pool,
                    tasks.run_group,
                    _short(plan, arms[0], few if ours else None, epochs, form.size),
                    environment,
                    form,
                )
            )
            / form.size
            for epochs in (1, 1, 2)
        ]
    epoch = max(0.0, seconds[2] - seconds[1]) * examples / few
    run = max(0.0, 2 * seconds[1] - seconds[2]) + epoch * plan.recipe.epochs
    search_runs, confirm_runs = plan.most_runs
    total = search_runs + confirm_runs
    for family in plan.families:
        space = ", ".join(
            "{} in [{:.3g}, {:.3g}]".format(p.name, *p.bounds(facts["max_fan_in"]))
            for p in family.space
        )
        print(f"search   {family.label}: {plan.trials} trials over {space}")
    for label in plan.study.labels:
        print(f"confirm  {label}: seeds {plan.seeds[0]} to {plan.seeds[-1]}")
    for arm, reference in plan.study.comparisons:
        print(f"compare  {arm} with {reference}, margin {plan.margin:g}")
    print(
        f"data     {plan.recipe.data}: {examples} training, {facts['data']['n_val']} validation, "
        f"{facts['data']['n_test']} test examples\n"
        f"network  {plan.recipe.network}: {facts['parameters']:,} parameters, "
        f"on {facts['accelerator']}\n"
        f"trained  {form.describe()}\n"
        f"output   {plan.output}\n"
        f"At most {total} trainings ({search_runs} search, {confirm_runs} confirmation), "
        f"{run:.2g} s each: about {clock(total * run / workers + _OVERHEAD_SECONDS)} "
        f"{crew(workers)} (--dry-run: nothing was trained or stored)."
    )
    return 0


def _short(plan: Plan, arm: Arm, examples: int | None, epochs: int, count: int) -> list[Run]:
    """Short runs of one arm; of one seed, unless they are trained one by one."""
    recipe = dataclasses.replace(
        plan.recipe, train_limit=examples or plan.recipe.train_limit, epochs=epochs
    )
    return [Run(recipe, arm, plan.search_seeds[0])] * count
