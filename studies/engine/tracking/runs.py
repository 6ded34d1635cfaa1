"""Studies, groups and runs as nested MLflow runs, each written once."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from studies.engine.tracking.catalogue import PARENT_TAG, Catalogue, Known
from studies.engine.tracking.entries import Entries
from studies.engine.tracking.records import Record
from studies.engine.tracking.store import store_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE_TAG = "mlflow.note.content"


class RunStore:
    """Writes records through one client; used by one thread at a time.

    Nesting is by the tag `mlflow.parentRunId`. Further tags identify what is there already:
    `kind` (study, group or run), `study_id`, `group_id`, `run_key`, and on all below a study
    `study_run`, the MLflow id of the study's run. Every method may be repeated, whatever became
    of the call before; after a failure `forget` must be called.

    Args:
        client: The client.
        experiment_id: The experiment of all runs.
        tags: Tags for every run.
        lock: Makes the lock under which several processes look for a run before creating it.

    Source: derived.
    """

    def __init__(
        self,
        client: "MlflowClient",
        experiment_id: str,
        tags: Mapping[str, str],
        lock: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._client = client
        self._entries = Entries(client, experiment_id, tags)
        self._lock = lock
        self._catalogue = Catalogue(client, experiment_id)

    def forget(self) -> None:
        """Look again at what the store holds before anything else is written."""
        self._catalogue.forget()

    @property
    def in_bulk(self) -> bool:
        """Whether the store takes many finished runs at once."""
        return self._entries.in_bulk

    def together(self) -> AbstractContextManager[None]:
        """Write the finished runs of the block at its end: all or none."""
        return self._entries.together()

    def disconnect(self) -> None:
        """Close the connections with a database; they are opened again when they are needed."""
        self._entries.disconnect()

    def answers(self) -> bool:
        """Ask the store something small; raises what it raises."""
        self._client.search_experiments(max_results=1)
        return True

    def study(self, study_id: str, record: Record, late: bool = False) -> bool:
        """Open or reopen the run of a study; `late`: unless it was written later than this."""
        known, created = self._root(study_id, record)
        if created or (late and _outdated(known, record)):
            return created
        return self._entries.update(known, record)

    def group(self, study_id: str, group_id: str, record: Record, late: bool = False) -> bool:
        """Write or update a trial or an arm; False if nothing was new."""
        known, created = self._group(study_id, group_id, record)
        if created or (late and _outdated(known, record)):
            return created
        return self._entries.update(known, record)

    def run(self, study_id: str, group_id: str, key: str, record: Record) -> bool:
        """Write one run under its group; False if it is there already."""
        group, _ = self._group(study_id, group_id, _placeholder(group_id, record))
        siblings = self._catalogue.children(group.run_id)
        known = siblings.get(key)
        if known is not None:
            return self._entries.complete(known, record)
        root_id = group.tags[PARENT_TAG]
        tags = {"kind": "run", "run_key": key, "study_run": root_id, PARENT_TAG: group.run_id}
        siblings[key] = self._entries.create(record, tags)
        return True

    def single(self, own_id: str, key: str, record: Record) -> bool:
        """Write one finished training that belongs to no study; False if it is there already."""
        known = self._catalogue.root(own_id)
        if known is not None:
            return self._entries.complete(known, record)
        tags = {"kind": "run", "run_key": key, "study_id": own_id}
        self._catalogue.add_root(own_id, self._entries.create(record, tags))
        return True

    def end(
        self,
        study_id: str,
        status: str,
        time_ms: int,
        *,
        late: bool = False,
        open_only: bool = False,
    ) -> bool:
        """Close a study's run and whatever is still open below it.

        What a finished study has left open belongs to arms that a longer search has replaced.

        Args:
            study_id: The study; one that is not in the store is left so.
            status: How it ended.
            time_ms: When, milliseconds since 1970.
            late: Leave a study alone that was ended later than this.
            open_only: Leave the status of a study that has ended.
        """
        root = self._catalogue.root(study_id)
        if root is None or (late and root.ended_after(time_ms)):
            return False
        closed = False
        for group in self._catalogue.children(root.run_id).values():
            for run in self._catalogue.children(group.run_id).values():
                closed |= self._entries.close(run, "interrupted", time_ms)
            rest = "superseded" if status == "finished" else "interrupted"
            closed |= self._entries.close(group, rest, time_ms)
        if not root.open and (open_only or root.tags.get("status") == status):
            return closed
        self._client.set_tag(root.run_id, "status", status)
        self._entries.set_status(root, status, time_ms)
        return True

    def note(self, study_id: str, group_id: str | None, text: str) -> bool:
        """Set the description of a study or group; False if it is there already."""
        known = self._resolve(study_id, group_id)
        if known.tags.get(NOTE_TAG) == text:
            return False
        self._client.set_tag(known.run_id, NOTE_TAG, text)
        known.tags[NOTE_TAG] = text
        return True

    def text(self, study_id: str, group_id: str | None, text: str, file: str) -> bool:
        """Store a text as an artefact of a study or group."""
        self._client.log_text(self._resolve(study_id, group_id).run_id, text, file)
        return True

    def file(self, study_id: str, group_id: str | None, path: Path, folder: str | None) -> bool:
        """Copy a file into the artefacts of a study or group."""
        store_file(self._client, self._resolve(study_id, group_id).run_id, path, folder)
        return True

    def _resolve(self, study_id: str, group_id: str | None) -> Known:
        if group_id is None:
            return self._root(study_id, Record(study_id, status="running"))[0]
        return self._group(study_id, group_id, Record(group_id, status="running"))[0]

    def _root(self, study_id: str, record: Record) -> tuple[Known, bool]:
        """Return a study's run and whether it was created by this call."""
        known = self._catalogue.root(study_id)
        if known is not None:
            return known, False
        with self._lock():  # another process may have made it
            known = self._catalogue.root(study_id)
            if known is not None:
                return known, False
            created = self._entries.create(record, {"kind": "study", "study_id": study_id})
            return self._catalogue.add_root(study_id, created), True

    def _group(self, study_id: str, group_id: str, record: Record) -> tuple[Known, bool]:
        """Return a group and whether it was created by this call."""
        root, _ = self._root(study_id, _placeholder(study_id, record))
        siblings = self._catalogue.children(root.run_id)
        if group_id in siblings:
            return siblings[group_id], False
        with self._lock():
            found = self._catalogue.find_group(root.run_id, group_id)
            if found is not None:
                siblings[group_id] = found
                return found, False
            tags = {
                "kind": "group",
                "group_id": group_id,
                "study_run": root.run_id,
                PARENT_TAG: root.run_id,
            }
            siblings[group_id] = self._entries.create(record, tags)
        return siblings[group_id], True


def _placeholder(name: str, record: Record) -> Record:
    """What stands for a parent that was never recorded itself."""
    return Record(name, status="running", start_ms=record.start_ms, time_ms=record.time_ms)


def _outdated(known: Known, record: Record) -> bool:
    """Whether a record that comes late would undo what was written after it was made."""
    return known.ended_after(record.time_ms, opening=record.status == "running")
