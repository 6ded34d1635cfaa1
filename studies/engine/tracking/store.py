"""Opening the tracking store: fast failure, creation under a lock, a quiet MLflow.

MLflow's own first contact is unforgiving: processes that create one SQLite store at the same
time break it for good, an unreachable server blocks for minutes, an unreachable database for
100 seconds. Everything here exists to avoid that.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from studies.engine.secrets import mask
from studies.engine.tracking.config import TrackingConfig
from studies.engine.tracking.errors import StoreAwayError, TrackingError, is_away, reason
from studies.engine.tracking.sqlite_file import create_file, file_lock, has_content, prepare_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

_START_TIMEOUT_S = 3  # for the first contact with a server or database
_DRIVER_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}


def open_client(config: TrackingConfig) -> "MlflowClient":
    """Return a client of the configured store; an SQLite store is made on first use.

    Imports MLflow (about 1.5 s). Creating the SQLite store takes about half a second more; it
    is built under another name and renamed, so that a killed process leaves no half-made store,
    and under a file lock (`<file>.lock`), so that any number of processes may start at once.

    Raises:
        StoreAwayError: The store cannot be reached or is locked now; within about 5 s.
        TrackingError: The store cannot be used as it is; likewise.

    Source: derived; MLflow 3.17 was measured.
    """
    if config.database_file is not None:
        prepare_file(config.database_file)
    _quieten_environment()
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise TrackingError(f"mlflow cannot be imported ({error}); pip install mlflow") from None
    # Failures reach us as exceptions; MLflow would print tracebacks with the address as well.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)

    file = config.database_file
    with file_lock(file), _short_timeouts():
        if file is None and not config.is_server:
            _connect_database(config)
        try:
            if file is not None and not has_content(file):
                create_file(file, config.artifact_location)
            client = MlflowClient(
                tracking_uri=config.tracking_uri, registry_uri=config.tracking_uri
            )
            client.search_experiments(max_results=1)
        except Exception as error:  # MLflow passes on any error of any driver
            raise _unusable(config, error) from None
    return client


def open_experiment(
    client: "MlflowClient", config: TrackingConfig, name: str, tags: Mapping[str, str]
) -> str:
    """Return the id of the experiment with this name and these tags, created if missing.

    Raises:
        StoreAwayError: The store went away.
        TrackingError: The experiment is in MLflow's trash, or the store failed.

    Source: derived.
    """
    try:
        with file_lock(config.database_file):
            found = client.get_experiment_by_name(name)
            if found is None:
                return client.create_experiment(name, config.artifact_uri, dict(tags))
        if found.lifecycle_stage != "deleted":
            for key, value in tags.items():
                if found.tags.get(key) != value:
                    client.set_experiment_tag(found.experiment_id, key, value)
            return str(found.experiment_id)
    except Exception as error:  # any error of any driver or server
        kind = StoreAwayError if is_away(error) else TrackingError
        raise kind(
            f"the MLflow experiment {name!r} cannot be opened in {config.masked_uri}: "
            f"{reason(error)}"
        ) from None
    raise TrackingError(
        f"the MLflow experiment {name!r} is deleted; run: mlflow experiments restore "
        f"-x {found.experiment_id}, or name another experiment"
    )


def store_file(client: "MlflowClient", run_id: str, file: Path, folder: str | None) -> None:
    """Copy a file into a run's artefacts, with the credentials in a text file masked.

    Raises:
        OSError: The file cannot be read.

    Source: derived.
    """
    content = file.read_bytes()
    try:
        masked = mask(content.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:  # a picture, weights
        masked = content
    if masked == content:
        client.log_artifact(run_id, str(file), folder)
        return
    with tempfile.TemporaryDirectory() as room:
        copy = Path(room) / file.name
        copy.write_bytes(masked)
        client.log_artifact(run_id, str(copy), folder)


def _connect_database(config: TrackingConfig) -> None:
    """Connect once to a database server, with a short timeout and no retries."""
    import sqlalchemy

    timed = config.tracking_uri.startswith(("postgresql", "mysql"))
    arguments = {"connect_timeout": _START_TIMEOUT_S} if timed else {}
    try:
        engine = sqlalchemy.create_engine(config.tracking_uri, connect_args=arguments)
        engine.connect().close()
        engine.dispose()
    except ModuleNotFoundError as error:
        package = _DRIVER_PACKAGES.get(error.name or "", error.name)
        raise TrackingError(
            f"the tracking URI {config.masked_uri} needs the driver {error.name}; run: pip "
            f"install {package}"
        ) from None
    except Exception as error:  # any error of any driver
        raise _unusable(config, error) from None


def _quieten_environment() -> None:
    """Set MLflow's switches, where the user has not: they hold for worker processes too."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # 7 retries would take four minutes per call, and a run that was created although the
        # answer came too late would be created again.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)


@contextmanager
def _short_timeouts() -> Iterator[None]:
    """Let MLflow's requests fail fast inside the block; it reads these variables each time."""
    names = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
    before = {name: os.environ[name] for name in names}
    os.environ.update(dict(zip(names, ("0", str(_START_TIMEOUT_S)), strict=True)))
    try:
        yield
    finally:
        os.environ.update(before)


def _unusable(config: TrackingConfig, error: Exception) -> TrackingError:
    """Return the sentence for an error of MLflow or of a driver."""
    store = f"the tracking store {config.masked_uri}"
    if "out-of-date database schema" in str(error):
        return TrackingError(
            f"{store} was made by another version of MLflow; back it up and run: mlflow db "
            "upgrade <tracking URI>"
        )
    advice = "start the server, or " if config.is_server else ""
    kind = StoreAwayError if is_away(error) else TrackingError
    return kind(f"{store} cannot be used ({reason(error)}); {advice}correct the tracking URI")
