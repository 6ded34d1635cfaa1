"""Optuna's storage: the queue of proposals and the ledger of finished runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.engine.errors import UserError
from studies.engine.locks import JournalLock
from studies.engine.run import Plain, Result, Run
from studies.engine.secrets import mask
from studies.engine.troubles import reason

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import TrialState

    from studies.engine.patience import PatientStorage

__all__ = [
    "JournalLock",
    "Ledger",
    "delete_studies",
    "end_trial",
    "open_storage",
    "open_study",
    "storage_file",
]

# Longer than the slowest disk takes to create the tables.
_CREATION_SECONDS = 120.0
# Results in one trial of the ledger: a trial costs a storage far more than what it holds, but the
# text columns of some databases take no more than 64 kB.
_TOGETHER = 8


def open_storage(url: str | None, output: Path, limit: float = 600.0) -> PatientStorage:
    """Open Optuna's storage, creating it if it is not there.

    Args:
        url: `postgresql://...`, `sqlite:///FILE` or another database that SQLAlchemy knows;
            `grpc://HOST:PORT`, Optuna's proxy (`python -m studies.proxy`); or the path of a
            journal file. None means `output`/study.journal.
        output: the study's results folder, which exists.
        limit: seconds to wait for a storage that goes away later on; one that is away now is an
            error.

    Returns:
        The storage, which threads may share.

    Raises:
        UserError: the storage cannot be opened, or is not ours to write to; it is as it was before.
            Credentials in the URL are masked.
    """
    import optuna
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from studies.engine.patience import PatientStorage

    # Optuna would report every failed read of a database; PatientStorage does that, once.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    file = storage_file(url, output)
    shown = mask(url or str(file))
    try:
        storage = _open(url, file, output)
    except ArgumentError as error:
        raise UserError(
            f"The storage {shown} is no address that can be read; use the path of a journal file, "
            "sqlite:///FILE, postgresql://USER:PASSWORD@HOST:PORT/DATABASE (special characters as "
            "%XX) or grpc://HOST:PORT."
        ) from error
    except AssertionError as error:
        # Optuna's word for a kind of record that it does not know.
        raise UserError(
            f"The storage {shown} holds records of a newer Optuna than {optuna.__version__}; "
            "pip install -U optuna, or name another."
        ) from error
    except (SQLAlchemyError, OptunaError, OSError) as error:
        raise UserError(f"The storage {shown} cannot be opened: {reason(error)}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The storage {shown} cannot be opened or is not one of Optuna's: {reason(error)}."
        ) from error
    return PatientStorage(storage, shown, limit=limit)


def _open(url: str | None, file: Path | None, output: Path) -> BaseStorage:
    from filelock import FileLock

    from studies.engine.database import open_database, open_proxy

    if url is not None and url.startswith("grpc://"):
        return open_proxy(url)
    if url is not None and url.startswith("postgres"):
        return open_database(url)
    # Several processes that create one store at the same moment break it.
    with FileLock(f"{file or output / 'storage'}.lock", timeout=_CREATION_SECONDS):
        if url is not None and "://" in url:
            return open_database(url)
        from optuna.storages import JournalStorage

        from studies.engine.journal import Journal

        assert file is not None
        return JournalStorage(Journal(file))


def storage_file(url: str | None, output: Path) -> Path | None:
    """The file behind a storage, absolute; None for a server."""
    if url is None:
        return (output / "study.journal").resolve()
    if found := re.match(r"sqlite(\+\w+)?:///([^?]+)", url):
        return Path(found[2]).resolve()
    return None if "://" in url else Path(url).resolve()


def open_study(storage: BaseStorage, name: str) -> optuna.Study:
    """The Optuna study of this name, created if it is not there; larger values are better."""
    import optuna

    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )


def end_trial(storage: BaseStorage, trial: int, state: TrialState) -> bool:
    """End a trial; returns False if it had ended before.

    Args:
        storage: an open Optuna storage.
        trial: its id.
        state: COMPLETE, with a value of 0, or FAIL.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        values = [0.0] if state == TrialState.COMPLETE else None
        return storage.set_trial_state_values(trial, state, values)
    except UpdateFinishedTrialError:
        return False


def delete_studies(storage: BaseStorage, name: str) -> None:
    """Remove every Optuna study that belongs to the study `name`, except who serves it."""
    import optuna

    for known in optuna.get_all_study_names(storage):
        if known.startswith(f"{name}#") and not known.endswith("#members"):
            optuna.delete_study(study_name=known, storage=storage)


class Ledger:
    """Results of finished runs by key, kept in the trials of one Optuna study, some in each.

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
        results = [
            Result.from_dict(plain)
            for trial in trials[self._read :]
            for plain in _results_in(trial.user_attrs)
        ]
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

    def add(self, *results: Result) -> None:
        """Store finished runs; from here on they are never trained again."""
        import optuna

        missing = {r.key: r for r in results if r.key not in self._results}
        new = list(missing.values())
        for start in range(0, len(new), _TOGETHER):
            some = new[start : start + _TOGETHER]
            self._study.add_trial(
                optuna.trial.create_trial(
                    value=max(result.val_accuracy for result in some),
                    user_attrs={"results": [result.to_dict() for result in some]},
                )
            )
            self._results |= {result.key: result for result in some}

    def remember(self, name: str, value: Plain) -> None:
        """Keep plain data beside the results (what was learned of data and network)."""
        self._study.set_user_attr(name, value)

    def recall(self, name: str) -> Plain | None:
        """What `remember` kept, or None."""
        value = self._study.user_attrs.get(name)
        return None if value is None else dict(value)


def _results_in(attributes: Mapping[str, Any]) -> Sequence[Plain]:
    """The results in a trial of the ledger; in older ledgers there is one in each."""
    return attributes["results"] if "results" in attributes else [attributes["result"]]
