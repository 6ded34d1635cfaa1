"""What the store has not got yet, in a file of JSON lines that survives a kill at any byte.

The first line says for which store and experiment the file is. The others are

    {"op": ...}        an operation (`lines.to_plain`), in the order of writing
    {"sitting": ID}    a start of the study ID that has not ended in order
    {"sent": N}        N further operations are in the store, or refused
    {"refused": ...}   an operation that the store did not take; the next start tries it again

Lines are only ever appended, and synced before anybody relies on them. A line without its end is
what a killed process was writing: nobody relied on it, and it is cut off. The file disappears
when everything is sent and the sitting has ended.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.engine.tracking.errors import TrackingError
from studies.engine.tracking.lines import from_plain, to_line, to_plain, without_repeats
from studies.engine.tracking.operations import Operation

PATTERN = "tracking-*.jsonl"
_FORMAT = 1


class DamagedSpoolError(TrackingError):
    """A spool that cannot be read.

    Args:
        damage: What is wrong with it.

    Source: derived.
    """

    def __init__(self, damage: str) -> None:
        super().__init__(
            f"{damage}; restore the file, or delete it: a study that goes on records everything "
            "once more"
        )
        self.damage = damage


class SpoolInUseError(TrackingError):
    """A spool that another process is sending."""


@dataclass(frozen=True)
class SpoolContent:
    """What a spool holds.

    Attributes:
        header: The first line's content: where the operations belong.
        operations: What has not been sent, in order and each once; marked as late.
        sittings: Ids of the studies whose process did not end in order.

    Source: derived.
    """

    header: Mapping[str, Any]
    operations: tuple[Operation, ...]
    sittings: tuple[str, ...]


def read_spool(file: Path) -> SpoolContent:
    """Return what a spool holds; a last line without its end is left out.

    Raises:
        DamagedSpoolError: A line that is no line of a spool; the message names it.
        OSError: The file cannot be read.

    Source: derived.
    """
    home = file.parent.resolve()
    header: dict[str, Any] | None = None
    operations: list[Operation] = []
    refused: list[Operation] = []
    sittings: dict[str, None] = {}
    sent = 0
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], start=1):
        try:
            content = json.loads(line)
            if header is None:
                header = content
                if content["spool"] != _FORMAT:
                    raise DamagedSpoolError(f"{file} was written by another version")
            elif "op" in content:
                operations.append(from_plain(content, home))
            elif "refused" in content:
                refused.append(from_plain(content["refused"], home))
            elif "sitting" in content:
                sittings[str(content["sitting"])] = None
            else:
                sent += int(content["sent"])
        except DamagedSpoolError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DamagedSpoolError(f"line {number} of {file} is damaged") from None
    left = without_repeats([*refused, *operations[sent:]], home)
    return SpoolContent(header or {}, left, tuple(sittings))


class Spool:
    """One process's hold on a spool file; used under its owner's lock.

    Opening takes the lock `<file>.lock`, which the system frees when the process dies, and
    rewrites the file without what was sent.

    Args:
        file: The file; its folder exists.
        header: Where the operations belong (`Destination.header`); None: as in the file.

    Attributes:
        content: What the file held.

    Raises:
        SpoolInUseError: Another process holds it.
        DamagedSpoolError: A line that is no line of a spool.
        OSError: The file cannot be read or written.

    Source: derived.
    """

    def __init__(self, file: Path, header: Mapping[str, Any] | None = None) -> None:
        from filelock import FileLock, Timeout

        self.file = file
        self._home = file.parent.resolve()
        self._lock = FileLock(f"{file}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise SpoolInUseError(
                f"another process is sending {file}; wait for it to end"
            ) from None
        try:
            self.content = read_spool(file) if file.exists() else SpoolContent(header or {}, (), ())
            if not (header or self.content.header):
                raise DamagedSpoolError(f"{file} is empty")
            self._rewrite({"spool": _FORMAT, **(header or self.content.header)})
        except BaseException:
            self._lock.release()
            raise

    def append(self, operations: Iterable[Operation]) -> None:
        """Keep operations; they are on the disk when this returns.

        Raises:
            OSError: The disk is full, for example; the file is then as before.
        """
        self._write(b"".join(self._line(operation) for operation in operations), sync=True)

    def refuse(self, operation: Operation) -> None:
        """Keep an operation that the store did not take for the next process.

        Raises:
            OSError: As for `append`.
        """
        self._write(to_line({"refused": to_plain(operation, self._home)}), sync=True)

    def sitting(self, study_id: str) -> None:
        """Note that this process is recording a study.

        Raises:
            OSError: As for `append`.
        """
        self._write(to_line({"sitting": study_id}), sync=True)

    def sent(self, count: int) -> None:
        """Note that the first `count` operations that were not sent are in the store now.

        Not synced: a note that is lost costs sending once more.

        Raises:
            OSError: As for `append`.
        """
        self._write(to_line({"sent": count}), sync=False)

    def close(self, *, remove: bool) -> None:
        """Let go of the file, and remove it if nothing in it is needed any more."""
        if remove:
            self.file.unlink(missing_ok=True)
        os.close(self._handle)
        self._lock.release()

    def _line(self, operation: Operation) -> bytes:
        return to_line(to_plain(operation, self._home))

    def _write(self, lines: bytes, *, sync: bool) -> None:
        if not lines:
            return
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            if sync:
                os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(lines)

    def _rewrite(self, header: Mapping[str, Any]) -> None:
        """Replace the file by one without what was sent, and open it for appending."""
        lines = [to_line(header)]
        lines += [to_line({"sitting": study_id}) for study_id in self.content.sittings]
        lines += [self._line(operation) for operation in self.content.operations]
        new = self.file.with_name(f"{self.file.name}.new")
        with new.open("wb") as handle:
            handle.write(b"".join(lines))
            handle.flush()
            os.fsync(handle.fileno())
        new.replace(self.file)
        _sync_folder(self._home)
        self._handle = os.open(self.file, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._handle).st_size


def _sync_folder(folder: Path) -> None:
    """Put a new name in a folder on the disk."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
