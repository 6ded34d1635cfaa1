"""Open MLflow's UI on the store where the studies record their runs.

    python -m studies.ui [--port 5000] [--tracking-uri URI]

Serves this machine only, with one worker, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from studies.engine.cli import run_main
from studies.engine.errors import UserError
from studies.engine.records import sentence
from studies.engine.tracking import TrackingConfig, TrackingError, load_tracking_config
from studies.engine.tracking.ui import HOST, SWITCHES, ui_arguments


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the arguments and become MLflow's server, or leave with what is in its way."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.ui",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=5000, help="port on the loopback address")
    parser.add_argument("--tracking-uri", help="the store (default: mlflow.yaml)")
    options = parser.parse_args(argv)
    run_main(lambda: serve(options.port, options.tracking_uri), interrupted="")


def serve(port: int, tracking_uri: str | None = None) -> int:
    """Replace this process by MLflow's server; for a store that is a server, print its address.

    Args:
        port: port on the loopback address.
        tracking_uri: the store; None takes the configured one.

    Raises:
        UserError: a store that is not there or cannot be understood, or a port that is no port or
            taken.
    """
    try:
        config = load_tracking_config(tracking_uri=tracking_uri)
    except TrackingError as error:
        raise UserError(sentence(error)) from error
    if config.is_server:
        print(f"The runs are on a server, open {config.masked_uri}")
        return 0
    check_store(config)
    check_port(port)
    print(f"MLflow UI: http://{HOST}:{port}/#/experiments?workflowType=machine_learning")
    print("It takes some seconds to start; Ctrl-C ends it.", flush=True)
    store = {"MLFLOW_BACKEND_STORE_URI": config.tracking_uri}
    arguments = [sys.executable, *ui_arguments(config, port=port)]
    os.execve(sys.executable, arguments, {**os.environ, **SWITCHES, **store})


def check_store(config: TrackingConfig) -> None:
    """See that a store in a file is there, for MLflow would make an empty one.

    Raises:
        UserError: it is not.
    """
    file = config.database_file
    if file is not None and not file.exists():
        raise UserError(
            f"There is no store {file} yet; run a study first, or name another with --tracking-uri."
        )


def check_port(port: int) -> None:
    """See that a port can be served.

    Raises:
        UserError: it is no port, or another program has it.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"--port must be between 1 and 65535, got {port}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"Port {port} cannot be served ({(error.strerror or str(error)).lower()}); name "
                "another with --port."
            ) from error


if __name__ == "__main__":
    main()
