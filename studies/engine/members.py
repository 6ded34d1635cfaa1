"""The processes that serve one study: who they are, who is alive, and who leads."""

from __future__ import annotations

import os
import platform
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.engine.storage import end_trial, open_study

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

BEAT_SECONDS = 5.0
# By the watcher's own clock: those of two hosts need not agree.
SILENT_SECONDS = 30.0


class Members:
    """Who serves a study; this process is one of them between `join` and `leave`.

    Every member is a running trial of an Optuna study of its own, which works on every storage,
    while Optuna's heartbeat covers neither journals nor trials that were asked for. A member
    changes an attribute of its trial every few seconds. Who sees no change for half a minute takes
    it for dead; on the same machine, a process that is gone is dead at once. The eldest living
    member leads.

    Args:
        storage: an open Optuna storage.
        name: the study's name.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self._storage, self._name = storage, f"{name}#members"
        # by member: its last sign of life, and for how long it was seen to stand still
        self._watched: dict[int, tuple[Any, float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._trial: int | None = None
        self._lost = False

    def __enter__(self) -> Members:
        self.join()
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()

    @property
    def own(self) -> int | None:
        """Id of this process among the members; None before `join` and after `leave`."""
        return self._trial

    def join(self) -> None:
        """Become a member and keep giving signs of life."""
        self._study = open_study(self._storage, self._name)._study_id
        self._enter()
        self._thread = threading.Thread(target=self._beat, name="sign of life", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Stop being a member."""
        from optuna.trial import TrialState

        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._trial is not None:
            end_trial(self._storage, self._trial, TrialState.COMPLETE)
            self._trial = None

    def living(self) -> list[FrozenTrial]:
        """The members that are alive, eldest first; the dead are struck off.

        A process that was taken for dead, because it or the storage stood still, joins anew.
        """
        from optuna.trial import TrialState

        if self._lost:
            self._lost = False
            self._enter()
        alive = []
        for trial in self._running():
            if self._is_dead(trial):
                end_trial(self._storage, trial._trial_id, TrialState.FAIL)
            else:
                alive.append(trial)
        return alive

    def lead(self) -> bool:
        """Whether this process is the eldest living member."""
        living = self.living()
        return bool(living) and living[0]._trial_id == self._trial

    def alone(self) -> bool:
        """Whether no other member is alive."""
        return [trial._trial_id for trial in self.living()] == [self._trial]

    def _enter(self) -> None:
        from optuna.trial import TrialState, create_trial

        here = {"place": _place(), "pid": os.getpid(), "born": _born(os.getpid())}
        trial = create_trial(state=TrialState.RUNNING, user_attrs=here)
        self._trial = self._storage.create_new_trial(self._study, template_trial=trial)

    def _beat(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        count, before = 0, time.monotonic()
        while not self._stop.wait(BEAT_SECONDS):
            count += 1
            try:
                if self._trial is not None and not self._lost:
                    self._storage.set_trial_user_attr(self._trial, "beat", count)
            except UpdateFinishedTrialError:
                self._lost = True  # somebody has taken this process for dead
            running, now = self._running(), time.monotonic()
            # While this process or the storage stood still, nobody could be seen.
            passed = min(now - before, 2 * BEAT_SECONDS)
            before = now
            self._watched = {t._trial_id: self._seen(t, passed) for t in running}

    def _running(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return self._storage.get_all_trials(
            self._study, deepcopy=False, states=(TrialState.RUNNING,)
        )

    def _seen(self, trial: FrozenTrial, passed: float) -> tuple[Any, float]:
        beat = trial.user_attrs.get("beat")
        if trial._trial_id not in self._watched:
            return beat, 0.0
        last, silent = self._watched[trial._trial_id]
        return (beat, silent + passed) if last == beat else (beat, 0.0)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        if trial._trial_id == self._trial:
            return False
        facts = trial.user_attrs
        if facts.get("place") == _place() and _born(facts["pid"]) != facts["born"]:
            return True
        beat, silent = self._watched.get(trial._trial_id, (None, 0.0))
        return beat == facts.get("beat") and silent > SILENT_SECONDS


def _place() -> str:
    """Where process ids are comparable: one boot of one machine, one container."""
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux: the name has to do
        pass
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """When a process of this machine started, as text; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        return _born_elsewhere(pid)
    # After the command's name in brackets: state, and as 20th field the start in clock ticks.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _born_elsewhere(pid: int) -> str | None:
    """The same without /proc: whether it is there at all."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # it is there, and another user's; or this system cannot tell
        pass
    return "running"
