"""Signs of life of processes that train together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from studies.engine.link import Link, lost

_PERIOD_SECONDS = 0.5
# Counted in looks, not in seconds: a team that was suspended does not think itself dead.
_LOOKS = 80


class Watch:
    """A thread that shows that this process lives, and looks after the others.

    Process 0 looks after all, the others after process 0; all after the elastic launcher that
    started them. A blocked collective call, which no signal interrupts, does not hold it up. A
    second thread looks after the first, which a network that is down blocks for a quarter of an
    hour.

    Args:
        link: the connection.
        on_end: called once, in one of the threads, when this process cannot go on: with what
            another process reported, or with the error of a lost connection.
    """

    def __init__(self, link: Link, on_end: Callable[[BaseException], None]) -> None:
        self._link, self._on_end = link, on_end
        world = link.world
        others = range(1, world.size) if world.rank == 0 else range(1)
        self._others = [f"alive/{rank}" for rank in others]
        # Only the elastic launcher stays with its processes; what else starts them may leave.
        self._parent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._beats = 0
        self._stopped = threading.Event()
        self._beat()
        link.meet()  # now every process has shown itself
        self._thread = threading.Thread(target=self._look, name="signs of life", daemon=True)
        self._thread.start()
        threading.Thread(target=self._mind, name="signs of looking", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        self._beats += 1
        self._link.store.set(f"alive/{self._link.world.rank}", str(self._beats))

    def _look(self) -> None:
        store, leads = self._link.store, self._link.world.rank == 0
        seen: list[bytes] = [b""] * len(self._others)
        unchanged = [0] * len(self._others)
        while not self._stopped.wait(_PERIOD_SECONDS):
            try:
                self._beat()
                values = store.multi_get(self._others)
                reported = self._link.reported() if leads else None
                over = not leads and self._link.ended()
            except RuntimeError:  # who serves the store is gone
                return self._end(lost(self._link.world))
            if reported is not None:
                return self._end(reported)
            unchanged = [
                same + 1 if value == before else 0
                for same, value, before in zip(unchanged, values, seen, strict=True)
            ]
            seen = values
            orphaned = self._parent is not None and os.getppid() != self._parent
            if over or orphaned or max(unchanged) >= _LOOKS:
                return self._end(lost(self._link.world))
        return None

    def _mind(self) -> None:
        beats, unchanged = self._beats, 0
        while not self._stopped.wait(_PERIOD_SECONDS):
            unchanged = unchanged + 1 if self._beats == beats else 0
            beats = self._beats
            if unchanged >= _LOOKS:
                return self._end(lost(self._link.world))
        return None

    def _end(self, error: BaseException) -> None:
        self._stopped.set()
        self._on_end(error)
