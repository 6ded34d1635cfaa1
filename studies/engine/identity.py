"""Which study an output folder holds: one, and never another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studies.engine.errors import UserError

_FILE = "study.json"


def check_identity(folder: Path, identity: Mapping[str, Any]) -> None:
    """Compare a configuration with the one that `bind_folder` stored, if any.

    Args:
        folder: the output folder.
        identity: the configuration as plain data (`Plan.identity`).

    Raises:
        UserError: the folder holds a study of another configuration; the message shows what
            differs.
    """
    file = folder / _FILE
    if not file.exists():
        return
    try:
        stored = dict(json.loads(file.read_text()))
    except ValueError as error:
        raise UserError(
            f"{file} cannot be read ({error}); restore it, or discard the results with --fresh."
        ) from error
    names = [n for n in {**stored, **identity} if stored.get(n) != identity.get(n)]
    if names:
        differences = ", ".join(
            f"{name} was {_short(stored.get(name))} and is now {_short(identity.get(name))}"
            for name in names
        )
        raise UserError(
            f"{folder} holds a study of another configuration: {differences}; "
            "choose another --output, or discard the old results with --fresh."
        )


def bind_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Store a configuration in its output folder, in one step."""
    temporary = folder / f"{_FILE}.part"
    temporary.write_text(json.dumps(dict(identity), indent=1) + "\n")
    temporary.replace(folder / _FILE)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
