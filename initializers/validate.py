"""Checks of hyperparameters, used in ``__post_init__`` of the frozen initialisers.

Each function reads one field of a frozen dataclass, refuses a bad value with one sentence that
names the class, the field, the allowed values and the value given, and writes the accepted value
back in its plain Python type, so that equality, hash, ``repr`` and serialisation do not depend on
whether ``1``, ``1.0`` or ``numpy.float64(1)`` was passed.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any


def number(owner: object, field: str, interval: str, *, optional: bool = False) -> None:
    """Check that a field is a finite real number in ``interval`` and store it as ``float``.

    Args:
        owner: The frozen dataclass instance.
        field: Name of the field.
        interval: In the notation ``"(0, 1]"``; ``inf`` is allowed as an open end.
        optional: Whether None is accepted as well.

    Raises:
        TypeError: If the value is no real number (a ``bool`` is none).
        ValueError: If it is not finite or lies outside the interval.
    """
    value = getattr(owner, field)
    if optional and value is None:
        return
    where = f"{type(owner).__name__}: {field} must be"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where} a number in {interval}, got {value!r}.")
    result = float(value)
    if not math.isfinite(result) or not _inside(result, interval):
        raise ValueError(f"{where} in {interval}, got {value!r}.")
    _store(owner, field, result)


def integer(owner: object, field: str, interval: str) -> None:
    """Check that a field is an integer in ``interval`` and store it as ``int``.

    Raises:
        TypeError: If the value is no integer (a ``bool`` is none).
        ValueError: If it lies outside the interval.
    """
    value = getattr(owner, field)
    where = f"{type(owner).__name__}: {field} must be"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{where} an integer in {interval}, got {value!r}.")
    if not _inside(int(value), interval):
        raise ValueError(f"{where} in {interval}, got {value!r}.")
    _store(owner, field, int(value))


def flag(owner: object, field: str) -> None:
    """Check that a field is True or False.

    Raises:
        TypeError: If it is anything else.
    """
    value = getattr(owner, field)
    if not isinstance(value, bool):
        raise TypeError(f"{type(owner).__name__}: {field} must be true or false, got {value!r}.")


def choice(owner: object, field: str, allowed: Iterable[str]) -> None:
    """Check that a field is one of the ``allowed`` names and store it as ``str``.

    Raises:
        ValueError: If it is not; the message lists the names and the nearest one.
    """
    value = getattr(owner, field)
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(
            f"{type(owner).__name__}: {field} must be one of {', '.join(names)}, "
            f"got {value!r}{suggestion(value, names)}."
        )
    _store(owner, field, str(value))


def suggestion(value: Any, names: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the name nearest to ``value``, else an empty string."""
    near = difflib.get_close_matches(str(value), list(names), n=3, cutoff=0.5)
    if not near:
        return ""
    return f" (did you mean {' or '.join(repr(name) for name in near)}?)"


def _inside(value: float, interval: str) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value > low if interval[0] == "(" else value >= low
    below = value < high if interval[-1] == ")" else value <= high
    return above and below


def _store(owner: object, field: str, value: Any) -> None:
    object.__setattr__(owner, field, value)  # the way past a frozen dataclass
