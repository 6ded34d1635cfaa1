"""One sitting of a study: ledger, workers, progress and records, used by every stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from typing import Any, TypeVar, cast

from studies.engine import tasks
from studies.engine.dispatch import Dispatch
from studies.engine.errors import UserError
from studies.engine.forms import ALONE, Form
from studies.engine.identity import bind_folder
from studies.engine.members import Members
from studies.engine.parts import inspect_parts
from studies.engine.plan import Plan
from studies.engine.progress import Progress
from studies.engine.queue import Queue
from studies.engine.run import Environment, Recipe, Result, Run
from studies.engine.storage import Ledger
from studies.engine.train import alive, call, open_pool
from studies.engine.world_pool import current_team

Value = TypeVar("Value")

_LOOK_SECONDS = 1.0


class Session:
    """Trains what is not in the ledger, and puts it there at once.

    Use as a context manager: leaving it ends the worker processes.

    Args:
        plan: the study's numbers.
        ledger: finished runs.
        members: the processes that serve the study.
        environment: where to train.
        workers: number of worker processes.
        progress: counts trainings.
        stack: most networks to train at once, 1 for none; None leaves it to a calibration.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        members: Members,
        environment: Environment,
        workers: int,
        progress: Progress,
        stack: int | None = None,
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.progress = progress
        self.trained = 0
        self._members = members
        self._environment = environment
        self._workers = workers
        self._stack_limit = stack
        self.form = ALONE
        self._stack = ExitStack()
        self._pool: Any = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._pool = None
        self._stack.__exit__(*exception)

    def open_workers(self, *, anew: bool = False) -> Executor:
        """Start the worker processes; they get ready while this process goes on.

        Args:
            anew: end those that are there and start others.
        """
        if anew:
            self._pool = None
            self._stack.close()
        if self._pool is None:
            self._pool = self._stack.enter_context(open_pool(self._workers))
        return cast(Executor, self._pool)

    def follow(self, until: Callable[[], bool]) -> None:
        """Train what the leader of the study puts into the queue.

        Args:
            until: asked about once a second; True ends it.

        Raises:
            UserError: data or device are not those of the study.
        """
        known = None
        while known is None:
            if until():
                return
            time.sleep(_LOOK_SECONDS)
            known = self.ledger.recall("facts")
        self.open_workers()
        self.facts()

        def count(results: Mapping[str, Result]) -> None:
            self.trained += len(results)

        self._dispatch().serve(self.form, until, count)

    def facts(self, *, fresh: bool = False) -> Mapping[str, Any]:
        """What is known of data and network; from the ledger where nothing is left to train.

        Args:
            fresh: discard what the ledger holds, once everything was found to be in order.

        Raises:
            UserError: a part that cannot be built, or data or device that changed since the
                study began.
        """
        known = self.ledger.recall("facts")
        if self._pool is None and known is not None:
            self.form = self._bounded(Form(**known["form"]))
            return known
        self.open_workers()
        plan = self.plan
        facts = inspect_parts(self._pool, plan, self._environment)
        if fresh:
            self.ledger.clear()
            known = None
        if known is None:
            # The study keeps to it, because another way of training changes the last digits.
            form = choose_form(
                self._pool, plan.recipe, self._environment, self._workers, self._stack_limit
            )
            facts = {**facts, "form": form.to_dict()}
            self.ledger.remember("facts", facts)
        else:
            self._check_unchanged(known, facts)
            facts = {**facts, "form": known["form"]}
        # Only now: a configuration that could not even start must not bind the folder.
        bind_folder(plan.output, plan.identity())
        self.form = self._bounded(Form(**facts["form"]))
        return facts

    def _bounded(self, form: Form) -> Form:
        return form if self._stack_limit is None else form.bounded(self._stack_limit)

    def _check_unchanged(self, known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        if known["data"] != facts["data"]:
            raise UserError(
                f"The data set {self.plan.recipe.data} is not the one this study began with "
                f"(fingerprint {known['data']['fingerprint']}, now "
                f"{facts['data']['fingerprint']}); use the old files or another --output."
            )
        if known["accelerator"] != facts["accelerator"]:
            raise UserError(
                f"This study began on {known['accelerator']} and would continue on "
                f"{facts['accelerator']}, where results differ; name the old one with "
                "--accelerator, or choose another --output."
            )
        if (began := known.get("devices", 1)) != facts["devices"]:
            raise UserError(
                f"This study began with {began} device(s) per run and would continue with "
                f"{facts['devices']}, where the last digits differ; use as many as before, or "
                "choose another --output."
            )

    def train(
        self, runs: Sequence[Run], on_result: Callable[[Run, Result], None] | None = None
    ) -> list[Result]:
        """Results of runs in their order; what the ledger holds is not trained again.

        Args:
            runs: all runs known at this moment.
            on_result: called for every run of the list, those from the ledger included.
        """
        missing = [run for run in runs if run.key not in self.ledger]
        equal: dict[str, list[Run]] = {}
        for run in missing:
            equal.setdefault(run.key, []).append(run)
        self.progress.advance(len(runs) - len(missing), trained=False)

        def arrived(results: Mapping[str, Result]) -> None:
            self.trained += len(results)
            # All at once: the first of a group alone would take as long as the group.
            self.progress.advance(sum(len(equal[key]) for key in results))
            if on_result is not None:
                for key, result in results.items():
                    for run in equal[key]:
                        on_result(run, result)

        if on_result is not None:
            for run in runs:
                if run.key in self.ledger:
                    on_result(run, self.ledger[run.key])
        if missing:
            self.open_workers()
            first = [same[0] for same in equal.values()]
            self._dispatch().train(first, self.form, arrived)
        return [self.ledger[run.key] for run in runs]

    def spread(self, function: Callable[..., Value], *items: Iterable[Any]) -> list[Value]:
        """`map`, by the worker processes if they are there.

        Raises:
            UserError: a worker process died.
        """
        if self._pool is None or current_team() is not None:
            return list(map(function, *items))
        with alive():
            return list(self._pool.map(function, *items))

    def _dispatch(self) -> Dispatch:
        return Dispatch(
            self.ledger,
            Queue(self.ledger.storage, self.ledger.name, self.plan.recipe),
            self._members,
            self._environment,
            self._workers,
            lambda anew: self.open_workers(anew=anew),
        )


def choose_form(
    pool: Executor, recipe: Recipe, environment: Environment, workers: int, stack: int | None
) -> Form:
    """How to train a recipe's runs: the user's wish, or what a calibration finds the fastest.

    Args:
        pool: worker processes.
        recipe, environment: what will be trained, and where.
        workers: number of worker processes.
        stack: most networks in a stack; 1 for none; None for no limit.
    """
    return call(pool, tasks.calibrate, recipe, environment, workers, stack)
