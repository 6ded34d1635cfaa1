"""The search: Optuna proposes, every family gets the same number of trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from studies.engine.plan import Plan
from studies.engine.pruning import should_prune
from studies.engine.run import Arm, Result, Run, content_hash
from studies.engine.storage import open_study
from studies.engine.study import Family

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

# Trials asked at once. Fixed, so that a search does not depend on the number of workers.
BATCH = 4
# Trials before Optuna's model takes over from random proposals.
STARTUP_TRIALS = 4
_BATCH_START = "batch_start"


@dataclasses.dataclass
class Trial:
    """A proposal while it is evaluated.

    Args:
        number: position within the family, from 0; the same whether or not the search was
            interrupted.
        optuna_number: Optuna's own number, which also counts proposals given up.
        arm: the arm it stands for.
        values: proposed hyperparameters.
        batch: finished trials of the family when it was asked; the same for a whole batch.
        results: one per search seed trained so far.
        state: "running", "complete" or "pruned".
    """

    number: int
    optuna_number: int
    arm: Arm
    values: dict[str, float]
    batch: int
    results: list[Result] = dataclasses.field(default_factory=list)
    state: str = "running"

    @property
    def accuracies(self) -> list[float]:
        """Validation accuracy per seed."""
        return [result.val_accuracy for result in self.results]

    @property
    def diverged(self) -> bool:
        """Whether any of its runs diverged."""
        return any(result.status == "diverged" for result in self.results)

    @property
    def objective(self) -> float:
        """Mean validation accuracy over its seeds; 0.0, the worst there is, if it diverged."""
        return 0.0 if self.diverged else sum(self.accuracies) / len(self.accuracies)


class FamilySearch:
    """Optuna's study of one family.

    Args:
        family: the arm with open hyperparameters.
        plan: the study's numbers.
        storage: Optuna's storage.
        name: the study's name in it.
        max_fan_in: the network's largest fan_in, which bounds the density from below.
    """

    def __init__(
        self, family: Family, plan: Plan, storage: BaseStorage, name: str, max_fan_in: int
    ) -> None:
        from optuna.distributions import FloatDistribution

        self.family = family
        self._plan = plan
        self._study = open_study(storage, f"{name}#search#{family.label}")
        self._space: dict[str, Any] = {
            p.name: FloatDistribution(*p.bounds(max_fan_in), log=True) for p in family.space
        }
        self._asked: dict[int, Any] = {}
        self._known: list[Any] | None = None

    def finished(self) -> list[Any]:
        """Optuna's finished trials that count: the first ones, up to the budget.

        The storage is asked once per batch: nobody else tells trials of this family meanwhile.
        """
        if self._known is None:
            self._known = self._counting(self._study.get_trials(deepcopy=False))
        return self._known

    def _counting(self, trials: Sequence[Any]) -> list[Any]:
        finished = [t for t in trials if t.state.name in ("COMPLETE", "PRUNED")]
        return finished[: self._plan.trials]

    def finished_trials(self, lookup: Callable[[Run], Result | None]) -> list[Trial]:
        """The trials that count, with their results as far as the ledger has them."""
        trials = []
        for position, known in enumerate(self.finished()):
            batch = known.user_attrs[_BATCH_START]
            trial = self._trial(position, known.number, known.params, batch)
            runs = [self._plan.search_run(trial.arm, seed) for seed in self._plan.search_seeds]
            found = [lookup(run) for run in runs]
            trial.results = [result for result in found if result is not None]
            trial.state = known.state.name.lower()
            trials.append(trial)
        return trials

    def next_batch(self) -> list[Trial]:
        """Proposals to evaluate together.

        A batch that an interrupted start left unfinished comes again with the same proposals:
        results of its runs that are in the ledger count, and the search ends as if nothing had
        happened.
        """
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        self._known = self._counting(trials)
        known = len(self._known)
        left = [trial for trial in trials if trial.state == TrialState.RUNNING]
        told = {trial.user_attrs[_BATCH_START] for trial in self._known}
        self._asked = {}
        if halfway := [t for t in left if t.user_attrs.get(_BATCH_START) in told]:
            # Some of this batch were told already, so all of it had been evaluated and reported.
            return [
                self._trial(known + i, t.number, t.params, t.user_attrs[_BATCH_START])
                for i, t in enumerate(halfway)
            ]
        for trial in left:
            self._study.tell(trial.number, state=TrialState.FAIL)
        if known == 0 and not any(trial.state == TrialState.WAITING for trial in trials):
            self._study.enqueue_trial({p.name: p.start for p in self.family.space})
        # One seed for all would propose the same points again after every restart.
        seed = int(content_hash([self._plan.study_seed, self.family.label, known]), 16) % 2**32
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        batch = [self._study.ask(self._space) for _ in range(min(BATCH, self._plan.trials - known))]
        for asked in batch:
            asked.set_user_attr(_BATCH_START, known)
        self._asked = {asked.number: asked for asked in batch}
        return [
            self._trial(known + i, asked.number, asked.params, known)
            for i, asked in enumerate(batch)
        ]

    def report(self, trial: Trial) -> None:
        """Give Optuna the trial's accuracy per search seed, as its steps."""
        if asked := self._asked.get(trial.optuna_number):
            for step, accuracy in enumerate(trial.accuracies):
                asked.report(accuracy, step)

    def tell(self, trial: Trial) -> None:
        """End the trial in Optuna with its objective."""
        from optuna.trial import TrialState

        self._known = None
        if trial.state == "pruned":
            self._study.tell(trial.optuna_number, state=TrialState.PRUNED)
        else:
            self._study.tell(trial.optuna_number, trial.objective)

    def completed_accuracies(self, before: int) -> list[list[float]]:
        """Accuracies per seed of the trials that ran all seeds in batches before this one."""
        seeds = len(self._plan.search_seeds)
        rows = [
            list(trial.intermediate_values.values())
            for trial in self.finished()
            if trial.user_attrs[_BATCH_START] < before
        ]
        return [row for row in rows if len(row) == seeds]

    def best(self) -> Arm:
        """The tuned arm: the trial with the best objective, the earliest among equals."""
        complete = [t for t in self.finished() if t.state.name == "COMPLETE"]
        best = max(complete, key=lambda t: (t.value, -t.number))
        return self.family.arm(best.params, self.family.tuned_label)

    def _trial(self, position: int, number: int, values: dict[str, float], batch: int) -> Trial:
        return Trial(position, number, self.family.arm(values), dict(values), batch)


