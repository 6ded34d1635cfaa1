"""Members and their queue on a real journal."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from studies.engine import members as module
from studies.engine.dispatch import Dispatch
from studies.engine.forms import ALONE, Form
from studies.engine.members import Members
from studies.engine.queue import Queue
from studies.engine.run import Arm, Environment, Recipe, Run
from studies.engine.storage import Ledger, open_storage

RECIPE = Recipe("digits", "lenet_300_100", 1, 50)
GLOROT, HE = Arm("Glorot", {"name": "glorot_normal"}), Arm("He", {"name": "he_normal"})


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    return open_storage(None, tmp_path)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Members, Members]]:
    """Two members, each with a storage of its own on one journal, that beat fast."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.6)
    with Members(open_storage(None, tmp_path), "s") as first:
        second = Members(open_storage(None, tmp_path), "s")
        second.join()
        yield first, second
        second.leave()


def states(storage: BaseStorage, name: str) -> list[str]:
    study = storage.get_study_id_from_name(name)
    return [trial.state.name for trial in storage.get_all_trials(study)]


def test_the_eldest_member_leads_until_it_leaves(
    two: tuple[Members, Members], tmp_path: Path
) -> None:
    first, second = two
    assert (first.lead(), second.lead()) == (True, False)
    assert len(second.living()) == 2
    assert not first.alone()
    first.leave()
    assert second.lead()
    assert second.alone()
    assert states(open_storage(None, tmp_path), "s#members") == ["COMPLETE", "RUNNING"]


def _silence(member: Members) -> None:
    """Stop the signs of life without leaving, as if the process stood still."""
    member._stop.set()
    assert member._thread is not None
    member._thread.join()


def test_a_silent_member_is_struck_off_and_joins_anew_when_it_wakes(
    two: tuple[Members, Members],
) -> None:
    first, second = two
    old = first.own
    _silence(first)
    assert not second.lead()
    started = time.monotonic()
    while not second.lead():
        assert time.monotonic() - started < 5
        time.sleep(0.02)
    assert time.monotonic() - started > 0.5
    first._lost = True  # what its next sign of life would tell it
    assert not first.lead()
    assert first.own != old
    assert len(second.living()) == 2


def test_silence_is_counted_from_the_first_look_and_from_every_sign_of_life(
    storage: BaseStorage,
) -> None:
    watcher = Members(storage, "s")
    with Members(storage, "s") as member:
        (trial,) = member.living()
    key, beat = trial._trial_id, trial.user_attrs.get("beat")
    assert watcher._seen(trial, 100.0) == (beat, 0.0)
    watcher._watched[key] = (beat, 0.2)
    assert watcher._seen(trial, 0.1) == (beat, pytest.approx(0.3))
    watcher._watched[key] = ("another", 0.5)
    assert watcher._seen(trial, 0.1) == (beat, 0.0)


def test_a_killed_process_of_this_machine_is_dead_at_once(
    storage: BaseStorage, tmp_path: Path
) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from studies.engine.members import Members\n"
        "from studies.engine.storage import open_storage\n"
        "Members(open_storage(None, Path(sys.argv[1])), 's').join()\n"
        "print('joined', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"joined\n"
    with Members(storage, "s") as member:
        assert not member.lead()
        process.kill()
        process.wait()
        started = time.monotonic()
        assert member.lead()
        assert time.monotonic() - started < 1
    assert states(storage, "s#members") == ["FAIL", "COMPLETE"]


def test_every_group_is_taken_once_and_comes_back_as_it_was(
    storage: BaseStorage, tmp_path: Path
) -> None:
    queue = Queue(storage, "s", RECIPE)
    other = Queue(open_storage(None, tmp_path), "s", RECIPE)
    tuned = Arm("tuned", {"name": "ternary", "density": 0.1}, {"lr": 0.01}, "ternary")
    runs = [Run(RECIPE, tuned, 3), Run(RECIPE, HE, 3, test=True), Run(RECIPE, tuned, 4)]
    first, second = queue.put(runs), queue.put([Run(RECIPE, GLOROT, 0)])
    taken = other.take(1)
    assert taken is not None
    assert taken.id == first
    assert taken.runs == runs
    assert [run.key for run in taken.runs] == [run.key for run in runs]
    again = queue.take(2)
    assert again is not None
    assert again.id == second
    assert queue.take(2) is None
    assert other.take(1) is None
    other.done(taken)
    other.done(taken)  # harmless
    assert states(storage, "s#queue") == ["COMPLETE", "RUNNING"]


