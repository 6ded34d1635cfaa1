"""Groups of runs from the queue to this process's workers, and their results into the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool

from datamodules.errors import DataError
from studies.engine import tasks
from studies.engine.errors import UserError
from studies.engine.forms import Form, gather
from studies.engine.members import Members
from studies.engine.queue import Group, Queue
from studies.engine.run import Environment, Result, Run
from studies.engine.storage import Ledger
from studies.engine.train import sentences

OnResults = Callable[[Mapping[str, Result]], None]
"""Is given the results that arrive together, by the keys of their runs."""

# How often to look what other processes did.
_LOOK_SECONDS = 1.0
# A worker that dies takes its group with it; one that dies so often will do so again.
_ATTEMPTS = 3


class Dispatch:
    """Trains what waits in the queue, and sees to it that nothing is lost.

    Args:
        ledger: where results are kept.
        queue: where runs wait.
        members: who serves the study.
        environment: where to train.
        workers: groups that this process trains at a time.
        pool: gives the worker processes; with True, new ones, because one has died.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        members: Members,
        environment: Environment,
        workers: int,
        pool: Callable[[bool], Executor],
    ) -> None:
        self._ledger, self._queue, self._members = ledger, queue, members
        self._environment, self._workers, self._pool = environment, workers, pool
        self._deaths = 0

    def train(self, runs: Sequence[Run], form: Form, on_results: OnResults) -> None:
        """Put runs into the queue and take part in training them until all are in the ledger.

        Args:
            runs: different runs that are not in the ledger.
            form: how they are trained.
            on_results: called in this process with the results that arrive together, by key.
        """
        wanted = {run.key: run for run in runs}
        put: dict[int, list[Run]] = {}
        left = set(wanted)

        def enqueue(group: Sequence[Run]) -> None:
            put[self._queue.put(group)] = list(group)
            left.difference_update(run.key for run in group)

        living = self._living()
        # What a dead process had begun is trained in the same company: a checkpoint may be there.
        for group in self._queue.withdraw(living):
            if left.issuperset(run.key for run in group.runs):
                enqueue(group.runs)
        for group in self._queue.under_way(living):
            put[group.id] = [run for run in group.runs if run.key in left]
            left.difference_update(run.key for run in group.runs)
        workers = self._workers * max(1, len(living))
        for rest in gather([run for key, run in wanted.items() if key in left], form, workers):
            enqueue(rest)

        def look() -> bool:
            arrived = self._ledger.refresh() & wanted.keys()
            if arrived:
                on_results({key: self._ledger[key] for key in arrived})
            for lost in self._queue.lost(put, self._living()):
                missing = [run for run in put.pop(lost) if run.key not in self._ledger]
                if missing:
                    put[self._queue.put(missing)] = missing
            return all(key in self._ledger for key in wanted)

        self.serve(form, look, on_results)

    def serve(
        self,
        form: Form,
        look: Callable[[], bool],
        on_results: OnResults = lambda results: None,
    ) -> None:
        """Train groups from the queue.

        Args:
            form: how.
            look: called now and then, and when nothing is left to do here; True ends the service.
            on_results: called with what was trained here.
        """
        busy: dict[Future[list[Result]], Group] = {}
        ended: dict[Future[list[Result]], Group] = {}
        taken: dict[int, Group] = {}
        looked = time.monotonic()
        try:
            while True:
                # Workers first: what one of them ended is stored while it trains the next.
                while (group := self._take(len(busy))) is not None:
                    taken[group.id] = group
                    busy[self._submit(group, form)] = group
                for future, group in ended.items():
                    self._store(future, on_results)
                    self._queue.done(group)
                    del taken[group.id]
                if not busy or time.monotonic() - looked > _LOOK_SECONDS:
                    looked = time.monotonic()
                    if look() and not busy:
                        return
                if not busy:
                    time.sleep(_LOOK_SECONDS)
                done, _ = wait(busy, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                ended = {future: busy.pop(future) for future in done}
                self._replace_dead(busy, ended, form)
        except BaseException:
            for group in taken.values():
                self._queue.give_back(group)
            raise

    def _replace_dead(
        self,
        busy: dict[Future[list[Result]], Group],
        ended: dict[Future[list[Result]], Group],
        form: Form,
    ) -> None:
        """Train again what was under way when a worker died: all of it went down with the pool."""
        errors = {future: future.exception() for future in ended}
        dead = [future for future in ended if isinstance(errors[future], BrokenProcessPool)]
        if not dead:
            return
        self._deaths += 1
        if self._deaths >= _ATTEMPTS:
            raise UserError(
                "Worker processes died again and again, perhaps for lack of memory; finished "
                "runs are kept: run the same command again, with fewer --workers or a smaller "
                "--stack."
            ) from errors[dead[0]]
        again = [*(ended.pop(future) for future in dead), *busy.values()]
        busy.clear()
        for group in again:
            busy[self._submit(group, form)] = group

    def _store(self, future: Future[list[Result]], on_results: OnResults) -> None:
        """Keep what a group gave."""
        with sentences(DataError):
            results = future.result()
        self._deaths = 0
        new = [result for result in results if result.key not in self._ledger]
        self._ledger.add(*new)
        if new:
            on_results({result.key: result for result in new})

    def _take(self, busy: int) -> Group | None:
        """A group for a worker that is free, or one ahead, so that the next to be free begins at
        once; not one that a worker of another process could begin sooner.
        """
        member = self._members.own
        if member is None or busy > self._workers:
            return None
        if busy < self._workers:
            return self._queue.take(member)
        return self._queue.take(member, spare=self._workers * max(1, len(self._living())))

    def _submit(self, group: Group, form: Form) -> Future[list[Result]]:
        try:
            return self._pool(False).submit(tasks.run_group, group.runs, self._environment, form)
        except BrokenProcessPool:
            pool = self._pool(True)
        return pool.submit(tasks.run_group, group.runs, self._environment, form)

    def _living(self) -> set[int]:
        return {trial._trial_id for trial in self._members.living()}
