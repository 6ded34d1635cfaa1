"""The primitive of every study: train(runs) -> results, on a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from datamodules.errors import DataError
from studies.engine import tasks
from studies.engine.errors import UserError
from studies.engine.forms import ALONE, Form, gather
from studies.engine.processes import prepare_environment
from studies.engine.run import Environment, Result, Run
from studies.engine.world import launched_world
from studies.engine.world_pool import current_team

Value = TypeVar("Value")


def train(
    runs: Sequence[Run],
    pool: Executor,
    environment: Environment,
    on_result: Callable[[Run, Result], None] = lambda run, result: None,
    *,
    form: Form = ALONE,
    workers: int = 1,
) -> list[Result]:
    """Train many runs; equal runs are trained once.

    Hand over all runs that are known at a time: how they are spread over processes is decided
    here, and does not change a result.

    Args:
        runs: what to train.
        pool: worker processes from `open_pool`.
        environment: where the data are and on what device to train.
        on_result: called in this process as each run ends, in the order in which they end.
        form: how they are trained; see `studies.engine.calibration.calibrate`.
        workers: number of worker processes in the pool.

    Returns:
        Results in the order of `runs`.

    Raises:
        UserError: a run that cannot be trained, or a worker process that died.
    """
    unique = {run.key: run for run in runs}
    groups = gather(list(unique.values()), form, workers)
    futures = [pool.submit(tasks.run_group, group, environment, form) for group in groups]
    results: dict[str, Result] = {}
    with sentences(DataError), alive():
        for future in as_completed(futures):
            for result in future.result():
                results[result.key] = result
                on_result(unique[result.key], result)
    return [results[run.key] for run in runs]


def call(pool: Executor, function: Callable[..., Value], *args: Any) -> Value:
    """Run a function in a worker process and wait for its value.

    Raises:
        UserError: the function's own ValueError or data error, as one sentence.
    """
    with sentences(DataError, ValueError, TypeError), alive():
        return pool.submit(function, *args).result()


@contextmanager
def sentences(*mistakes: type[Exception]) -> Iterator[None]:
    """Turn what a worker raises for a user's mistake into the sentence it carries."""
    try:
        yield
    except mistakes as error:
        raise UserError(" ".join(str(error).split())) from error


@contextmanager
def alive() -> Iterator[None]:
    """Turn the death of a worker process into a sentence."""
    try:
        yield
    except BrokenProcessPool as error:
        raise UserError(
            "A worker process died, perhaps for lack of memory; finished runs are kept: "
            "run the same command again, with a smaller --workers if it repeats."
        ) from error


@contextmanager
def open_pool(workers: int) -> Iterator[Executor]:
    """Worker processes for `train`; none outlives the block, whatever ends it.

    The workers are forked from one server process that has imported torch and Lightning already,
    while this process goes on with its own start-up.

    Args:
        workers: number of processes, >= 1. The processes of a launched world train together, and
            are there already.
    """
    if (team := current_team()) is not None:
        yield team
        return
    prepare_environment()
    kind = "forkserver" if sys.platform != "win32" else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(["studies.engine.preload"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    # The server answers only when it has imported everything: a thread waits for it.
    starter = threading.Thread(target=_start_first, args=(pool,), name="start of the workers")
    starter.start()
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        starter.join()
        # Children first: one that is still starting would miss what the pool shares with it.
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        for child in children:
            child.join(timeout=10)
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def default_workers(accelerator: str = "auto") -> int:
    """One worker per core that this process may use; one where an accelerator is asked for, or
    where the processes of a launched world train each run together.
    """
    if accelerator not in ("auto", "cpu") or launched_world().size > 1:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_first(pool: Executor) -> None:
    """Start the server process and the first worker.

    They inherit this thread's mask, and so never see Ctrl-C, which reaches the whole process group,
    nor SIGTERM, which a scheduler sends to every process of a job: the main process decides what
    happens.
    """
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    pool.submit(_warm_up)


def _warm_up() -> None:
    """Start the server process and the first worker early."""


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the main process decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    tasks.use_one_thread()


def _obey_parent() -> None:
    """End this worker at a SIGTERM of the main process, and of no other.

    Under a scheduler's, which reaches every process of a job, the main process would find its
    workers dead, and in the middle of a training Lightning would leave with its own exception.
    """
    parent = multiprocessing.parent_process()
    while (received := signal.sigwaitinfo({signal.SIGTERM})) is not None:
        if parent is not None and received.si_pid == parent.pid:
            os._exit(128 + signal.SIGTERM)


def _leave_with_parent() -> None:
    """End this worker when the main process is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
