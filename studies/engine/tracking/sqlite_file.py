"""The file of an SQLite tracking store: checked, created whole, guarded by a lock."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from studies.engine.tracking.errors import StoreAwayError, TrackingError, is_away

_BUSY_TIMEOUT_S = 4
_LOCK_TIMEOUT_S = 60.0  # in the background
_START_LOCK_TIMEOUT_S = 10.0


@contextmanager
def file_lock(file: Path | None) -> Iterator[None]:
    """Hold the lock `<file>.lock` of an SQLite store; without a file, hold nothing.

    Raises:
        StoreAwayError: Another process held the lock for a minute (10 s where a user waits).

    Source: derived.
    """
    if file is None:  # database servers serialise their writers themselves
        yield
        return
    from filelock import FileLock, Timeout

    waiting = threading.current_thread() is threading.main_thread()
    timeout = _START_LOCK_TIMEOUT_S if waiting else _LOCK_TIMEOUT_S
    lock = FileLock(f"{file}.lock", timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise StoreAwayError(
            f"another process has held {file}.lock for {timeout:.0f} s; end it or remove that file"
        ) from None
    try:
        yield
    finally:
        lock.release()


def prepare_file(file: Path) -> None:
    """Make sure that an SQLite store can be made at `file`, or that the one there is usable.

    An existing store is set to write-ahead logging, which MLflow keeps (several processes then
    write at twice the rate).

    Raises:
        StoreAwayError: The file is locked, or the disk is full.
        TrackingError: The folder is missing or not writable, or the file is not an SQLite
            database of MLflow that can be written.

    Source: derived; https://www.sqlite.org/wal.html.
    """
    folder = file.parent
    try:
        folder.mkdir(exist_ok=True)  # not parents: a mistyped path is an error
        with (folder / f"{file.name}.lock").open("a"):
            pass
    except OSError as error:
        kind = StoreAwayError if is_away(error) else TrackingError
        raise kind(
            f"the tracking store {file} cannot be made: {error.strerror or error}; name an "
            "existing, writable folder in the tracking URI"
        ) from None
    if file.is_dir():
        raise TrackingError(f"the tracking store {file} is a folder; name a file in it")
    if not has_content(file):
        return
    connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S)
    try:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        connection.execute("BEGIN IMMEDIATE").connection.rollback()
        if "experiments" in tables:
            with suppress(sqlite3.OperationalError):  # in use: the mode stays as it is
                connection.execute("PRAGMA journal_mode=wal")
    except sqlite3.DatabaseError as error:
        kind = StoreAwayError if is_away(error) else TrackingError
        raise kind(
            f"the tracking store {file} cannot be written ({error}); free it or name another "
            "file in the tracking URI"
        ) from None
    finally:
        connection.close()
    if "experiments" not in tables:
        raise TrackingError(
            f"{file} is an SQLite database, but not one of MLflow; name another file in the "
            "tracking URI"
        )


def has_content(file: Path) -> bool:
    """Whether there is a non-empty file."""
    return file.exists() and file.stat().st_size > 0


def create_file(file: Path, artifact_location: str) -> None:
    """Create the SQLite store of MLflow at `file`; the caller holds the lock.

    It is made under another name and renamed at the end: what is there is always whole.

    Source: derived.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Engine, event

    half_made = file.with_name(f"{file.name}.creating")
    for left_over in file.parent.glob(f"{half_made.name}*"):
        left_over.unlink()

    def no_sync(connection: sqlite3.Connection, _record: Any) -> None:
        # The migrations wait for the disk after each step, up to 7 s in all, for a file that is
        # synced as a whole below.
        if half_made.name in str(connection.execute("PRAGMA database_list").fetchall()):
            connection.execute("PRAGMA synchronous=off")

    event.listen(Engine, "connect", no_sync)
    try:
        make: Callable[[str, str], SqlAlchemyStore] = SqlAlchemyStore
        make(f"sqlite:///{half_made}", artifact_location).engine.dispose()
    finally:
        event.remove(Engine, "connect", no_sync)
    connection = sqlite3.connect(half_made)
    connection.execute("PRAGMA journal_mode=wal")
    connection.close()
    with half_made.open("rb+") as handle:
        os.fsync(handle.fileno())
    half_made.replace(file)
