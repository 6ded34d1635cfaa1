"""A storage that waits while the one behind it is away."""

from __future__ import annotations

import copy
import functools
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.engine.errors import UserError
from studies.engine.progress import clock
from studies.engine.troubles import passing, reason

R = TypeVar("R")
P = ParamSpec("P")

# A system attribute that tells a trial apart whose creation was answered by silence.
TICKET = "ticket"
_LONGEST_PAUSE = 10.0


def _patient(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[PatientStorage, P], R]:
    """The same method of the storage behind, repeated while that is away."""

    @functools.wraps(method)
    def patient(self: PatientStorage, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = getattr(self._storage, method.__name__)
        return self._persist(lambda: cast(R, bound(*args, **kwargs)))

    vars(patient).pop("__isabstractmethod__", None)  # copied from the base's method
    return patient


class PatientStorage(BaseStorage):
    """Delegates to another storage and survives that this one is gone for a while.

    Calls that fail because the storage is away (database restarted, network or proxy gone, disk
    full) are repeated after pauses that grow from `pause` to ten seconds. One line on standard
    error says when the waiting begins, one when the storage is back. Errors that waiting cannot
    cure come through at once; Optuna's own signals (`KeyError`, `DuplicatedStudyError`,
    `UpdateFinishedTrialError` ...) are never touched. Threads may share the storage; the limit
    counts from the first failure of any of them.

    A call may have been carried out although its answer was lost, so a repetition must not do it
    twice:

    * Reading, and setting a parameter, a report or an attribute, may be done twice.
    * `create_new_trial`: every trial gets a unique system attribute `ticket`; a repetition first
      looks for it. Exactly one trial results, with one exception: within a call Optuna's database
      storage itself repeats up to five times, and if the answer to a commit was lost there, a
      second trial with the same ticket exists. As a result in the ledger it is harmless (results
      go by key); as a proposal it stays RUNNING until the search gives it up before its next batch.
    * `set_trial_state_values` to a finished state: the repetition finds the trial finished, which
      counts as done if state and values are ours. To RUNNING: the repetition finds it running and
      answers False, because another process may have taken it. Never do two processes hold one
      trial, but if it was us, nobody holds it: whoever watches for dead workers gives it back.
    * `create_new_study` raises `DuplicatedStudyError`, which `load_if_exists` takes for success;
      `delete_study` finds the study gone, which counts as done.

    Args:
        storage: the storage behind.
        name: how messages call it; without credentials.
        limit: seconds to wait, counted from the first failure.
        pause: seconds before the first repetition; each further pause is twice as long.

    Raises:
        UserError: from any method: the storage stayed away for longer than the limit, or failed in
            a way that waiting cannot cure.
    """

    def __init__(
        self, storage: BaseStorage, name: str, *, limit: float = 600.0, pause: float = 0.5
    ) -> None:
        self._storage = storage
        self._name = name
        self._limit = limit
        self._pause = pause
        self._guard = threading.Lock()
        self._waiting = 0
        self._away_since: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_guard": None, "_waiting": 0, "_away_since": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _guard=threading.Lock())

    create_new_study = _patient(BaseStorage.create_new_study)
    set_study_user_attr = _patient(BaseStorage.set_study_user_attr)
    set_study_system_attr = _patient(BaseStorage.set_study_system_attr)
    get_study_id_from_name = _patient(BaseStorage.get_study_id_from_name)
    get_study_name_from_id = _patient(BaseStorage.get_study_name_from_id)
    get_study_directions = _patient(BaseStorage.get_study_directions)
    get_study_user_attrs = _patient(BaseStorage.get_study_user_attrs)
    get_study_system_attrs = _patient(BaseStorage.get_study_system_attrs)
    get_all_studies = _patient(BaseStorage.get_all_studies)
    set_trial_param = _patient(BaseStorage.set_trial_param)
    get_trial_id_from_study_id_trial_number = _patient(
        BaseStorage.get_trial_id_from_study_id_trial_number
    )
    get_trial_param = _patient(BaseStorage.get_trial_param)
    set_trial_intermediate_value = _patient(BaseStorage.set_trial_intermediate_value)
    set_trial_user_attr = _patient(BaseStorage.set_trial_user_attr)
    set_trial_system_attr = _patient(BaseStorage.set_trial_system_attr)
    get_trial = _patient(BaseStorage.get_trial)
    get_all_trials = _patient(BaseStorage.get_all_trials)
    get_best_trial = _patient(BaseStorage.get_best_trial)
    remove_session = _patient(BaseStorage.remove_session)

    def delete_study(self, study_id: int) -> None:
        """Delete a study; on a repetition, one that is gone already counts as deleted."""

        def again() -> None:
            try:
                self._storage.delete_study(study_id)
            except KeyError:
                return

        self._persist(lambda: self._storage.delete_study(study_id), again)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial to a study, once even if the answer is lost; returns its id."""
        template = template_trial or create_trial(state=TrialState.RUNNING)
        ticket = uuid.uuid4().hex
        marked = copy.copy(template)
        marked.system_attrs = {**template.system_attrs, TICKET: ticket}

        def create() -> int:
            return self._storage.create_new_trial(study_id, marked)

        def again() -> int:
            for trial in reversed(self._storage.get_all_trials(study_id, deepcopy=False)):
                if trial.system_attrs.get(TICKET) == ticket:
                    return trial._trial_id
            return create()

        return self._persist(create, again)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state and values; on a repetition, what is set already counts as done."""

        def tell() -> bool:
            return self._storage.set_trial_state_values(trial_id, state, values)

        def again() -> bool:
            try:
                return tell()
            except UpdateFinishedTrialError:
                trial = self._storage.get_trial(trial_id)
                stored = None if trial.values is None else list(trial.values)
                if trial.state == state and (values is None or stored == list(values)):
                    return True
                raise

        return self._persist(tell, again)

    def _persist(self, call: Callable[[], R], again: Callable[[], R] | None = None) -> R:
        """What `call` returns; while the storage is away, what `again` (the same) does."""
        attempt, pause, failed = call, self._pause, False
        try:
            while True:
                try:
                    result = attempt()
                except Exception as error:
                    if not passing(error):
                        if isinstance(error, _failures()):
                            raise UserError(
                                f"The storage {self._name} failed: {reason(error)}."
                            ) from error
                        raise
                    left = self._fail(error, first=not failed)
                    failed, attempt = True, again or call
                    time.sleep(min(pause, left))
                    pause = min(2 * pause, _LONGEST_PAUSE)
                else:
                    self._succeed(failed)
                    return result
        finally:
            if failed:
                with self._guard:
                    self._waiting -= 1

    def _fail(self, error: Exception, *, first: bool) -> float:
        """Note a failed call, whose first failure it may be; the seconds left to wait.

        Raises:
            UserError: none are left.
        """
        with self._guard:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
                _say(f"The storage {self._name} is away ({reason(error)}); waiting for it.")
            left = self._away_since + self._limit - now
            if left > 0:
                self._waiting += first
                return left
        raise UserError(
            f"The storage {self._name} stayed away for {clock(self._limit)} ({reason(error)}); "
            "what was finished is kept: run the same command again once it is back."
        ) from error

    def _succeed(self, failed: bool) -> None:
        """Note a call that went well; the last one that had to wait says that it is over."""
        if self._away_since is None:
            return
        with self._guard:
            # A thread that only reads must not call a full disk mended while another waits.
            if self._away_since is not None and self._waiting == int(failed):
                seconds = time.monotonic() - self._away_since
                self._away_since = None
                _say(f"The storage {self._name} is back after {clock(seconds)}.")


def _failures() -> tuple[type[Exception], ...]:
    """What storages raise when they fail; everything else is a signal of Optuna's."""
    sqlalchemy, grpc = sys.modules.get("sqlalchemy.exc"), sys.modules.get("grpc")
    return (
        OSError,
        StorageInternalError,
        *((sqlalchemy.SQLAlchemyError,) if sqlalchemy else ()),
        *((grpc.RpcError,) if grpc else ()),
    )


def _say(line: str) -> None:
    """One line on standard error, over a progress line that may stand there."""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}{line}", file=sys.stderr, flush=True)
