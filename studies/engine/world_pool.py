"""A launched world as a pool: process 0 submits, every process carries out the same."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from studies.engine.world import World

if TYPE_CHECKING:
    from studies.engine.link import Link, Order
    from studies.engine.watch import Watch

# So long a process that failed waits for process 0 to say so and to end: a launcher that sees it
# end first would not let process 0 finish. A process that lost the others leaves after a moment,
# in which the launcher sees who was the first.
_LAST_SECONDS = 50.0
_MOMENT_SECONDS = 1.0


class WorldPool(Executor):
    """Carries out every call in all processes of a world at once, one call after the other.

    Of process 0; the others `serve`. The value of a call is that of process 0. A call that fails in
    any process fails here, and is the last one: the processes may have stopped at different places.

    Calls run in a thread of their own, so that signals reach the main thread while a collective
    operation blocks.

    Args:
        link: the connection with the other processes.
    """

    def __init__(self, link: Link) -> None:
        from studies.engine.watch import Watch

        self._link = link
        self._orders: queue.SimpleQueue[tuple[Future[Any], Order] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._failure: BaseException | None = None
        self._watch = Watch(link, self._fail)
        self._thread = threading.Thread(target=self._work, name="training", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have every process call an importable function; the future is this process's value."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # the others cannot be called back
        with self._lock:
            failure = self._failure
            if failure is None:
                self._pending.add(future)
        if failure is None:
            self._orders.put((future, partial(fn, *args, **kwargs)))
        else:
            future.set_exception(failure)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Send the other processes home, once they have done what was submitted."""
        self._orders.put(None)
        if wait and self._failure is None:
            self._thread.join()

    def dismiss(self) -> None:
        """Have the other processes end at once, whatever they do."""
        with suppress(RuntimeError):  # the store is gone, and they have noticed
            self._link.end()

    def _work(self) -> None:
        from studies.engine import tasks

        tasks.use_one_thread()
        try:
            while (item := self._orders.get()) is not None:
                future, order = item
                self._link.tell(order)
                value = order()
                self._link.meet()
                with self._lock:
                    answered = future not in self._pending
                    self._pending.discard(future)
                if not answered:
                    future.set_result(value)
            self._link.tell(None)
            self._watch.stop()
            self._link.meet()
            self._link.close()
        except BaseException as error:
            self._fail(self._link.explained(error))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is not None:
                return
            self._failure = error
            pending, self._pending = self._pending, set()
        for future in pending:
            future.set_exception(error)


_teams: list[WorldPool] = []


def current_team() -> WorldPool | None:
    """The pool of this process's world, where it leads one."""
    return _teams[-1] if _teams else None


@contextmanager
def leading(world: World) -> Iterator[WorldPool]:
    """Lead a world: within the block, trainings are carried out by all of its processes.

    Leaving by an exception leaves the others waiting, so that no launcher sees them end before this
    process has put things in order; then `dismiss` them.

    Raises:
        UserError: the processes did not find each other.
    """
    from studies.engine.link import Link

    pool = WorldPool(_joined(world, Link))
    _teams.append(pool)
    yield pool
    pool.shutdown()
    _teams.remove(pool)


def dismiss() -> None:
    """Have the other processes end now: the last act of a process 0 that has failed."""
    for pool in _teams:
        pool.dismiss()


def serve(world: World) -> int:
    """Carry out what process 0 orders until it says to leave.

    Ctrl-C reaches every process of a terminal; process 0 decides what happens.

    Returns:
        The exit code, 0. If something failed, here or elsewhere, the process ends with code 1 and
        prints nothing: process 0 was told, and speaks.

    Raises:
        UserError: the processes did not find each other.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    from studies.engine.link import Link
    from studies.engine.watch import Watch

    link = _joined(world, Link)
    watch = Watch(link, lambda error: os._exit(1))
    thread = threading.Thread(target=_follow, args=(link, watch), name="training", daemon=True)
    thread.start()
    thread.join()
    return 0


def _leave(number: int, frame: Any) -> None:
    sys.exit(128 + number)  # without a word, unlike a single process


def _follow(link: Link, watch: Watch) -> None:
    from studies.engine import tasks
    from studies.engine.link import is_lost

    tasks.use_one_thread()
    try:
        while (order := link.hear()) is not None:
            order()
            link.meet()
        watch.stop()
        link.meet()
        link.close()
    except BaseException as error:
        link.report(error)
        time.sleep(_MOMENT_SECONDS if is_lost(error) else _LAST_SECONDS)
        os._exit(1)


def _joined(world: World, link: Callable[[World], Link]) -> Link:
    # In the main thread, before others import: what they need of the heavy libraries is there.
    from studies.engine import worker  # noqa: F401

    return link(world)
