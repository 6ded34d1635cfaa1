"""Tracking configuration: the file `mlflow.yaml`, the environment and the command line."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studies.engine.secrets import mask
from studies.engine.tracking.errors import TrackingError

FILE_NAME = "mlflow.yaml"
DEFAULT_URI = "sqlite:///mlflow.db"
DEFAULT_ARTIFACTS = "mlartifacts"
DATABASES = ("postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
_KEYS = ("tracking_uri", "experiment", "artifact_location", "tags")
_SQLITE = "sqlite:///"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")  # two letters at least: C: is a drive


@dataclass(frozen=True, repr=False)
class TrackingConfig:
    """Where runs are recorded. A value: paths are absolute, the address is checked for its form.

    Attributes:
        tracking_uri: `sqlite:///` with an absolute path, a database URL or a server's http(s)
            address. May hold a password: print `masked_uri`.
        experiment: Name of the experiment; None: the caller's choice (the study's name).
        artifact_location: Absolute folder, or a URI such as `s3://bucket/folder`.
        tags: Tags for every run.

    Source: derived.
    """

    tracking_uri: str
    experiment: str | None = None
    artifact_location: str = DEFAULT_ARTIFACTS
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def masked_uri(self) -> str:
        """The tracking URI without credentials, fit for printing."""
        return mask(self.tracking_uri)

    @property
    def database_file(self) -> Path | None:
        """The file of an SQLite store; None for any other store."""
        if not self.tracking_uri.startswith(_SQLITE):
            return None
        return Path(self.tracking_uri.removeprefix(_SQLITE).partition("?")[0])

    @property
    def is_server(self) -> bool:
        """Whether the store is an MLflow server reached over http(s)."""
        return urlsplit(self.tracking_uri).scheme in SERVERS

    @property
    def artifact_uri(self) -> str | None:
        """The artefact location as a URI; None: left to the server."""
        if _URI.match(self.artifact_location):
            return self.artifact_location
        return None if self.is_server else Path(self.artifact_location).resolve().as_uri()

    def __repr__(self) -> str:
        return (
            f"TrackingConfig(tracking_uri={self.masked_uri!r}, experiment={self.experiment!r}, "
            f"artifact_location={mask(self.artifact_location)!r}, tags={dict(self.tags)!r})"
        )


def load_tracking_config(
    path: str | Path | None = None,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    env: Mapping[str, str] = os.environ,
) -> TrackingConfig:
    """Return the tracking configuration that holds for this process.

    Precedence: the arguments (command-line options), then the environment variables
    `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME`, then the file, then the defaults
    (`sqlite:///mlflow.db`, no experiment, `mlartifacts`, no tags). Relative SQLite and artefact
    paths start at the file's folder; those of an argument or the environment, and all without a
    file, at the current folder. Where an argument or the environment names another SQLite file,
    a relative artefact folder lies beside that file. Nothing is opened or created.

    Args:
        path: The YAML file. None: `mlflow.yaml` in the current folder, else the one beside the
            `studies` package (a source checkout), else no file.
        tracking_uri: Overrides environment and file.
        experiment: Overrides environment and file.
        env: The environment; an empty variable counts as unset.

    Raises:
        TrackingError: A missing, unreadable or malformed file, an unknown key, a value of the
            wrong type, or a tracking URI of an unsupported form.

    Source: derived; the two variables are MLflow's own.
    """
    file = _find_file(path)
    values = _read(file) if file is not None else {}
    home = file.resolve().parent if file is not None else Path.cwd()

    address = values.get("tracking_uri", DEFAULT_URI)
    origin, base = f"the key tracking_uri of {file}", home
    if env.get("MLFLOW_TRACKING_URI"):
        address = env["MLFLOW_TRACKING_URI"]
        origin, base = "the environment variable MLFLOW_TRACKING_URI", Path.cwd()
    if tracking_uri is not None:
        address, origin, base = tracking_uri, "the option for the tracking URI", Path.cwd()

    checked = _checked_uri(address, base, origin)
    artifacts = values.get("artifact_location", DEFAULT_ARTIFACTS)
    if not _URI.match(artifacts):
        folder = Path(artifacts).expanduser()
        if base is not home and checked.startswith(_SQLITE):
            # Another database than the file's: its artefacts stay beside it.
            home = Path(checked.removeprefix(_SQLITE).partition("?")[0]).parent
        artifacts = str((home / folder).resolve())
    name = experiment or env.get("MLFLOW_EXPERIMENT_NAME") or values.get("experiment")
    return TrackingConfig(
        tracking_uri=checked,
        experiment=name,
        artifact_location=artifacts,
        tags=values.get("tags", {}),
    )


def _find_file(path: str | Path | None) -> Path | None:
    """Return the configuration file that is to be read, or None."""
    if path is not None:
        if not Path(path).is_file():
            raise TrackingError(f"there is no tracking configuration file {str(path)!r}")
        return Path(path)
    beside_package = Path(__file__).resolve().parents[3] / FILE_NAME
    return next((file for file in (Path(FILE_NAME), beside_package) if file.is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    """Return the checked keys of the YAML file that have a value; tags become text."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TrackingError(f"{file} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "malformed"
        raise TrackingError(f"{file} is not valid YAML{where}: {problem}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise TrackingError(f"{file} must hold keys ({', '.join(_KEYS)}), but holds a {kind}")
    for key, value in content.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(_KEYS)}"
            raise TrackingError(f"{file} has the unknown key {key!r}; {hint}")
        _check_type(file, key, value)
    given = {key: value for key, value in content.items() if value is not None}
    if "tags" in given:
        given["tags"] = {
            key: str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in given["tags"].items()
        }
    return given


