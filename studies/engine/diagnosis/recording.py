"""A diagnosis in MLflow: one run per initialiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studies.engine.diagnosis.measuring import Measured
from studies.engine.diagnosis.options import DiagnoseOptions
from studies.engine.records import open_tracker
from studies.engine.run import content_hash
from studies.engine.tracking import TrackingConfig, environment_tags


def record(
    options: DiagnoseOptions,
    config: TrackingConfig,
    measured: Sequence[Measured],
    paths: Sequence[Path],
    command: str,
) -> str | None:
    """Record every initialiser's summary, with the files as artefacts; returns what was lost.

    Raises:
        UserError: the store cannot be used.
    """
    tracker = open_tracker(
        config, "diagnose", paths[0].parent, "Networks measured at initialisation"
    )
    with tracker:
        for one in measured:
            params = {
                "network": options.network,
                "data": options.data,
                "batch_size": options.batch_size,
                "seeds": options.seeds,
            }
            plain = one.initializer.to_dict()
            run = tracker.log_single(
                content_hash([params, plain, command]),
                f"{one.label} {options.network} {options.data}",
                params={"initializer": plain.pop("name"), **plain, **params},
                tags={**environment_tags(), "stage": "diagnose", "command": command},
                metrics=one.summary(),
            )
            for path in paths:
                tracker.log_artifact_file(run, path)
        return tracker.close().message
