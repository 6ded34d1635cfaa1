"""The queue of a study: groups of runs in Optuna's storage, each taken by one process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from studies.engine.run import Arm, Plain, Recipe, Run
from studies.engine.storage import end_trial, open_study

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


class Group(NamedTuple):
    """Runs that are trained together.

    Args:
        id: its trial in the queue.
        runs: the runs.
    """

    id: int
    runs: list[Run]


class Queue:
    """Groups of runs that wait, are being trained, or were.

    A group is a trial of an Optuna study of its own. The storage lets one process alone turn a
    waiting trial into a running one.

    Args:
        storage: an open Optuna storage.
        name: the study's name.
        recipe: the recipe of all its runs.
    """

    def __init__(self, storage: BaseStorage, name: str, recipe: Recipe) -> None:
        self._storage, self._recipe = storage, recipe
        self._study = open_study(storage, f"{name}#queue")._study_id

    def put(self, runs: Sequence[Run]) -> int:
        """Add a group; returns its id."""
        from optuna.trial import TrialState, create_trial

        trial = create_trial(state=TrialState.WAITING, user_attrs={"runs": _plain(runs)})
        return self._storage.create_new_trial(self._study, template_trial=trial)

    def take(self, member: int, *, spare: int = 0) -> Group | None:
        """Take the group that has waited longest; None if none waits.

        Args:
            member: who takes it.
            spare: take none if no more than so many wait.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        waiting = self._trials(TrialState.WAITING)
        for trial in waiting if len(waiting) > spare else ():
            try:
                if not self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    continue  # another process was faster
                self._storage.set_trial_user_attr(trial._trial_id, "member", member)
            except UpdateFinishedTrialError:
                continue  # it was withdrawn
            return self._group(trial)
        return None

    def done(self, group: Group) -> None:
        """End a group whose results are in the ledger."""
        from optuna.trial import TrialState

        end_trial(self._storage, group.id, TrialState.COMPLETE)

    def give_back(self, group: Group) -> None:
        """End a group that this process will not train; the leader puts it in again."""
        from optuna.trial import TrialState

        end_trial(self._storage, group.id, TrialState.FAIL)

    def under_way(self, living: Collection[int]) -> list[Group]:
        """Groups that wait or that living members train.

        Args:
            living: ids of the living members.
        """
        from optuna.trial import TrialState

        return [
            self._group(trial)
            for trial in self._trials(TrialState.WAITING, TrialState.RUNNING)
            if trial.state == TrialState.WAITING or trial.user_attrs.get("member") in living
        ]

    def lost(self, groups: Collection[int], living: Collection[int]) -> list[int]:
        """Those of some groups that were given back or whose member is dead; they are ended.

        Args:
            groups: ids of groups.
            living: ids of the living members.
        """
        from optuna.trial import TrialState

        lost = []
        for trial in self._trials(TrialState.RUNNING, TrialState.FAIL):
            if trial._trial_id not in groups:
                continue
            if trial.state == TrialState.FAIL:
                lost.append(trial._trial_id)
            elif trial.user_attrs.get("member") not in living:
                end_trial(self._storage, trial._trial_id, TrialState.FAIL)
                lost.append(trial._trial_id)
        return lost

    def withdraw(self, living: Collection[int]) -> list[Group]:
        """Withdraw the groups that wait and those of dead members; returns the latter.

        Args:
            living: ids of the living members.
        """
        from optuna.trial import TrialState

        abandoned = []
        for trial in self._trials(TrialState.WAITING, TrialState.RUNNING):
            waits = trial.state == TrialState.WAITING
            if waits or trial.user_attrs.get("member") not in living:
                end_trial(self._storage, trial._trial_id, TrialState.FAIL)
                if not waits:
                    abandoned.append(self._group(trial))
        return abandoned

    def _trials(self, *states: object) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study, deepcopy=False, states=states)  # type: ignore[arg-type]

    def _group(self, trial: FrozenTrial) -> Group:
        plain = trial.user_attrs["runs"]
        arms = [Arm(**arm) for arm in plain["arms"]]
        return Group(
            trial._trial_id,
            [Run(self._recipe, arms[arm], seed, test) for arm, seed, test in plain["runs"]],
        )


def _plain(runs: Sequence[Run]) -> Plain:
    arms: list[Arm] = []
    for run in runs:
        if run.arm not in arms:
            arms.append(run.arm)
    return {
        "arms": [arm.to_dict() for arm in arms],
        "runs": [[arms.index(run.arm), run.seed, run.test] for run in runs],
    }
