"""The two stages of a study: the search tunes families, the confirmation opens the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies.engine.reading import read_outcome, read_outcomes
from studies.engine.recorder import Recorder
from studies.engine.report.files import Row, run_row
from studies.engine.run import Arm, Result, Run
from studies.engine.search import Trial, search
from studies.engine.session import Session
from studies.engine.study import Family


def search_stage(
    session: Session,
    facts: Mapping[str, Any],
    recorder: Recorder,
    rows: list[Row],
) -> tuple[Arm, ...]:
    """Tune every family; adds a row per training."""
    plan, progress, ledger = session.plan, session.progress, session.ledger
    progress.start("search")

    def on_trial(family: Family, trial: Trial, before: bool) -> None:
        progress.skip(len(plan.search_seeds) - len(trial.results))
        if before:
            progress.advance(len(trial.results), trained=False)
        recorder.trial(family, trial)
        for seed, result in zip(plan.search_seeds, trial.results, strict=False):
            run = plan.search_run(trial.arm, seed)
            name = plan.study.name
            rows.append(run_row(run, result, study=name, stage="search", trial=trial.number))

    return search(
        plan, ledger.storage, ledger.name, facts["max_fan_in"], session.train, ledger.get, on_trial
    )


def confirm_stage(
    session: Session, arms: Sequence[Arm], recorder: Recorder, rows: list[Row]
) -> tuple[dict[str, dict[int, float]], dict[str, int]]:
    """Train every arm on fresh seeds and open the test split; adds a row per training.

    Returns:
        The outcome by arm and seed, and the number of diverged runs by arm.
    """
    from studies.engine.compare import TEST_ACCURACY

    plan = session.plan
    outcome = plan.study.outcome or TEST_ACCURACY
    session.progress.start("confirmation")
    runs = [plan.confirmation_run(arm, seed) for seed in plan.seeds for arm in arms]

    def record(run: Run, result: Result) -> None:
        value = read_outcome(outcome, result, run.effective_recipe.epochs)
        recorder.confirmed(run, result, {outcome.name: value})

    results = session.train(runs, record)
    values: dict[str, dict[int, float]] = {arm.label: {} for arm in arms}
    diverged = dict.fromkeys(values, 0)
    outcomes = read_outcomes(outcome, plan.study.also, runs, results)
    for run, result, read in zip(runs, results, outcomes, strict=True):
        values[run.arm.label][run.seed] = read[outcome.name]
        diverged[run.arm.label] += result.status == "diverged"
        rows.append({**run_row(run, result, study=plan.study.name, stage="confirm"), **read})
    return values, diverged
