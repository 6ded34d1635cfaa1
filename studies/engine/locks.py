"""The lock of a journal file."""

from __future__ import annotations

from pathlib import Path

_PATIENCE = 30.0  # seconds


class JournalLock:
    """A lock for Optuna's journal that the system releases when its holder dies.

    Optuna's own is a file that a killed process leaves behind: the next start would wait for it
    for half a minute or, where the journal's path is relative, for ever.

    Args:
        path: the journal file.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        self._path = path
        # It is held for one append, a few milliseconds; filelock would look again after 50.
        self._lock = FileLock(f"{path}.flock", poll_interval=0.003, timeout=_PATIENCE)

    def __reduce__(self) -> tuple[type[JournalLock], tuple[Path]]:
        return JournalLock, (self._path,)

    def acquire(self) -> bool:
        """Wait for the lock; True once it is held.

        Raises:
            TimeoutError: somebody held it for half a minute: a process that was stopped, or a file
                system without locks.
        """
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()
