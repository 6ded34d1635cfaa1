"""Storages behind an address: databases, and Optuna's gRPC proxy in front of one."""

from __future__ import annotations

import importlib.util
import re
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from studies.engine.errors import UserError
from studies.engine.secrets import mask
from studies.engine.troubles import reason

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy.engine import URL, Connection

# Any number that other programs on the server are unlikely to lock as well.
_CREATION = 0x7E54A27
# So that a host that vanished without a word is noticed within a minute; libpq's own defaults
# wait for hours. Seconds, but the last in milliseconds.
_POSTGRES_LIMITS = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}
_SQLITE_BUSY = 30  # seconds
_GRPC_READY = 10.0  # seconds


def open_database(url: str) -> BaseStorage:
    """Open a database as Optuna's storage, with Optuna's cache in front of it.

    On PostgreSQL the creation of the tables is serialised in the server, over all hosts. A database
    that holds another program's or another Optuna's tables is refused before anything is written.

    Args:
        url: SQLAlchemy's form; `postgresql://` takes the driver that is installed.

    Raises:
        UserError: another program's or another Optuna's tables, or no driver.
        Exception: of SQLAlchemy and Optuna, for what else may fail.
    """
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(_with_driver(url))
    except ValueError as error:
        raise ArgumentError("the port is no number") from error
    options = _engine_options(address)
    ours = address.render_as_string(hide_password=False)
    try:
        engine = create_engine(address, poolclass=NullPool, **options)
    except ImportError as error:
        raise UserError(
            f"The storage {mask(url)} needs a database driver that is not installed "
            f"({error.name}); for PostgreSQL: pip install psycopg2-binary."
        ) from error
    with ExitStack() as held:
        connection = held.enter_context(engine.connect())
        if address.get_backend_name() == "postgresql":
            # Until the transaction ends with this block.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION})
            exists = _is_optunas(connection, url)
        else:
            exists = _is_optunas(connection, url)
            held.close()  # on SQLite it would be in its own way
        try:
            # Optuna fills in templates like {SCHEMA_VERSION}; a password's braces are none.
            storage = RDBStorage(
                ours.replace("{", "{{").replace("}", "}}"), options, skip_table_creation=exists
            )
        except RuntimeError as error:
            raise UserError(_other_version(mask(url), str(error))) from error
    return get_storage(storage)


def open_proxy(url: str) -> BaseStorage:
    """Open Optuna's gRPC proxy.

    Args:
        url: grpc://host:port.

    Raises:
        UserError: grpcio is missing, the address is malformed, or no proxy answers there.
    """
    host, port = _host_and_port(url)
    require_grpc()
    import grpc
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import GrpcStorageProxy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = GrpcStorageProxy(host=host, port=port)
    try:
        storage.wait_server_ready(timeout=_GRPC_READY)
        storage.get_study_id_from_name("")  # does it speak our language?
    except KeyError:
        pass  # it does, and has no such study
    except (ConnectionError, grpc.RpcError) as error:
        raise UserError(
            f"No storage proxy answers at {mask(url)} ({reason(error)}); start one there with "
            f"python -m studies.proxy --storage URL --host {host} --port {port}."
        ) from error
    return storage


def require_grpc() -> None:
    """Make sure that gRPC can be imported.

    Raises:
        UserError: it cannot.
    """
    for package, module in (("grpcio", "grpc"), ("protobuf", "google.protobuf")):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # the package around it is missing
            found = None
        if found is None:
            raise UserError(
                f"A storage behind grpc:// needs the package {package}, which is not installed: "
                "pip install grpcio protobuf."
            )


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or "@" in url or parts.path.strip("/"):
        raise UserError(f"The storage {mask(url)} is malformed; expected grpc://HOST:PORT.")
    return (f"[{host}]" if ":" in host else host), port


def _with_driver(url: str) -> str:
    """The address with a driver for PostgreSQL that is there; psycopg2 is preferred.

    SQLAlchemy's own choice differs between its versions.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgres", "postgresql"):
        return url
    driver = "psycopg2"
    if not importlib.util.find_spec(driver) and importlib.util.find_spec("psycopg"):
        driver = "psycopg"
    return f"postgresql+{driver}://{rest}"


def _engine_options(address: URL) -> dict[str, Any]:
    if address.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _SQLITE_BUSY}}
    if address.get_driver_name() in ("psycopg2", "psycopg"):
        limits = {k: v for k, v in _POSTGRES_LIMITS.items() if k not in address.query}
        # A connection that broke while nothing was asked is replaced without an error.
        return {"pool_pre_ping": True, "connect_args": limits}
    return {}


def _is_optunas(connection: Connection, url: str) -> bool:
    """Whether Optuna's tables are there, complete.

    Raises:
        UserError: the schema is managed by another program, which uses the same book-keeping.
    """
    from sqlalchemy import inspect

    names = set(inspect(connection).get_table_names())
    if "alembic_version" in names and "version_info" not in names:
        raise UserError(
            f"The storage {mask(url)} holds another program's tables (MLflow's, say); nothing was "
            "changed in it: name another database."
        )
    return {"alembic_version", "version_info"} <= names


def _other_version(shown: str, message: str) -> str:
    """One sentence from Optuna's message on a schema of another version."""
    import optuna

    found = re.search(r"set up by optuna ([^)\s]+)\)", message)
    other = found[1] if found else "of another version"
    cure = "pip install -U optuna"
    if "storage upgrade" in message:
        cure = "optuna storage upgrade --storage URL"
    return (
        f"The storage {shown} was set up by Optuna {other}, whose tables Optuna "
        f"{optuna.__version__} cannot use; nothing was changed in it: {cure}, or name another."
    )
