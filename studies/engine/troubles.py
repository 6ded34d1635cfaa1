"""What an error of a storage means: it will pass, or the user has to put something right."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator

from studies.engine.secrets import mask

# A disk or a share that may come back, or that somebody frees.
_PASSING_ERRNO = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENODEV,
    errno.ENXIO, errno.ENOLCK, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENFILE, errno.EMFILE,
    errno.ENOMEM, errno.ENOTCONN, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED,
    errno.EPIPE, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ESHUTDOWN,
}  # fmt: skip
# Primary result codes of SQLite: busy, locked, input/output error, full, cannot open.
_PASSING_SQLITE = {5, 6, 10, 13, 14}
# Classes of SQLSTATE: connection, resources (a full disk too), operator intervention.
_PASSING_CLASSES = {"08", "53", "57"}
# Serialisation failure, deadlock, lock not available, read-only after a failover.
_PASSING_STATES = {"40001", "40P01", "55P03", "25006", "58030"}
_DROPPED = "57P04"
# A server that refuses a connection says why in words only: libpq passes on no SQLSTATE.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|does not exist|pg_hba\.conf"
    r"|not permitted to log in|permission denied|invalid connection option|is not a database",
    re.IGNORECASE,
)
_WHY = (
    (r'password authentication failed for user "([^"]*)"', "user {} or the password is wrong"),
    (r"no password supplied|authentication failed", "its server wants another password or user"),
    (r'database "([^"]*)" does not exist', "its server has no database {}; create it (createdb)"),
    (r'role "([^"]*)" does not exist', "its server has no user {}"),
    (r"pg_hba\.conf", "its server does not let this host, user and database in (pg_hba.conf)"),
    (r"could not translate host name|name or service not known|not resolve", "its host is unknown"),
    (r"connection refused", "nothing listens there; start the server, or correct host and port"),
    (r"timeout expired|timed out", "its host does not answer"),
    (r"file is not a database", "the file is there and is no SQLite database"),
)


def passing(error: BaseException) -> bool:
    """Whether waiting may cure an error: the storage is away, full or busy.

    Args:
        error: what a storage raised; the errors behind it count too.

    Source: the SQLSTATE classes of PostgreSQL's manual, appendix A; the result codes of SQLite;
        the status codes of gRPC; errno.
    """
    chain = list(_chain(error))
    # The outer errors' texts hold statements with their values: anything may stand there.
    if not isinstance(chain[-1], OSError) and _REFUSED.search(str(chain[-1])):
        return False
    return any(_passes(one) for one in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what the database's driver raised behind it, and its causes."""
    following: BaseException | None = error
    while following is not None:
        yield following
        driver = getattr(following, "orig", None)
        if isinstance(driver, BaseException):
            yield driver
        following = following.__cause__


def _passes(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO or isinstance(error, (ConnectionError, TimeoutError))
    grpc = sys.modules.get("grpc")
    if grpc is not None and isinstance(error, grpc.RpcError):
        passing_codes = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED")
        return getattr(error, "code", lambda: None)() in {
            getattr(grpc.StatusCode, name) for name in passing_codes
        }
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy is None:
        return False
    if isinstance(error, sqlalchemy.TimeoutError):
        return True
    if not isinstance(error, sqlalchemy.DBAPIError):
        return False
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _PASSING_SQLITE
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state is not None:
        return state != _DROPPED and (state[:2] in _PASSING_CLASSES or state in _PASSING_STATES)
    if error.connection_invalidated:
        return True
    # A connection that could not be made, or that broke, has no SQLSTATE.
    return isinstance(error, (sqlalchemy.OperationalError, sqlalchemy.InterfaceError))


def reason(error: BaseException) -> str:
    """Why, in a few words without credentials and without a full stop."""
    innermost = list(_chain(error))[-1]
    if isinstance(innermost, OSError) and innermost.strerror:
        where = f": {innermost.filename}" if innermost.filename else ""
        return mask(innermost.strerror.lower() + where)
    details = getattr(innermost, "details", None)  # of gRPC's errors
    text = str(details() if callable(details) else innermost)
    for pattern, why in _WHY:
        if found := re.search(pattern, text, re.IGNORECASE):
            return why.format(*(f'"{name}"' for name in found.groups()))
    # Of several addresses of a host, the last one that was tried.
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    line = next((one for one in reversed(lines) if " failed: " in one), lines[0])
    line = line.rpartition(" failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
    return mask(line)
