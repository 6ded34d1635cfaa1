"""Writes a study's course into MLflow: study, trials and arms, seeds, verdict and files."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from studies.engine.options import StudyOptions
from studies.engine.plan import Plan
from studies.engine.records import (
    arm_params,
    milliseconds,
    open_tracker,
    recipe_params,
    run_record,
    sentence,
    tracking_config,
)
from studies.engine.run import Arm, Result, Run, content_hash
from studies.engine.search import Trial
from studies.engine.secrets import mask
from studies.engine.storage import Ledger
from studies.engine.study import Family
from studies.engine.tracking import Tracker, TrackingError, environment_tags, ui_command
from studies.engine.tracking.destination import Destination
from studies.engine.tracking.views import study_views

if TYPE_CHECKING:
    from studies.engine.compare import Comparisons

_LONG_S = 60.0  # for the store, when the results are there
_SHORT_S = 5.0


class Recorder:
    """Records one sitting of a study; a study that continues goes on in the same MLflow runs.

    Nothing is lost to a kill or to a store that is away: until the study is finished, the next
    start records again whatever is in the ledger; from then on it is in the spool in the output
    folder, which the next start sends, or `python -m studies.sync`.

    Use as a context manager: leaving it by an exception marks the study's run as interrupted or
    failed.

    Args:
        plan: the study's numbers.
        options: the user's options.
        ledger: where the MLflow identity of the study is kept.
        command: what repeats the study.
        active: False records nothing (a finished study that is only shown again).

    Raises:
        UserError: the tracking configuration is not usable.
    """

    def __init__(
        self,
        plan: Plan,
        options: StudyOptions,
        ledger: Ledger,
        command: str,
        *,
        active: bool,
    ) -> None:
        self._plan = plan
        self._options = options
        self._ledger = ledger
        self._command = command
        self._active = active
        self._config = tracking_config(options)
        self._tracker: Tracker | None = None
        self._study = ""

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if self._tracker is None:
            return
        if kind is None:
            self._tracker.keep()
            return
        if self._study:
            stopped = issubclass(kind, KeyboardInterrupt)
            self._tracker.finish(self._study, "interrupted" if stopped else "failed")
        self._tracker.close(_SHORT_S)

    def open(self) -> None:
        """Reach the store, so that a wrong address shows before anything is trained.

        A store that is away now is no mistake: one line says that records are kept.

        Raises:
            UserError: the store cannot be used as it is.
        """
        if self._active:
            plan, study = self._plan, self._plan.study
            searched = dict.fromkeys(p.name for family in plan.families for p in family.space)
            views = study_views(plan.recipe.data, plan.recipe.network, list(searched))
            self._tracker = open_tracker(
                self._config, study.name, plan.output, study.question, views
            )

    def start(self, facts: Mapping[str, Any]) -> None:
        """Open the study's run and one run per arm of the confirmation."""
        if self._tracker is None:
            return
        plan, study = self._plan, self._plan.study
        known = self._ledger.recall("tracking")
        if known is None:
            known = {"study_id": uuid.uuid4().hex}
            self._ledger.remember("tracking", known)
        self._tags = {
            **environment_tags(),
            "study": study.name,
            "data": plan.recipe.data,
            "network": plan.recipe.network,
            "data_fingerprint": facts["data"]["fingerprint"],
        }
        self._study = self._tracker.start_study(
            known["study_id"],
            plan.title,
            params={
                **recipe_params(Run(plan.recipe, plan.study.arms[0], 0)),
                "search_seeds": len(plan.search_seeds),
                "parameters": facts["parameters"],
            },
            # What a continued study may change cannot be a parameter: those are written once.
            tags={
                **self._tags,
                "trials": plan.trials,
                "seeds": len(plan.seeds),
                "margin": plan.margin,
                "stage": "study",
                "command": self._command,
            },
            description=study.question,
        )

    def trial(self, family: Family, trial: Trial) -> None:
        """Record a finished trial of the search and its runs."""
        if self._tracker is None:
            return
        status = "diverged" if trial.diverged else trial.state.replace("complete", "finished")
        group = f"search/{content_hash([family.label, trial.number, dict(trial.values)])}"
        plan = self._plan
        tags = {**self._tags, "stage": "search", "family": family.label}
        runs = [plan.search_run(trial.arm, seed) for seed in plan.search_seeds]
        times = [(r.started, r.started + r.seconds) for r in trial.results]
        self._tracker.log_group(
            self._study,
            group,
            f"{family.label} trial {trial.number}",
            params={**arm_params(trial.arm), **recipe_params(runs[0])},
            tags={
                **tags,
                "arm": trial.arm.label,
                "initializer": trial.arm.initializer["name"],
            },
            metrics={"val_accuracy": trial.objective, "seeds": len(trial.results)},
            status=status,
            start_ms=milliseconds(min(start for start, _ in times)),
            end_ms=milliseconds(max(end for _, end in times)),
        )
        for run, result in zip(runs, trial.results, strict=False):
            ended = "pruned" if status == "pruned" and result is trial.results[-1] else None
            self._log_run(group, run, result, tags, ended)

    def confirmed(self, run: Run, result: Result, outcome: Mapping[str, float]) -> None:
        """Record a run of the confirmation.

        Args:
            run, result: the training.
            outcome: name and value of what is compared.
        """
        if self._tracker is None:
            return
        tags = {**self._tags, "stage": "confirm", "family": run.arm.family or run.arm.label}
        group = _group(run.arm)
        if run.seed == self._plan.seeds[0]:
            self._tracker.log_group(
                self._study,
                group,
                run.arm.label,
                params={**arm_params(run.arm), **recipe_params(run)},
                tags={
                    **tags,
                    "arm": run.arm.label,
                    "initializer": run.arm.initializer["name"],
                },
            )
            name = re.sub(r"\W+", "_", run.arm.label).strip("_")
            self._tracker.log_dict(
                self._study, dict(result.initialization), f"initialization/{name}.json"
            )
        self._log_run(group, run, result, tags, None, outcome)

    def finish(
        self,
        arms: Sequence[Arm],
        comparisons: Comparisons,
        sentence: str,
        table: str,
        paths: Sequence[Path],
    ) -> None:
        """Close the arms' runs with their summaries and the study's run with its verdict.

        Afterwards everything is in the store or in the spool: the study may count as finished.

        Raises:
            OSError: the spool cannot be written, and the store takes its time.
        """
        if self._tracker is None:
            return
        name = comparisons.outcome.name
        for arm in arms:
            summary = comparisons.arm(arm.label)
            verdicts = {
                f"verdict vs {c.reference}": c.verdict
                for c in comparisons.comparisons
                if c.arm == arm.label
            }
            self._tracker.log_group(
                self._study,
                _group(arm),
                arm.label,
                tags=verdicts,
                metrics={
                    name: summary.mean,
                    f"{name}_std": summary.std,
                    f"{name}_low": summary.low,
                    f"{name}_high": summary.high,
                    "seeds": summary.n,
                },
                status="finished",
            )
        groups = {arm.label: _group(arm) for arm in arms}
        self._mark_superseded(groups)
        for path in paths:
            inside = path.parent.relative_to(self._plan.output).as_posix()
            self._tracker.log_artifact_file(self._study, path, None if inside == "." else inside)
        question = self._plan.study.question
        self._tracker.set_description(
            self._study, f"**{question}**\n\n{sentence}\n\n```\n{table}\n```"
        )
        self._tracker.finish(self._study)
        try:
            self._tracker.keep()
        except OSError:
            if not self._tracker.flush(_LONG_S):
                raise
        self._ledger.remember("groups", groups)

    def _mark_superseded(self, groups: Mapping[str, str]) -> None:
        """Mark the runs of tuned arms that a longer search has replaced since the last time."""
        assert self._tracker is not None
        before = (self._ledger.recall("groups") or {}).items()
        for label, group in before:
            if groups.get(label) != group:
                self._tracker.log_group(
                    self._study, group, f"{label}, superseded", tags={"superseded": "true"},
                    status="finished",
                )  # fmt: skip

    def closing(self, *, send: bool = True) -> str:
        """Write what is queued; the last lines for the user: the UI, and what is not in MLflow.

        Call it when the results have been shown: it waits for the store, for at most a minute.

        Args:
            send: whether to send what a spool holds where nothing was to be recorded; another
                process that leads the study does so itself.
        """
        message = self._close() if send or self._tracker is not None else None
        lines = [] if message is None else [f"warning: {message}"]
        return "\n".join([*lines, f"MLflow UI: {ui_command(self._config)}"])

    def _close(self) -> str | None:
        """Close the tracker, or, where nothing was to be recorded, send what a spool holds."""
        if self._tracker is not None:
            return self._tracker.close(_LONG_S).message
        name, folder = self._config.experiment or self._plan.study.name, self._plan.output
        if not Destination(self._config, mask(name)).spool_file(folder).exists():
            return None
        try:
            left = Tracker.open(self._config, experiment=name, folder=folder)
        except TrackingError as error:
            return sentence(error)
        return left.close(_LONG_S).message

    def _log_run(
        self,
        group: str,
        run: Run,
        result: Result,
        tags: Mapping[str, Any],
        status: str | None,
        outcome: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        assert self._tracker is not None
        record = run_record(run, result, tags, status)
        record["metrics"] |= {n: v for n, v in outcome.items() if math.isfinite(v)}
        name = f"{run.arm.label}, seed {run.seed}"
        self._tracker.log_run(self._study, group, run.key, name, **record)


def _group(arm: Arm) -> str:
    """Id of an arm's run: a tuned arm that a longer search replaces is another one."""
    return f"confirm/{content_hash(arm.to_dict())}"
