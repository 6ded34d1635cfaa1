"""What is trained and what comes out: recipe, arm, run and result, as frozen values."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

Plain = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is held fixed in a comparison.

    Args:
        data: name or import path of the DataModule.
        network: name, spec or import path of the network.
        epochs: passes over the training split, >= 1.
        batch_size: examples per optimiser step, over all devices together, >= 1.
        optimizer, lr, momentum, weight_decay, schedule, milestones, gamma, warmup_epochs,
            label_smoothing, gradient_clip: see `lightning_modules.Optimization`.
        augment: "none" or the DataModule's name of an augmentation ("crop_flip").
        precision: the Trainer's name: "32-true", "bf16-mixed" or "64-true".
        split_seed: seed of the train/val/test split.
        train_limit: use only this many training examples; None uses all.
    """

    data: str
    network: str
    epochs: int
    batch_size: int
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    gradient_clip: float = 0.0
    augment: str = "none"
    precision: str = "32-true"
    split_seed: int = 0
    train_limit: int | None = None

    def optimization(self) -> Plain:
        """The fields that `lightning_modules.Classifier` takes, as keyword arguments."""
        names = (
            "optimizer lr momentum weight_decay schedule milestones gamma warmup_epochs "
            "label_smoothing gradient_clip"
        )
        return {name: getattr(self, name) for name in names.split()}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Args:
        label: unique short name for people: "ternary (tuned)".
        initializer: the initialiser as plain data: {"name": "ternary", "density": 0.1}.
        overrides: recipe fields that this arm sets for itself (a tuned learning rate).
        family: the family it stems from; the label itself for a fixed arm.
        method: what is trained instead of the weights, as plain data: {"name": "supermask"}; None
            trains the weights. See `lightning_modules.methods`.
        at: where the arm stands on the axes of a study that follows a curve: {"depth": 20}. It
            names what initialiser or overrides already say, and is in no key.
    """

    label: str
    initializer: Mapping[str, Any]
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    family: str = ""
    method: Mapping[str, Any] | None = None
    at: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> Plain:
        """Plain data; a method or place is in it only if there is one, as in a run's key."""
        return {
            "label": self.label,
            "initializer": dict(self.initializer),
            "overrides": dict(self.overrides),
            "family": self.family,
            **({} if self.method is None else {"method": dict(self.method)}),
            **({"at": dict(self.at)} if self.at else {}),
        }

    def method_fields(self) -> Plain:
        """The training method as "method" and "method.<hyperparameter>"; empty without one."""
        own = dict(self.method or {})
        name = {"method": own.pop("name")} if own else {}
        return {**name, **{f"method.{field}": value for field, value in own.items()}}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: recipe x arm x seed.

    Args:
        recipe: what all arms share.
        arm: what is compared.
        seed: seeds the initial weights and the order of the batches.
        test: whether the test split is opened after training (in confirmation only).
    """

    recipe: Recipe
    arm: Arm
    seed: int
    test: bool = False

    @functools.cached_property
    def effective_recipe(self) -> Recipe:
        """The recipe with the arm's overrides."""
        return dataclasses.replace(self.recipe, **self.arm.overrides)

    @functools.cached_property
    def key(self) -> str:
        """Content hash (16 hex digits): equal keys mean equal results on one machine.

        Covers what shapes the numbers and nothing else: labels, paths, devices and worker counts
        stay out. Fields at their default stay out too, so that a new field keeps old keys valid.
        """
        recipe = self.effective_recipe
        changed = {
            field.name: getattr(recipe, field.name)
            for field in dataclasses.fields(recipe)
            if field.default is dataclasses.MISSING or getattr(recipe, field.name) != field.default
        }
        content = {"recipe": changed, "initializer": dict(self.arm.initializer), "seed": self.seed}
        if self.arm.method is not None:
            content["method"] = dict(self.arm.method)
        if self.test:
            content["test"] = True
        return content_hash(content)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run gave.

    Args:
        key: the run's content hash.
        status: "finished" or "diverged" (a non-finite loss).
        history: one mapping per epoch: train_loss, train_accuracy, val_loss, val_accuracy.
        val_accuracy: after the last epoch, a fraction; 0.0 if the run diverged.
        test_accuracy, test_loss: likewise on the test split; None where it was not opened.
        started: start time, seconds since the epoch.
        seconds: wall time of building, training and testing.
        initialization: the initialiser's record as plain data; under "method" a training method's
            report on the trained layers.
        data: the data set's description, including its fingerprint.
        extra: further final figures, such as a method's test_accuracy_sampled.
        diagnostics: what was measured on the way, see `studies.engine.diagnosis.training.plain`;
            empty where nothing was.
    """

    key: str
    status: str
    history: tuple[Mapping[str, float | None], ...]
    val_accuracy: float
    test_accuracy: float | None
    test_loss: float | None
    started: float
    seconds: float
    initialization: Mapping[str, Any]
    data: Mapping[str, Any]
    extra: Mapping[str, float] = dataclasses.field(default_factory=dict)
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> Plain:
        """Plain data from which `Result.from_dict` makes an equal value."""
        # Not `asdict`: it would copy all that is inside, hundreds of values, for every training.
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**own, "history": list(self.history)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_dict`."""
        return cls(**{**data, "history": tuple(data["history"])})


@dataclasses.dataclass(frozen=True)
class Environment:
    """Where training happens; it is not part of a run's key.

    Results are reproducible bit for bit on one kind of device; a study refuses to continue on
    another, or with other data.

    Args:
        data_root: folder of the data files; None is the user's cache.
        accelerator: the Trainer's name of the device kind.
        devices: devices per host that train one run together, >= 1.
        num_nodes: hosts that do, >= 1.
        checkpoints: folder of epoch checkpoints; None keeps none.
        checkpoint_every: epochs between two of them; 0 keeps none.
        diagnostics: what is measured beside the accuracies: "off", "init" (the initial weights) or
            "epoch" (after every epoch too).
    """

    data_root: str | None = None
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    checkpoints: str | None = None
    checkpoint_every: int = 0
    diagnostics: str = "init"

    @property
    def world_size(self) -> int:
        """Processes that train one run together, one per device."""
        return self.devices * self.num_nodes


def diagnostic_fields(summary: Mapping[str, float]) -> dict[str, float]:
    """Diagnostics under the names that they have in tables and in tracking."""
    return {f"diagnostics.{name}": value for name, value in summary.items()}


def content_hash(content: Any) -> str:
    """First 16 hex digits of SHA-256 over canonical JSON: the same in every process."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
