"""The MLflow UI on a store: the command that opens it, for a shell and for this process."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from studies.engine.tracking.config import TrackingConfig

HOST = "127.0.0.1"
"""Nobody but this machine's users reach the UI."""

# One process instead of four and no job runners: 0.5 GB of memory instead of 3.2.
SWITCHES = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ui_arguments(config: TrackingConfig, *, port: int) -> list[str]:
    """Arguments of the Python interpreter that start the UI on the loopback address.

    The store is not among them, for its address may hold a password that every user of the machine
    would see: give it as `MLFLOW_BACKEND_STORE_URI` in the environment.

    Args:
        config: The store.
        port: Port of the UI.

    Source: derived; the switches are MLflow 3.17's.
    """
    return [
        *["-m", "mlflow", "server", "--workers", "1", "--host", HOST, "--port", str(port)],
        *["--artifacts-destination", config.artifact_location],
    ]


def ui_command(
    config: TrackingConfig, *, port: int = 5000, env: Mapping[str, str] = os.environ
) -> str:
    """Return the command to paste into a shell; for a server just its address.

    The command uses this process's Python, so that it works without an activated environment,
    and starts one worker on the loopback address without MLflow's job runners. It holds no
    password: a database URL with one is passed as `"$MLFLOW_TRACKING_URI"` where it came from
    there, else with `***` for the user to fill in.

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
    words = [shlex.quote(word) for word in (str(python), *ui_arguments(config, port=port))]
    switches = [f"{name}={value}" for name, value in SWITCHES.items()]
    return " ".join([*switches, *words, "--backend-store-uri", store])
