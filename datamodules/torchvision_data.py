"""Data sets read by torchvision: finding, checking and, if allowed, downloading their files."""

import contextlib
import io
import logging
import socket
import sys
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from datamodules.base import TensorDataModule
from datamodules.errors import DataDamagedError, DataError, DataUnavailableError

_LOG = logging.getLogger(__name__)
_TIMEOUT = 20.0  # seconds without an answer; a firewall that drops packets would block for minutes


class TorchvisionDataModule(TensorDataModule):
    """Base of the data sets whose files torchvision knows.

    Missing files are downloaded into ``root`` once, by one process at a time, unless
    ``download=False``; damaged ones are reported, never deleted.

    Attributes:
        dataset: name of the class in ``torchvision.datasets``.
        archives: the official archives that may lie there instead of the files, in words.
    """

    dataset: str = ""
    archives: str = ""

    def dataset_class(self) -> Any:
        """Return torchvision's class."""
        import torchvision.datasets

        return getattr(torchvision.datasets, self.dataset)

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder, in ``root``, that holds the files."""

    @abstractmethod
    def file_names(self) -> tuple[str, ...]:
        """Return the names of the files that must be in the folder."""

    @abstractmethod
    def damage(self, path: Path) -> str | None:
        """Say what is wrong with an existing file, by its size and header; None if nothing is."""

    def damaged(self, path: Path, what: str) -> DataDamagedError:
        """Return the error that says what is wrong with a file and what to do."""
        return DataDamagedError(
            f"{path} is damaged ({what}): delete it and run again with a network connection to "
            "download it, or put an intact copy there"
        )

    def problem(self, why: str = "") -> DataError | None:
        """Return the error that the state of the files calls for, if any.

        Args:
            why: what stood in the way of a download, inserted after the folder.
        """
        missing = []
        for path in (self.folder / name for name in self.file_names()):
            if not path.is_file():
                missing.append(path.name)
            elif what := self.damage(path):
                return self.damaged(path, what)
        if not missing:
            return None
        return DataUnavailableError(
            f"{self.name} needs the files {', '.join(missing)} in {self.folder}{why}: run once "
            f"with a network connection (and download allowed) to fetch them, or put them there "
            f"(or {self.archives}), or name the folder that holds {self._place()} with "
            "--data-root (root=...)"
        )

    def _place(self) -> str:
        return self.folder.relative_to(self.root).as_posix()

    def prepare_data(self) -> None:
        """Download missing files if that is allowed; Lightning calls it on one process per node.

        Raises:
            DataDamagedError: a file is there but truncated.
            DataUnavailableError: a file is missing and not to be had.
        """
        problem = self.problem()
        if problem is None:
            return
        if not self.options.download:
            raise problem
        lock = FileLock(self.root / f".{self.name}.lock")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            reason = f", which cannot be written ({error.strerror})"
            raise self.problem(reason) or problem from error
        try:
            # Another process may have fetched the files, or been writing them a moment ago.
            problem = self.problem()
            if isinstance(problem, DataUnavailableError):
                self._download()
            elif problem is not None:
                raise problem
        finally:
            lock.release()

    def _download(self) -> None:
        _LOG.info("downloading %s to %s", self.name, self.root)
        # A progress bar is for a person at a terminal; in a log file it is noise.
        quiet = contextlib.nullcontext() if sys.stderr.isatty() else _silence()
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_TIMEOUT)
        try:
            with quiet:
                self.dataset_class()(str(self.root), train=True, download=True)
        except (OSError, RuntimeError) as error:
            # torchvision lists every mirror it tried; the last part of a line is the reason.
            reason = str(error).strip().splitlines()[-1].strip()[-120:]
            raise self.problem(f", and downloading failed ({reason})") or error from error
        finally:
            socket.setdefaulttimeout(timeout)

    def read(self, train: bool) -> Any:
        """Return torchvision's data set of the official train or test part, read from the files.

        Raises:
            DataDamagedError: a file is truncated.
            DataUnavailableError: a file is missing.
        """
        if problem := self.problem():
            raise problem
        return self.open_files(train)

    def open_files(self, train: bool) -> Any:
        """Return torchvision's data set from files that are there and have the right sizes."""
        return self.dataset_class()(str(self.root), train=train, download=False)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