def _check_type(file: Path, key: str, value: Any) -> None:
    """Raise unless the value of a known key has the right type."""
    if value is None:
        return
    kind = type(value).__name__
    if key != "tags":
        if not isinstance(value, str) or not value.strip():
            shown = "empty text" if isinstance(value, str) else f"a {kind}"
            raise TrackingError(f"the key {key} of {file} must be text or null, but is {shown}")
        return
    if not isinstance(value, dict):
        raise TrackingError(
            f"the key tags of {file} must map names to values, such as {{team: vision}}, but is "
            f"a {kind}"
        )
    for name, tag in value.items():
        if not isinstance(name, str) or isinstance(tag, dict | list) or tag is None:
            raise TrackingError(
                f"the tag {name!r} of {file} must be a name with one plain value, but is "
                f"{type(name).__name__}: {type(tag).__name__}"
            )


def _checked_uri(uri: str, base: Path, origin: str) -> str:
    """Return the URI with an absolute SQLite path; raise if its form is unsupported."""
    shown = f"tracking URI {mask(uri)!r} ({origin})"
    scheme = uri.partition("://")[0] if "://" in uri else ""
    kind = scheme.partition("+")[0]
    if scheme == "sqlite":
        if not uri.startswith(_SQLITE):
            raise TrackingError(f"the {shown} needs three slashes, as in {DEFAULT_URI}")
        name, mark, query = uri.removeprefix(_SQLITE).partition("?")
        if not name or name == ":memory:":
            raise TrackingError(f"the {shown} names no file; write for example {DEFAULT_URI}")
        path = str((base / Path(name).expanduser()).resolve())
        if "%" in path or "?" in path:  # SQLAlchemy's versions disagree on what they mean
            raise TrackingError(f"the {shown} stands for {path}; its path must not hold % or ?")
        return f"{_SQLITE}{path}{mark}{query}"
    if scheme in SERVERS or kind in DATABASES:
        try:
            host = urlsplit(uri).hostname
        except ValueError:
            host = None
        if not host or any(character.isspace() for character in uri):
            raise TrackingError(
                f"the {shown} is no valid address; it reads {scheme}://host/..., with special "
                "characters of a password percent-encoded"
            )
        return uri
    if scheme == "file" or uri.startswith("file:") or not scheme:
        raise TrackingError(
            f"the {shown} is a file path, and MLflow 3 has no file store; write for example "
            f"{DEFAULT_URI}"
        )
    known = ("sqlite", *DATABASES, *SERVERS)
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f"did you mean {near[0]}://?" if near else f"known are {', '.join(known)}"
    raise TrackingError(f"the {shown} has the unknown scheme {scheme!r}; {hint}")
