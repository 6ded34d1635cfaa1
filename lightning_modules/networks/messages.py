"""Words shared by the error messages of this package."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: object, known: Iterable[str], *, listed: int = 30) -> str:
    """Say which known names come closest to `name`; or, if none is close, list the names.

    Args:
        name: what the user wrote.
        known: the accepted names.
        listed: the largest number of names that are listed when none is close.

    Returns:
        A clause without a full stop, such as ``did you mean 'conv4'``.
    """
    names = sorted(known)
    text = str(name)
    close = difflib.get_close_matches(text, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close)
    more = f", ... ({len(names)} in all)" if len(names) > listed else ""
    return "the names are " + ", ".join(names[:listed]) + more


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape the way people do: ``3x32x32``."""
    return "x".join(str(size) for size in shape)


def one_line(error: BaseException) -> str:
    """Return the type and the first line of an exception's message, to quote in a sentence."""
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0].rstrip('.')}" if lines else name
