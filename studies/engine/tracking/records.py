"""What is written about one study, group or run."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studies.engine.secrets import mask

Fields = Mapping[str, object]  # parameters or tags
Numbers = Mapping[str, Any]  # metrics: anything that float() takes

# Our word for how a run ended -> MLflow's. MLflow knows no pruned and no diverged run; the tag
# "status" tells them apart. A diverged run is a result, so it counts as finished.
STATUSES: Mapping[str, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "diverged": "FINISHED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
    "superseded": "KILLED",
    "failed": "FAILED",
}

_ID = re.compile(r"[^'\"`\\\s][^'\"`\\\n]{0,499}")


@dataclass(frozen=True)
class Record:
    """One MLflow run to be written; holds copies of the caller's data, which may change later.

    Attributes:
        name: Name shown in the UI.
        params: Parameters; a value written before stays.
        tags: Tags.
        metrics: Final metrics.
        history: Per epoch a dict of metrics.
        status: One of `STATUSES`.
        start_ms: Start, milliseconds since 1970; None: `time_ms`.
        end_ms: End, milliseconds since 1970; None: `time_ms`.
        time_ms: When the record was made; it may be written much later.

    Raises:
        ValueError: An unknown status.
        TypeError, ValueError: A metric is not a number.

    Source: derived.
    """

    name: str
    params: Fields = field(default_factory=dict)
    tags: Fields = field(default_factory=dict)
    metrics: Numbers = field(default_factory=dict)
    history: Sequence[Numbers] = ()
    status: str = "finished"
    start_ms: int | None = None
    end_ms: int | None = None
    time_ms: int = field(default_factory=lambda: now_ms(), compare=False)

    def __post_init__(self) -> None:
        check_status(self.status)
        for name in ("params", "tags"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        object.__setattr__(self, "metrics", _floats(self.metrics))
        object.__setattr__(self, "history", tuple(_floats(epoch) for epoch in self.history))

    @property
    def times(self) -> tuple[int, int]:
        """Start and end in milliseconds since 1970, the end not before the start if not given."""
        start = self.time_ms if self.start_ms is None else self.start_ms
        return start, max(start, self.time_ms) if self.end_ms is None else self.end_ms


def now_ms() -> int:
    """The time in whole milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _floats(numbers: Numbers) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items()}


def check_status(status: str) -> None:
    """Raise ValueError unless `status` is one of `STATUSES`.

    Source: derived.
    """
    if status not in STATUSES:
        raise ValueError(f"the status must be one of {', '.join(STATUSES)}, not {status!r}")


def check_ids(**ids: str | None) -> None:
    """Raise ValueError unless each id, given by its name, can stand in a search; None passes.

    Source: derived; MLflow's search language knows no escape inside quotes.
    """
    for name, value in ids.items():
        if value is not None and not _ID.fullmatch(value):
            raise ValueError(
                f"the {name.replace('_', ' ')} must be 1 to 500 characters without quotes, "
                f"backslashes and line breaks, not {mask(value)!r}"
            )
