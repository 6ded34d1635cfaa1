"""What is compared: the quantity that a run contributes, and how it is written."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["final", "epoch", "epochs_to"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A figure of every run, as plain data.

    Args:
        name: its column in runs.csv and its name in MLflow.
        words: what people call it, as in "test accuracy".
        metric: the run's own figure that it is read from, such as "val_accuracy".
        kind: "final" is the metric at the end, "epoch" the metric after epoch `at`, "epochs_to"
            the first epoch (from 1) after which the metric is at least `at`, and one more than
            the recipe has if it never is.
        at: see `kind`; unused for "final".
        unit: unit of a value as it is shown, "" for none.
        difference: what a difference of 1 as shown is called in the plural, "percentage points".
        scale: a value as it is shown is so many times the value itself.
        low, high: ends of the possible values.
        higher_is_better: whether more is better.
    """

    name: str = "test_accuracy"
    words: str = "test accuracy"
    metric: str = "test_accuracy"
    kind: Kind = "final"
    at: float = 0.0
    unit: str = "%"
    difference: str = "percentage points"
    scale: float = 100.0
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True

    @property
    def heading(self) -> str:
        """Words and unit, for the head of a column."""
        return f"{self.words} {self.unit}".rstrip()

    @property
    def label(self) -> str:
        """Words and unit, for an axis."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1

    def text(self, value: float) -> str:
        """A value as it is shown, with two decimals and without its unit."""
        return f"{self.scale * value:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON holds; an infinite end is null."""
        ends = {
            n: v if math.isfinite(v) else None for n, v in (("low", self.low), ("high", self.high))
        }
        return {**dataclasses.asdict(self), **ends}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Outcome":
        """The inverse of `to_dict`.

        Raises:
            TypeError: other fields.
        """
        low, high = data.get("low"), data.get("high")
        ends = {
            "low": -math.inf if low is None else low,
            "high": math.inf if high is None else high,
        }
        return cls(**{**data, **ends})


TEST_ACCURACY = Outcome()
"""Accuracy on the test split, the outcome of a study unless it names another."""

TRAIN_ACCURACY = Outcome("train_accuracy", "training accuracy", "train_accuracy")
"""Running accuracy over the batches of the last epoch, as the network changes and dropout draws."""


def final(name: str, words: str) -> Outcome:
    """A fraction that a run has at its end, such as a method's share of changed connections."""
    return Outcome(name, words, name)


def after_epoch(
    epoch: int, metric: str = "val_accuracy", words: str = "validation accuracy"
) -> Outcome:
    """A metric after an early epoch (from 1): how fast a network learns at the start."""
    return Outcome(
        f"{metric}_epoch_{epoch}", f"{words} after epoch {epoch}", metric, "epoch", float(epoch)
    )


def epochs_to(
    accuracy: float, metric: str = "val_accuracy", words: str = "validation accuracy"
) -> Outcome:
    """Epochs until a metric is first at least `accuracy`, a fraction; fewer are better."""
    percent = f"{100 * accuracy:g}"
    return Outcome(
        f"epochs_to_{percent.replace('.', '_')}",
        f"epochs to {percent} % {words}",
        metric,
        "epochs_to",
        accuracy,
        unit="",
        difference="epochs",
        scale=1.0,
        low=1.0,
        high=math.inf,
        higher_is_better=False,
    )
