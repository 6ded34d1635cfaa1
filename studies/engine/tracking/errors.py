"""The error of the tracking package, and errors of MLflow in few words."""

import re

from studies.engine.secrets import mask

_REASON_LIMIT = 200


class TrackingError(ValueError):
    """A tracking configuration or store that cannot be used.

    The message is one sentence for the user: what is wrong, where, and what to do. It holds no
    credentials.
    """


def reason(error: BaseException) -> str:
    """Return in few words, without credentials, why a call of MLflow failed.

    MLflow wraps what its HTTP client and SQLAlchemy raise into paragraphs; here it is one phrase,
    or the database driver's own words. Of any other error it is the first line, with at most 200
    characters.

    Source: derived.
    """
    words = str(error)
    cause: BaseException | None = error
    while cause is not None:
        kinds = {
            kind.__name__ for kind in type(cause).__mro__ if kind.__module__.startswith("requests")
        }
        if "SSLError" in kinds:
            return "its TLS certificate is not accepted"
        if "Timeout" in kinds or ("ConnectionError" in kinds and "timed out" in str(cause)):
            return "no answer in time"
        if "ConnectionError" in kinds:
            return "connection refused, or unknown host"
        words = str(getattr(cause, "orig", None) or words)
        cause = cause.__cause__ or cause.__context__
    text = mask(words).strip()
    status = re.search(r"failed with error code (\d{3})", text)
    if status:
        meaning = {"401": " (not signed in)", "403": " (not allowed)"}.get(status[1], "")
        return f"the server answered with HTTP status {status[1]}{meaning}"
    line = text.splitlines()[0] if text else type(error).__name__
    return line if len(line) <= _REASON_LIMIT else f"{line[: _REASON_LIMIT - 1]}…"