def search(
    plan: Plan,
    storage: BaseStorage,
    name: str,
    max_fan_in: int,
    train: Callable[[Sequence[Run]], list[Result]],
    lookup: Callable[[Run], Result | None],
    on_trial: Callable[[Family, Trial, bool], None],
) -> tuple[Arm, ...]:
    """Tune every family, all at the same pace; returns the tuned arms in the families' order.

    Args:
        plan: the study's numbers.
        storage: Optuna's storage; trials in it count towards the budget.
        name: the study's name in it.
        max_fan_in: the network's largest fan_in.
        train: trains runs and returns their results in order.
        lookup: a run's result if it was trained before.
        on_trial: called once per finished trial; the last argument is True for those that were
            finished before this start.
    """
    families = [FamilySearch(family, plan, storage, name, max_fan_in) for family in plan.families]
    for family in families:
        for trial in family.finished_trials(lookup):
            on_trial(family.family, trial, True)
    while batch := [
        (family, trial)
        for family in families
        if len(family.finished()) < plan.trials
        for trial in family.next_batch()
    ]:
        _evaluate(plan, batch, train)
        for family, trial in batch:
            family.report(trial)
        for family, trial in batch:
            family.tell(trial)
            on_trial(family.family, trial, False)
    return tuple(family.best() for family in families)


def _evaluate(
    plan: Plan,
    batch: Sequence[tuple[FamilySearch, Trial]],
    train: Callable[[Sequence[Run]], list[Result]],
) -> None:
    """Train a batch seed by seed; a trial that diverges or lags behind gets no further seed."""
    completed = {f.family.label: f.completed_accuracies(trial.batch) for f, trial in batch}
    for seed in plan.search_seeds:
        running = [(family, trial) for family, trial in batch if trial.state == "running"]
        results = train([plan.search_run(trial.arm, seed) for _, trial in running])
        for (family, trial), result in zip(running, results, strict=True):
            trial.results.append(result)
            last = seed == plan.search_seeds[-1]
            if trial.diverged or last:
                trial.state = "complete"
            elif should_prune(trial.accuracies, completed[family.family.label]):
                trial.state = "pruned"