def test_what_others_could_begin_sooner_is_not_taken_ahead(storage: BaseStorage) -> None:
    queue = Queue(storage, "s", RECIPE)
    ids = [queue.put([Run(RECIPE, GLOROT, seed)]) for seed in range(3)]
    assert queue.take(1, spare=3) is None
    assert states(storage, "s#queue") == ["WAITING"] * 3
    taken = queue.take(1, spare=2)
    assert taken is not None
    assert taken.id == ids[0]
    assert queue.take(1, spare=2) is None


class Counted(ThreadPoolExecutor):
    """Worker threads; notes how many groups are in the pool when another comes."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.loads: list[int] = []
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.loads.append(sum(not future.done() for future in self.futures))
        self.futures.append(super().submit(fn, *args, **kwargs))
        return self.futures[-1]


def test_a_free_worker_finds_its_next_group_ready_until_few_are_left(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path)
    recipe = Recipe("digits:train_limit=50", "mlp:hidden=4", 1, 50)
    runs = [Run(recipe, GLOROT, seed) for seed in range(6)]
    arrived: list[str] = []
    with Members(storage, "s") as members, Counted(1) as pool:
        ledger, queue = Ledger(storage, "s"), Queue(storage, "s", recipe)
        dispatch = Dispatch(ledger, queue, members, Environment("cpu"), 1, lambda anew: pool)
        dispatch.train(runs, ALONE, arrived.extend)
    assert arrived == [run.key for run in runs]
    assert len(ledger) == 6
    # The first finds the pool empty and the second comes at once; the last is not taken ahead.
    assert pool.loads[:2] == [0, 1]
    assert max(pool.loads) == 1
    assert pool.loads[-1] == 0
    assert states(storage, "s#queue") == ["COMPLETE"] * 6


def test_results_of_a_group_arrive_together(tmp_path: Path) -> None:
    """So that the remaining time is not guessed from the first of them alone."""
    storage = open_storage(None, tmp_path)
    recipe = Recipe("digits:train_limit=50", "mlp:hidden=4", 1, 50)
    runs = [Run(recipe, GLOROT, seed) for seed in range(6)]
    arrived: list[list[str]] = []
    with Members(storage, "s") as members, Counted(1) as pool:
        ledger, queue = Ledger(storage, "s"), Queue(storage, "s", recipe)
        dispatch = Dispatch(ledger, queue, members, Environment("cpu"), 1, lambda anew: pool)
        form = Form("dense", 3, mixed_seeds=True)
        dispatch.train(runs, form, lambda results: arrived.append([*results]))
    keys = [run.key for run in runs]
    assert arrived == [keys[:3], keys[3:]]


def test_groups_of_the_dead_and_those_given_back_are_lost_once(storage: BaseStorage) -> None:
    queue = Queue(storage, "s", RECIPE)
    ids = [queue.put([Run(RECIPE, GLOROT, seed)]) for seed in range(4)]
    for member in (1, 2, 1):
        assert queue.take(member) is not None
    assert [group.id for group in queue.under_way({1, 2})] == ids
    assert [group.id for group in queue.under_way({1})] == [ids[0], ids[2], ids[3]]
    assert queue.lost(ids, living={1, 2}) == []
    assert queue.lost(ids, living={1}) == [ids[1]]
    taken = queue.under_way({1})[0]
    queue.give_back(taken)
    assert queue.lost(ids[:1], living={1}) == [ids[0]]
    # A new leader withdraws what waits and what the dead had begun; it is told of the latter.
    assert [group.id for group in queue.withdraw(living=set())] == [ids[2]]
    assert queue.take(3) is None
    assert states(storage, "s#queue") == ["FAIL"] * 4


def test_a_withdrawn_group_that_was_finished_after_all_does_no_harm(storage: BaseStorage) -> None:
    queue = Queue(storage, "s", RECIPE)
    queue.put([Run(RECIPE, GLOROT, 0)])
    taken = queue.take(1)
    assert taken is not None
    assert len(queue.withdraw(living=set())) == 1
    queue.done(taken)
    assert states(storage, "s#queue") == ["FAIL"]
    assert optuna.load_study(study_name="s#queue", storage=storage).trials[0].state == (
        TrialState.FAIL
    )
