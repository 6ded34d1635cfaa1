"""What can be written: operations as values that apply to a store.

Every operation can be applied twice, or after a newer one, with the result of applying it once:
runs are found by their ids, points and parameters that are there stay, and an operation that was
kept back does not undo what a later start of the study has written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from studies.engine.secrets import mask
from studies.engine.tracking.records import Record, now_ms

if TYPE_CHECKING:
    from studies.engine.tracking.runs import RunStore


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing to be written.

    Attributes:
        study: Id of the study, or of a training that belongs to none.
        late: Whether it comes from an earlier process.

    Source: derived.
    """

    kind: ClassVar[str]
    study: str
    late: bool = False

    @property
    def what(self) -> str:
        """What it writes, for people, without credentials."""
        raise NotImplementedError

    def apply(self, runs: "RunStore") -> bool:
        """Write it; False if there was nothing new. Raises whatever the store raises."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class WriteStudy(Operation):
    """The run of a study is opened, or reopened."""

    kind = "study"
    record: Record

    @property
    def what(self) -> str:
        """See `Operation`."""
        return f"the study {mask(self.record.name)!r}"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.study(self.study, self.record, self.late)


@dataclass(frozen=True, kw_only=True)
class WriteGroup(Operation):
    """A trial or an arm, or what is new about it."""

    kind = "group"
    group: str
    record: Record

    @property
    def what(self) -> str:
        """See `Operation`."""
        return f"group {mask(self.record.name)!r}"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.group(self.study, self.group, self.record, self.late)


@dataclass(frozen=True, kw_only=True)
class WriteRun(Operation):
    """A finished training of a group."""

    kind = "run"
    group: str
    key: str
    record: Record

    @property
    def what(self) -> str:
        """See `Operation`."""
        return f"run {mask(self.record.name)!r}"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.run(self.study, self.group, self.key, self.record)


@dataclass(frozen=True, kw_only=True)
class WriteSingle(Operation):
    """A finished training that belongs to no study."""

    kind = "single"
    key: str
    record: Record

    @property
    def what(self) -> str:
        """See `Operation`."""
        return f"run {mask(self.record.name)!r}"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.single(self.study, self.key, self.record)


@dataclass(frozen=True, kw_only=True)
class EndStudy(Operation):
    """A study's run ends, and with it whatever below it is still open.

    `open_only`: a study that has ended already keeps its status.
    """

    kind = "end"
    status: str
    time_ms: int
    open_only: bool = False

    @property
    def what(self) -> str:
        """See `Operation`."""
        return "the end of the study"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.end(
            self.study, self.status, self.time_ms, late=self.late, open_only=self.open_only
        )


@dataclass(frozen=True, kw_only=True)
class WriteNote(Operation):
    """The description (markdown, masked) of a study or group."""

    kind = "note"
    group: str | None
    text: str

    @property
    def what(self) -> str:
        """See `Operation`."""
        return "the description"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.note(self.study, self.group, self.text)


@dataclass(frozen=True, kw_only=True)
class WriteText(Operation):
    """A text (masked) as an artefact of a study or group."""

    kind = "text"
    group: str | None
    file: str
    text: str

    @property
    def what(self) -> str:
        """See `Operation`."""
        return f"the artefact {mask(self.file)!r}"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.text(self.study, self.group, self.text, self.file)


@dataclass(frozen=True, kw_only=True)
class WriteFile(Operation):
    """A file as an artefact of a study or group; read when it is written."""

    kind = "file"
    group: str | None
    path: Path
    folder: str | None

    @property
    def what(self) -> str:
        """See `Operation`."""
        return f"the artefact {mask(self.path.name)!r}"

    def apply(self, runs: "RunStore") -> bool:
        """See `Operation`."""
        return runs.file(self.study, self.group, self.path, self.folder)


KINDS: Mapping[str, type[Operation]] = {
    kind.kind: kind
    for kind in (
        WriteStudy, WriteGroup, WriteRun, WriteSingle, EndStudy, WriteNote, WriteText, WriteFile
    )
}  # fmt: skip


def end_of_dead(study_id: str) -> EndStudy:
    """What ends the runs that a dead process has left open.

    Source: derived.
    """
    return EndStudy(study=study_id, status="interrupted", time_ms=now_ms(), open_only=True)
