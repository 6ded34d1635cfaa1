"""A study as a value: its question, arms, families and comparisons."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from studies.engine.claims import Judge
from studies.engine.run import Arm

if TYPE_CHECKING:
    from studies.engine.compare import Outcome


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One open hyperparameter of a family, searched on a log scale.

    Args:
        name: a parameter of the family's initialiser, or "lr" for the recipe's learning rate.
        low: lower end, > 0; "1/fan_in" is one over the network's largest fan_in, the density at
            which a unit keeps a single input.
        high: upper end.
        start: value of the first trial, so that a search never ends below its starting point by
            bad luck of the draw.
    """

    name: str
    low: float | Literal["1/fan_in"]
    high: float
    start: float

    def bounds(self, max_fan_in: int) -> tuple[float, float]:
        """Numeric ends of the range for a network."""
        return (1.0 / max_fan_in if self.low == "1/fan_in" else float(self.low), self.high)


@dataclasses.dataclass(frozen=True)
class Family:
    """An arm with open hyperparameters.

    Args:
        label: short name; the tuned arm is called "<label> (tuned)".
        initializer: its fixed part as plain data.
        space: what Optuna may choose.
        method: training method of its arms as plain data, see `Arm`.
    """

    label: str
    initializer: Mapping[str, Any]
    space: tuple[Parameter, ...]
    method: Mapping[str, Any] | None = None

    @property
    def tuned_label(self) -> str:
        """Label of the arm that the search's best trial becomes."""
        return f"{self.label} (tuned)"

    def with_lr(self, lr: float) -> Family:
        """The same family that also searches the learning rate, a decade to either side."""
        parameter = Parameter("lr", low=lr / 10, high=lr * 10, start=lr)
        return dataclasses.replace(self, space=(*self.space, parameter))

    def arm(self, values: Mapping[str, float], label: str | None = None) -> Arm:
        """The arm with these hyperparameter values."""
        own = {name: value for name, value in values.items() if name != "lr"}
        overrides = {"lr": values["lr"]} if "lr" in values else {}
        shown = ", ".join(f"{name}={value:.3g}" for name, value in values.items())
        return Arm(
            label=label or f"{self.label} {shown}",
            initializer={**self.initializer, **own},
            overrides=overrides,
            family=self.label,
            method=self.method,
        )


@dataclasses.dataclass(frozen=True)
class Study:
    """A question, and the experiment that answers it.

    Args:
        name: module name under `studies`.
        title: one line for lists.
        question: in plain words.
        claim: the claim under test with its source.
        arms: fixed arms.
        families: arms to be tuned; each gets the same number of trials.
        comparisons: (arm, reference) pairs of labels; Holm's correction covers all of them.
        primary: the pairs that the answer sentence speaks of; a subset of `comparisons`.
        outcome: what is compared; None is the accuracy on the test split.
        also: further outcomes, shown beside it and not compared, of the arms that have them: the
            figures of a training method are its own.
        margin: equivalence margin unless --margin says otherwise, in the unit that differences of
            the outcome are shown in; percentage points of accuracy.
        data: data set unless --data says otherwise; "all" conducts the study at all `places`.
        recipes: data set -> options that are set unless the command line sets them.
        quick: options of --quick, which go before those of `recipes`.
        places: options of every place at which a study is conducted, each with its own "data"; one
            after the other, with a page that compares them at the end.
        judge: finds whether the claim was reproduced; None leaves it to the reader.
        reduced: what is smaller than in the paper, as a sentence; "" for nothing.
        duration: usual time on two cores, for lists: "1 min quick, 12 min full".

    Raises:
        ValueError: labels that repeat, a comparison of an arm that is not there, or places of a
            study whose data set is another than "all".
    """

    name: str
    title: str
    question: str
    claim: str
    arms: tuple[Arm, ...]
    families: tuple[Family, ...]
    comparisons: tuple[tuple[str, str], ...]
    primary: tuple[tuple[str, str], ...]
    outcome: Outcome | None = None
    also: tuple[Outcome, ...] = ()
    margin: float = 0.5
    data: str = "digits"
    recipes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    places: tuple[Mapping[str, Any], ...] = ()
    judge: Judge | None = None
    reduced: str = ""
    duration: str = ""

    def __post_init__(self) -> None:
        """Check that labels are unique and comparisons name them."""
        labels = self.labels
        if len(set(labels)) != len(labels):
            raise ValueError(f"study {self.name}: arm labels repeat: {labels}.")
        unknown = {label for pair in self.comparisons for label in pair} - set(labels)
        if unknown:
            raise ValueError(f"study {self.name}: comparisons name unknown arms {sorted(unknown)}.")
        if not set(self.primary) <= set(self.comparisons):
            raise ValueError(f"study {self.name}: primary comparisons must be among comparisons.")
        if (self.data == "all") != bool(self.places):
            raise ValueError(f'study {self.name}: places and data="all" belong together.')

    @property
    def module(self) -> str:
        """What `python -m` conducts it by: the running module, if the study stands in it."""
        main = sys.modules.get("__main__")
        spec = getattr(main, "__spec__", None)
        if spec is not None and getattr(main, "STUDY", None) is self:
            return str(spec.name).removesuffix(".__main__")
        return f"studies.{self.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all arms, tuned ones first."""
        tuned = tuple(family.tuned_label for family in self.families)
        return tuned + tuple(arm.label for arm in self.arms)
