"""Optuna's storage: the queue of proposals and the ledger of finished runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from studies.engine.errors import UserError
from studies.engine.run import Plain, Result, Run
from studies.engine.secrets import mask

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage


def open_storage(url: str | None, output: Path) -> BaseStorage:
    """Open Optuna's storage, creating it under a file lock.

    Args:
        url: a database URL, or the path of a journal file; None means `output`/study.journal.
        output: the study's results folder, which exists.

    Raises:
        UserError: the storage cannot be opened; credentials in the URL are masked.
    """
    import optuna
    from filelock import FileLock
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    file = storage_file(url, output)
    try:
        # Several processes that create one store at the same moment break it.
        with FileLock(f"{file or output / 'storage'}.lock"):
            if file is None or (url is not None and "://" in url):
                return RDBStorage(str(url))
            lock = JournalLock(file)
            lock.acquire()
            try:
                _repair(file)
            finally:
                lock.release()
            # Optuna keeps the base class of its locks private.
            return JournalStorage(JournalFileBackend(str(file), lock_obj=cast(Any, lock)))
    except ImportError as error:
        raise UserError(
            f"The storage {mask(str(url))} needs a database driver that is not installed; "
            "for PostgreSQL: pip install psycopg2-binary."
        ) from error
    except (SQLAlchemyError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        shown = mask(url or str(file))
        reason = mask((str(error).splitlines() or [""])[0]).rstrip(".")
        raise UserError(
            f"The storage {shown} cannot be opened or is not one of Optuna's: {reason}."
        ) from error


def storage_file(url: str | None, output: Path) -> Path | None:
    """The file behind a storage, absolute; None for a database server."""
    if url is None:
        return (output / "study.journal").resolve()
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///").partition("?")[0]).resolve()
    return None if "://" in url else Path(url).resolve()


def _repair(journal: Path) -> None:
    """Cut off a last line that a full disk or a power cut left unfinished.

    Raises:
        ValueError: the file is not a journal.
    """
    content = journal.read_bytes() if journal.exists() else b""
    if content and not content.startswith(b'{"op_code"'):
        raise ValueError("the file is there and is no journal")
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


class JournalLock:
    """A lock for Optuna's journal that the system releases when its holder dies.

    Optuna's own is a file that a killed process leaves behind: the next start would wait for it
    for half a minute or, where the journal's path is relative, for ever.

    Args:
        path: the journal file.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        self._lock = FileLock(f"{path}.flock")

    def acquire(self) -> bool:
        """Wait for the lock; True once it is held."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def open_study(storage: BaseStorage, name: str) -> optuna.Study:
    """The Optuna study of this name, created if it is not there; larger values are better."""
    import optuna

    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )


def delete_studies(storage: BaseStorage, name: str) -> None:
    """Remove every Optuna study that belongs to the study `name`, except who serves it."""
    import optuna

    for known in optuna.get_all_study_names(storage):
        if known.startswith(f"{name}#") and not known.endswith("#members"):
            optuna.delete_study(study_name=known, storage=storage)


class Ledger:
    """Results of finished runs by key, kept as trials of one Optuna study.

    Args:
        storage: an open Optuna storage.
        name: the study's name.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.storage, self.name = storage, name
        self._open()

    def _open(self) -> None:
        self._study = open_study(self.storage, f"{self.name}#runs")
        self._results: dict[str, Result] = {}
        self._read = 0
        self.refresh()

    def refresh(self) -> set[str]:
        """Take over what other processes have added; returns the keys of new results."""
        trials = self._study.get_trials(deepcopy=False)
        results = [Result.from_dict(trial.user_attrs["result"]) for trial in trials[self._read :]]
        self._read = len(trials)
        new = {result.key: result for result in results if result.key not in self._results}
        self._results |= new
        return set(new)

    def clear(self) -> None:
        """Discard every result and proposal of the study, and its configuration."""
        delete_studies(self.storage, self.name)
        self._open()

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def __getitem__(self, key: str) -> Result:
        return self._results[key]

    def get(self, run: Run) -> Result | None:
        """The run's result, or None if it was not trained yet."""
        return self._results.get(run.key)

    def __len__(self) -> int:
        return len(self._results)

    def add(self, result: Result) -> None:
        """Store a finished run; from here on it is never trained again."""
        import optuna

        if result.key in self._results:
            return
        self._study.add_trial(
            optuna.trial.create_trial(
                value=result.val_accuracy, user_attrs={"result": result.to_dict()}
            )
        )
        self._results[result.key] = result

    def remember(self, name: str, value: Plain) -> None:
        """Keep plain data beside the results (what was learned of data and network)."""
        self._study.set_user_attr(name, value)

    def recall(self, name: str) -> Plain | None:
        """What `remember` kept, or None."""
        value = self._study.user_attrs.get(name)
        return None if value is None else dict(value)
