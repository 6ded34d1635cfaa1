"""The shell command that opens the MLflow UI on a store."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from studies.engine.tracking.config import TrackingConfig


def ui_command(
    config: TrackingConfig, *, port: int = 5000, env: Mapping[str, str] = os.environ
) -> str:
    """Return the command to paste into a shell; for a server just its address.

    The command uses this process's Python, so that it works without an activated environment,
    and starts one worker on the loopback address without MLflow's job runners (0.5 GB of memory
    instead of 3.2). It holds no password: a database URL with one is passed as
    `"$MLFLOW_TRACKING_URI"` where it came from there, else with `***` for the user to fill in.

    Args:
        config: The store.
        port: Port of the UI.
        env: The environment.

    Source: derived; the switches are MLflow 3.17's.
    """
    if config.is_server:
        return config.masked_uri
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    store = shlex.quote(config.masked_uri)
    if config.masked_uri != config.tracking_uri == env.get("MLFLOW_TRACKING_URI"):
        store = '"$MLFLOW_TRACKING_URI"'
    return (
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true "
        f"{shlex.quote(str(python))} -m mlflow server --workers 1 --host 127.0.0.1 --port {port} "
        f"--backend-store-uri {store} "
        f"--artifacts-destination {shlex.quote(config.artifact_location)}"
    )
