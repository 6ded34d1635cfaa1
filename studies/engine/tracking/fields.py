"""From plain data to what MLflow stores: names, texts within its limits, finite metrics."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from posixpath import normpath
from typing import TYPE_CHECKING, Any, SupportsFloat

from studies.engine.secrets import mask

if TYPE_CHECKING:
    from mlflow.entities import Metric

PARAM_LIMIT = 6000  # characters; MLflow cuts longer values without a word
TAG_LIMIT = 8000
NAME_LIMIT = 250
NON_FINITE_TAG = "non_finite_metrics"


def as_text(value: object) -> str:
    """Return a value as masked text: text as it is, `true`, `false`, `none`, JSON for containers.

    Source: derived; the scalars are spelt as in a spec string.
    """
    if isinstance(value, str):
        return mask(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple):
        return mask(json.dumps(value, default=str, ensure_ascii=False))
    return mask(str(value))


def cut(text: str, limit: int) -> str:
    """Return the text, cut to `limit` characters with an ellipsis at the end if it is longer.

    Source: derived.
    """
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@lru_cache(maxsize=4096)
def clean_name(name: str) -> str:
    """Return a name that MLflow accepts for a metric, parameter or tag.

    Characters other than letters, digits, `_ - . : /` and space become `_`, as does a name that
    is no clean relative path (`a//b`, `../a`, empty); the length is cut to 250.

    Source: the rules of MLflow 3.17's validation, found by trial.
    """
    name = cut(re.sub(r"[^\w\-. :/]", "_", mask(name)), NAME_LIMIT).replace("…", "_")
    if normpath(name) != name or name.startswith(("..", "/")) or name == ".":
        name = re.sub(r"[/.]", "_", name) or "_"
    return name


def text_fields(values: Mapping[str, object], limit: int) -> dict[str, str]:
    """Return parameters or tags as MLflow takes them: clean names, masked text within the limit.

    Source: derived.
    """
    return {clean_name(name): cut(as_text(value), limit) for name, value in values.items()}


def metric_points(
    history: Sequence[Mapping[str, SupportsFloat]],
    metrics: Mapping[str, SupportsFloat],
    start_ms: int,
    end_ms: int,
) -> tuple[list["Metric"], dict[str, str]]:
    """Return the points of a run's curves and final metrics, and a tag about those left out.

    The step of a curve is the epoch's index; its time stamps lie evenly between start and end
    (milliseconds since 1970), so that the same result gives the same points. Final metrics have
    the step of the last epoch. MLflow stores an infinity as 1.798e308, which ruins every chart:
    non-finite values are left out and named in the tag `non_finite_metrics`.

    Args:
        history: For each epoch the metrics by name.
        metrics: Final metrics by name.
        start_ms: Start of the run.
        end_ms: End of the run.

    Raises:
        TypeError, ValueError: A value is not a number.

    Source: derived.
    """
    from mlflow.entities import Metric

    points: list[Metric] = []
    left_out: dict[str, str] = {}

    def add(values: Iterable[tuple[str, Any]], time_ms: int, step: int, note: str) -> None:
        for name, value in values:
            number = float(value)
            if math.isfinite(number):
                points.append(Metric(clean_name(name), number, time_ms, step))
            else:
                left_out.setdefault(name, note)

    for epoch, values in enumerate(history):
        time_ms = start_ms + round((epoch + 1) / len(history) * (end_ms - start_ms))
        add(values.items(), time_ms, epoch, f" from epoch {epoch}")
    add(metrics.items(), end_ms, max(len(history) - 1, 0), "")
    if not left_out:
        return points, {}
    named = ", ".join(f"{name}{note}" for name, note in left_out.items())
    return points, {NON_FINITE_TAG: cut(mask(named), TAG_LIMIT)}
