"""Where records go: a store and an experiment in it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studies.engine.secrets import HIDDEN, mask
from studies.engine.tracking.config import TrackingConfig
from studies.engine.tracking.errors import TrackingError
from studies.engine.tracking.fields import TAG_LIMIT, text_fields
from studies.engine.tracking.runs import RunStore
from studies.engine.tracking.sqlite_file import file_lock
from studies.engine.tracking.store import open_client, open_experiment


@dataclass(frozen=True)
class Destination:
    """A store and an experiment.

    Attributes:
        config: The store.
        experiment: Name of the experiment, masked.
        tags: Tags of the experiment, masked.

    Source: derived.
    """

    config: TrackingConfig
    experiment: str
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    def connect(self) -> RunStore:
        """Open store and experiment, creating what is missing.

        Raises:
            StoreAwayError: The store cannot be reached now.
            TrackingError: It cannot be used as it is.
        """
        config = self.config
        client = open_client(config)
        experiment_id = open_experiment(client, config, self.experiment, self.tags)
        return RunStore(client, experiment_id, config.tags, lambda: file_lock(config.database_file))

    def spool_file(self, folder: Path) -> Path:
        """The spool for this destination in an output folder: one each, so that none mix."""
        place = f"{self.config.masked_uri}\n{self.experiment}".encode()
        return folder / f"tracking-{hashlib.sha256(place).hexdigest()[:8]}.jsonl"

    def header(self) -> dict[str, Any]:
        """The destination as plain data without credentials."""
        return {
            "tracking_uri": self.config.masked_uri,
            "experiment": self.experiment,
            "artifact_location": mask(self.config.artifact_location),
            "tags": text_fields(self.config.tags, TAG_LIMIT),
            "experiment_tags": dict(self.tags),
        }

    @classmethod
    def from_header(
        cls, header: Mapping[str, Any], given: TrackingConfig, *, elsewhere: bool
    ) -> "Destination":
        """The destination that `header` speaks of, with the credentials of this process.

        Args:
            header: What `header` returned in the process that failed to deliver.
            given: The configuration of this process.
            elsewhere: Whether `given` is a wish: its store is taken, whatever the header says.

        Raises:
            TrackingError: The address holds a password, which the header does not, and `given` is
                another address.
        """
        uri, artifacts = header["tracking_uri"], header["artifact_location"]
        if elsewhere or HIDDEN in artifacts:
            artifacts = given.artifact_location
        if elsewhere or given.masked_uri == uri:
            uri = given.tracking_uri
        elif HIDDEN in uri:
            raise TrackingError(
                f"the records are for {uri}, whose password is not kept; name the address with its "
                "password in MLFLOW_TRACKING_URI or --tracking-uri"
            )
        config = TrackingConfig(uri, artifact_location=artifacts, tags=header["tags"])
        return cls(config, header["experiment"], header["experiment_tags"])
