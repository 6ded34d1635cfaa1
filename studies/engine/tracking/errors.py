"""The errors of the tracking package, and errors of MLflow in few words."""

import errno
import os
import re
from collections.abc import Iterator

from studies.engine.secrets import HIDDEN, mask

_REASON_LIMIT = 200
# What MLflow's client sends in headers; a server may repeat it in an answer.
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_AWAY_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE),  # the disk
        *(errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE),  # the network
        *(errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)
_AWAY_CODES = frozenset({"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
_AWAY_STATUSES = frozenset({"408", "425", "429", "500", "502", "503", "504"})
# Kinds of SQLAlchemy's errors that speak of the connection or the database, not of a record.
_DATABASE_KINDS = frozenset({"OperationalError", "InterfaceError", "InternalError", "TimeoutError"})
# ... unless they say what waiting does not cure.
_LASTING = re.compile(
    r"password|authentication|Access denied|pg_hba|does not exist|Unknown database|readonly|"
    r"read-only|unable to open|not a database|permission denied",
    re.IGNORECASE,
)


class TrackingError(ValueError):
    """A tracking configuration or store that cannot be used.

    The message is one sentence for the user: what is wrong, where, and what to do. It holds no
    credentials.
    """


class StoreAwayError(TrackingError):
    """A store that cannot be used now but may be later: nobody answers, locked, disk full."""


def is_away(error: BaseException) -> bool:
    """Whether the same call may work later: nobody answers, too busy, locked, disk full.

    Wrong credentials, a certificate that is not accepted, a missing or unwritable file and
    whatever speaks of the record rather than of the store are no such errors.

    Source: derived; the errors of MLflow 3.17, requests and SQLAlchemy were tried out.
    """
    for cause in _causes(error):
        kinds = _kinds(cause, "requests")
        if "SSLError" in kinds:
            return False
        if kinds & {"ConnectionError", "Timeout", "RetryError", "ChunkedEncodingError"}:
            return True
        if _kinds(cause, "sqlalchemy") & _DATABASE_KINDS or _kinds(cause, "sqlite3") & {
            "OperationalError"
        }:
            return not _LASTING.search(str(cause))
        if isinstance(cause, OSError):
            return cause.errno in _AWAY_ERRNOS
    return (
        getattr(error, "error_code", None) in _AWAY_CODES
        or _http_status(error) in _AWAY_STATUSES
        or is_server_fault(error)
    )


def is_server_fault(error: BaseException) -> bool:
    """Whether a server answered that it failed itself (500), perhaps over this one request.

    Source: derived.
    """
    # Any error of the client has this code too; what the server says has a class of its own.
    said = "RestException" in _kinds(error, "mlflow")
    return _http_status(error) == "500" or (
        said and getattr(error, "error_code", None) == "INTERNAL_ERROR"
    )


def reason(error: BaseException) -> str:
    """Return in few words, without credentials, why a call of MLflow failed.

    MLflow wraps what its HTTP client and SQLAlchemy raise into paragraphs; here it is one phrase,
    or the database driver's own words. Of any other error it is the first line, with at most 200
    characters.

    Source: derived.
    """
    words = str(error)
    for cause in _causes(error):
        kinds = _kinds(cause, "requests")
        if "SSLError" in kinds:
            return "its TLS certificate is not accepted"
        if "Timeout" in kinds or ("ConnectionError" in kinds and "timed out" in str(cause)):
            return "no answer in time"
        if "ConnectionError" in kinds:
            return "connection refused, or unknown host"
        if "RetryError" in kinds and (status := re.search(r"too many (\d{3}) error", str(cause))):
            return f"the server answered with HTTP status {status[1]}"
        words = str(getattr(cause, "orig", None) or words)
    text = _masked(words).strip()
    status = re.search(r"failed with error code (\d{3})", text)
    if status:
        meaning = {"401": " (not signed in)", "403": " (not allowed)"}.get(status[1], "")
        return f"the server answered with HTTP status {status[1]}{meaning}"
    line = text.splitlines()[0] if text else type(error).__name__
    return line if len(line) <= _REASON_LIMIT else f"{line[: _REASON_LIMIT - 1]}…"


def _masked(text: str) -> str:
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, HIDDEN)
    return mask(text)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _kinds(error: BaseException, module: str) -> set[str]:
    """Names of the classes of an error that come from one package."""
    return {kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith(module)}


def _http_status(error: BaseException) -> str | None:
    found = re.search(r"failed with error code (\d{3})|too many (\d{3}) error", str(error))
    return None if found is None else found[1] or found[2]
