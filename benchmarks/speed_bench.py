"""The sides that `training_speed.py` compares, and how one of their figures is taken."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from datamodules.options import ROOT_VARIABLE
from studies.engine import tasks
from studies.engine.forms import Form
from studies.engine.records import run_record
from studies.engine.run import Arm, Environment, Recipe, Result, Run
from studies.engine.tracking import Tracker, TrackingConfig
from studies.engine.train import call, open_pool, train


class Case(NamedTuple):
    """What is trained.

    Args:
        recipe: the recipe.
        arms: runs that a study would hand over at a time.
        lone: runs per measurement of the engine one by one.
    """

    recipe: Recipe
    arms: int
    lone: int

    def runs(self, count: int) -> list[Run]:
        """Runs of arms with different scales."""
        arms = [
            Arm(f"ternary {i}", {"name": "ternary", "density": 0.1, "scale": 0.5 + i / 32})
            for i in range(count)
        ]
        return [Run(self.recipe, arm, 0) for arm in arms]


class Bench:
    """The sides of the comparison.

    Args:
        pool: one worker process.
        environment: where the data are.
        tracker: an open store.
    """

    def __init__(self, pool: Executor, environment: Environment, tracker: Tracker) -> None:
        self.pool, self.environment, self._tracker = pool, environment, tracker
        self._study = tracker.start_study("training-speed", "training speed")
        self._rounds = 0
        #: seconds per training for which the last measurement waited for MLflow alone
        self.waited = 0.0

    def calibrated(self, case: Case) -> Form:
        """The form in which a study would train the case."""
        return call(self.pool, tasks.calibrate, case.recipe, self.environment, 1, None)

    def usual(self, case: Case) -> float:
        """Seconds of one training the usual way; another one before it creates the store."""
        from usual_way import run_usual

        results = run_usual(case.recipe, 1, data_root=self.environment.data_root)
        return results[0].seconds

    def plain(self, case: Case, *, fused: bool) -> float:
        """Seconds of one training by hand."""
        from plain_loop import train_plain

        return train_plain(case.runs(1)[0], self.environment, fused=fused)

    def engine(self, runs: Sequence[Run], form: Form, *, record: bool = True) -> float:
        """Seconds per training in the engine."""
        self._rounds += 1
        group = f"round {self._rounds}"

        def recorded(run: Run, result: Result) -> None:
            if record:
                self._tracker.log_run(
                    self._study, group, run.key, run.arm.label, **run_record(run, result, {})
                )

        started = time.perf_counter()
        train(runs, self.pool, self.environment, recorded, form=form, workers=1)
        trained = time.perf_counter()
        self._tracker.flush()
        ended = time.perf_counter()
        self.waited = (ended - trained) / len(runs)
        return (ended - started) / len(runs)

    def steps(self, case: Case) -> int:
        """Optimiser steps of one training."""
        from plain_loop import load_data

        loader = load_data(case.runs(1)[0], self.environment).train_dataloader()
        return case.recipe.epochs * len(loader)


@contextmanager
def open_bench(environment: Environment) -> Iterator[Bench]:
    """The bench with a worker, a store and a memory of calibrations that do not outlive it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        before = dict(os.environ)
        os.environ[ROOT_VARIABLE] = str(Path(folder) / "data")
        config = TrackingConfig(f"sqlite:///{Path(folder) / 'mlflow.db'}", artifact_location=folder)
        with open_pool(1) as pool:
            call(pool, tasks.use_one_thread)  # the worker has started, with its settings
            for name in os.environ.keys() - before.keys():
                del os.environ[name]  # this process stays an ordinary one
            os.environ.update(before)
            with Tracker.open(config) as tracker:
                yield Bench(pool, environment, tracker)


def medians(
    sides: dict[str, Callable[[], float]], repeats: int, warm_up: bool = True
) -> dict[str, float]:
    """Median of each side's figure, taken in turns; the first round only warms up."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(repeats + warm_up):
        for side, measure in sides.items():
            value = measure()
            if number >= warm_up:
                times[side].append(value)
    return {side: statistics.median(values) for side, values in times.items()}
