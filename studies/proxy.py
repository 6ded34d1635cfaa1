"""Serve a database to many workers through Optuna's gRPC proxy.

    python -m studies.proxy --storage postgresql://user:password@host/database

Workers name it as their storage: `--storage grpc://127.0.0.1:13000`. The proxy needs few
connections to the database, keeps the password of the database to itself, and caches what is
finished. It asks nobody for a password, so it listens on this machine alone unless --host says
otherwise.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from studies.engine.cli import parse, run_main
from studies.engine.errors import UserError
from studies.engine.secrets import mask


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class ProxyOptions:
    """Options of `python -m studies.proxy`."""

    storage: str | None = _option(None, "the database: postgresql://USER:PASSWORD@HOST/DATABASE")
    host: str = _option("127.0.0.1", "address to listen on; 127.0.0.1 is this machine alone")
    port: int = _option(13000, "port to listen on")

    def __post_init__(self) -> None:
        """Refuse a port that is none."""
        if not 1 <= self.port <= 65535:
            raise UserError(f"--port must be from 1 to 65535, got {self.port}.")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the options, serve until interrupted, and leave the process."""

    def body() -> int:
        options = parse(
            ProxyOptions,
            argv,
            prog="python -m studies.proxy",
            description="Serve a database to many workers through Optuna's gRPC proxy.",
        )
        return serve(options)

    run_main(body, interrupted="Stopped.")


def serve(options: ProxyOptions) -> int:
    """Serve until the process ends; returns 0.

    Raises:
        UserError: no database is named, it cannot be opened, grpcio is missing, or the port is
            taken.
    """
    from studies.engine.database import require_grpc
    from studies.engine.storage import open_storage

    url = options.storage
    if url is None or "://" not in url or url.startswith("grpc://"):
        raise UserError(
            "The proxy stands in front of a database: name one with --storage, as in "
            "postgresql://USER:PASSWORD@HOST/DATABASE"
            + ("." if url is None else f", not {mask(url)}.")
        )
    require_grpc()
    _check_port(options.host, options.port)
    import optuna
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import run_grpc_proxy_server

    storage = open_storage(url, Path(tempfile.gettempdir()))
    # Trials that are being filled in go on after a restart of the proxy only if its cache, which
    # Optuna asks for their study, knows them.
    for name in optuna.get_all_study_names(storage):
        optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    print(f"Serving {mask(url)} at grpc://{options.host}:{options.port}", flush=True)
    if not _is_loopback(options.host):
        print("Whoever reaches this port can read and change the studies.", flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        run_grpc_proxy_server(storage, host=options.host, port=options.port)
    return 0


def _check_port(host: str, port: int) -> None:
    """Make sure that nobody listens there: gRPC would share the port without a word.

    Raises:
        UserError: somebody does, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), port), family=family).close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(
            f"The proxy cannot listen on {host}:{port} ({why}); choose another --port or --host."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
