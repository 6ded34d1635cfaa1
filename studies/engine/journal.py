"""The embedded storage: Optuna's journal, whose lines are whole or not there at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO, cast

from optuna.storages.journal import JournalFileBackend

from studies.engine.locks import JournalLock

# Every record of Optuna begins with this, every other file is somebody else's.
_START = b'{"op_code"'
_BLOCK = 1 << 16


class Journal(JournalFileBackend):
    """A journal file that stays readable whatever happens in the middle of an append.

    Optuna's own leaves half a line behind when the disk is full or its process is killed, and the
    next append, of any process, makes one unreadable line of the two. Here an append that fails is
    cut back, and half a line of a dead process is cut off before the next one. A file that is gone
    is not created anew by an append, which would begin a second, empty history.

    Appends hold the lock, readers do not: they never take a line for whole that lacks its end. Only
    where the disk reports that it is full after it took the whole line (some network file systems
    do, on fsync) may a reader on the same machine have seen a line that is then cut off.

    Args:
        path: the file; created if it is not there.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is not a journal; it is left alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = JournalLock(path)
        if path.exists():
            with path.open("rb") as file:
                start = file.read(len(_START))
            if not _START.startswith(start):
                raise ValueError("the file is there and is no journal")
        # Optuna keeps the base class of its locks private.
        super().__init__(str(path), lock_obj=cast(Any, self._mutex))
        self.append_logs([])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records to the disk, all of them or none.

        Args:
            logs: records as plain data; none only cuts off what a dead process left unfinished.

        Raises:
            OSError: the disk is full or gone, and the file is as it was before.
        """
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs).encode()
        self._mutex.acquire()
        try:
            with self._path.open("r+b", buffering=0) as file:
                end = _whole_lines(file)
                file.seek(end)
                try:
                    left = memoryview(lines)
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
        finally:
            self._mutex.release()


def _whole_lines(file: BinaryIO) -> int:
    """Cut off an unfinished last line; the length in bytes that is left."""
    size = end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - (1 if end == size else _BLOCK))
        file.seek(start)
        if (newline := file.read(end - start).rfind(b"\n")) >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)
    return end
