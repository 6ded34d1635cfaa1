"""Descriptions and artefacts of studies and groups."""

import json
from pathlib import Path

from studies.engine.secrets import mask
from studies.engine.tracking.fields import TAG_LIMIT, cut
from studies.engine.tracking.operations import WriteFile, WriteNote, WriteText
from studies.engine.tracking.records import check_ids
from studies.engine.tracking.writer import BackgroundWriter


class Documents:
    """The part of the tracker that records texts and files; see `Tracker`.

    Args:
        writer: Where everything is queued.

    Source: derived.
    """

    def __init__(self, writer: BackgroundWriter) -> None:
        self._writer = writer

    def set_description(
        self, parent_id: str, markdown: str, *, group_id: str | None = None
    ) -> None:
        """Set the description (markdown) of a study, or of one of its groups."""
        check_ids(parent_id=parent_id, group_id=group_id)
        text = cut(mask(markdown), TAG_LIMIT)
        self._writer.submit(WriteNote(study=parent_id, group=group_id, text=text))

    def log_text(
        self, parent_id: str, text: str, file: str, *, group_id: str | None = None
    ) -> None:
        """Store text as the artefact `file` (`folder/name.md`) of a study, or of a group."""
        check_ids(parent_id=parent_id, group_id=group_id)
        self._writer.submit(WriteText(study=parent_id, group=group_id, file=file, text=mask(text)))

    def log_dict(
        self, parent_id: str, data: object, file: str, *, group_id: str | None = None
    ) -> None:
        """Store plain data as the JSON artefact `file` of a study, or of a group.

        Raises:
            TypeError: The data are not plain.
        """
        text = json.dumps(data, indent=2, ensure_ascii=False)
        self.log_text(parent_id, text, file, group_id=group_id)

    def log_artifact_file(
        self,
        parent_id: str,
        path: str | Path,
        folder: str | None = None,
        *,
        group_id: str | None = None,
    ) -> None:
        """Copy a file into the artefacts of a study, or of a group, below `folder`.

        The file is read when it is sent: leave it in place until `flush` or `close`, and, if the
        store is away, until the spool is sent. Credentials in a text file (UTF-8) are masked in
        the copy.
        """
        check_ids(parent_id=parent_id, group_id=group_id)
        self._writer.submit(
            WriteFile(study=parent_id, group=group_id, path=Path(path).absolute(), folder=folder)
        )
