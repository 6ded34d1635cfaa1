"""Operations as lines of JSON without credentials, and back."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from studies.engine.secrets import mask
from studies.engine.tracking.fields import PARAM_LIMIT, TAG_LIMIT, text_fields
from studies.engine.tracking.operations import KINDS, Operation
from studies.engine.tracking.records import Record


def to_plain(operation: Operation, home: Path) -> dict[str, Any]:
    """Return an operation as plain data without credentials.

    Args:
        operation: The operation.
        home: Folder of the file that will hold it: paths below it become relative to it.

    Source: derived.
    """
    plain: dict[str, Any] = {"op": operation.kind}
    for field in fields(operation):
        value = getattr(operation, field.name)
        if isinstance(value, Record):
            value = _plain_record(value)
        elif isinstance(value, Path):
            path = value.resolve()
            value = path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)
        if field.name != "late":
            plain[field.name] = value
    return plain


def from_plain(plain: Mapping[str, Any], home: Path) -> Operation:
    """The inverse of `to_plain`; the operation is marked as late.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: The data are no operation.

    Source: derived.
    """
    given = {name: value for name, value in plain.items() if name != "op"}
    if "record" in given:
        given["record"] = Record(**given["record"])
    if "path" in given:
        given["path"] = home / given["path"]
    return replace(KINDS[plain["op"]](**given), late=True)


def without_repeats(operations: Sequence[Operation], home: Path) -> tuple[Operation, ...]:
    """Return the operations without those that come again later, at another time.

    Every start of a study records everything from the beginning; without this, a spool would grow
    with every start while the store is away.

    Source: derived.
    """
    last: dict[bytes, Operation] = {}
    for operation in operations:
        plain = to_plain(operation, home)
        content = to_line(_timeless(plain) | {"record": _timeless(plain.get("record", {}))})
        last.pop(content, None)  # a place further back, that of the last
        last[content] = operation
    return tuple(last.values())


def _timeless(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if not name.endswith("_ms")}


def to_line(content: Mapping[str, Any]) -> bytes:
    """Return plain data as one line of JSON.

    Source: derived.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _plain_record(record: Record) -> dict[str, Any]:
    start, end = record.times
    return {
        "name": mask(record.name),
        "params": text_fields(record.params, PARAM_LIMIT),
        "tags": text_fields(record.tags, TAG_LIMIT),
        "metrics": _plain_numbers(record.metrics),
        "history": [_plain_numbers(epoch) for epoch in record.history],
        "status": record.status,
        "start_ms": start,
        "end_ms": record.end_ms,
        "time_ms": record.time_ms,
    } | ({"end_ms": end} if record.status != "running" else {})


def _plain_numbers(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """JSON knows no infinity: what is not finite becomes text, which `float` reads."""
    return {
        mask(name): value if math.isfinite(value) else str(value) for name, value in numbers.items()
    }
