"""The options of every study, as typed values with their help texts."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from studies.engine.errors import UserError


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """What is trained on what; None stands for the data set's default."""

    data: str = _option(
        "digits", "data set: digits, mnist, fashion_mnist, cifar10 or pkg.mod:Class"
    )
    data_root: str | None = _option(None, "folder of the data files (default: the user's cache)")
    network: str | None = _option(
        None, "lenet_300_100, mlp:widths=64-300-100-10, conv2, conv4, conv6, resnet20, "
        "torchvision:NAME or pkg.mod:Class (default: per data set)"
    )  # fmt: skip
    epochs: int | None = _option(None, "passes over the training data (default: per data set)")
    batch_size: int | None = _option(None, "examples per step (default: per data set)")
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "adadelta"] = _option("adam", "optimiser")
    lr: float | None = _option(None, "learning rate (default: per data set)")
    momentum: float = _option(0.9, "momentum of SGD")
    weight_decay: float = _option(0.0, "weight decay")
    schedule: Literal["constant", "cosine", "steps"] = _option("constant", "learning-rate schedule")
    milestones: list[int] = dataclasses.field(
        default_factory=list, metadata={"help": "epochs of schedule steps, as [10,15]"}
    )
    gamma: float = _option(0.1, "factor of schedule steps")
    warmup_epochs: float = _option(0.0, "epochs of linear warm-up")
    label_smoothing: float = _option(0.0, "label smoothing")
    gradient_clip: float = _option(0.0, "largest gradient norm; 0 does not clip")
    augment: Literal["none", "crop_flip"] = _option("none", "augmentation of the training data")
    precision: Literal["32-true", "bf16-mixed", "64-true"] = _option("32-true", "precision")
    train_limit: int | None = _option(None, "use only this many training examples")
    split_seed: int = _option(0, "seed of the train/validation/test split")
    accelerator: str = _option("auto", "auto, cpu, gpu, mps ...")
    tracking_uri: str | None = _option(None, "MLflow store (default: mlflow.yaml)")
    experiment: str | None = _option(None, "MLflow experiment (default: the study's name)")
    checkpoint_every: int = _option(
        0, "save every run after so many epochs, to continue from there if interrupted; 0: never"
    )
    diagnostics: Literal["off", "init", "epoch"] = _option(
        "init", "measure signals and gradients of every network: at the start, or each epoch too"
    )
    quiet: bool = _option(False, "no progress")

    def __post_init__(self) -> None:
        """Refuse numbers that no recipe can have; optimiser values are checked by their owner."""
        _at_least("epochs", self.epochs, 1)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("train_limit", self.train_limit, 1)
        _at_least("checkpoint_every", self.checkpoint_every, 0)
        _at_least("split_seed", self.split_seed, 0, 2**62)


@dataclasses.dataclass(frozen=True)
class StudyOptions(RecipeOptions):
    """Options of `python -m studies.<name>`."""

    trials: int | None = _option(None, "search trials per family (default: per data set)")
    search_seeds: int | None = _option(None, "seeds per search trial (default: per data set)")
    seeds: int | None = _option(None, "confirmation seeds (default: per data set)")
    margin: float | None = _option(
        None, "equivalence margin (default: the study's, 0.5 percentage points of accuracy)"
    )
    quick: bool = _option(False, "a smaller experiment of minutes, in a folder of its own")
    tune_lr: bool = _option(False, "every family also searches its learning rate")
    study_seed: int = _option(0, "seed of the search; shifts all run seeds")
    workers: int | Literal["auto"] = _option(
        "auto", "worker processes (auto: one per core, 1 with an --accelerator)"
    )
    devices: int | Literal["auto"] = _option(
        "auto", "devices per host that train each run together (auto: as launched, else 1)"
    )
    num_nodes: int | Literal["auto"] = _option(
        "auto", "hosts that train each run together (auto: as launched, else 1)"
    )
    stack: int | Literal["auto"] = _option(
        "auto", "most networks trained at once in one process (auto: calibrated; 1: one by one)"
    )
    storage: str | None = _option(
        None, "queue and ledger (default: a journal in the output folder)"
    )
    output: str | None = _option(None, "results folder (default: outputs/STUDY/DATA-NETWORK)")
    dry_run: bool = _option(False, "print the plan and an estimate of its time, train nothing")
    fresh: bool = _option(False, "discard earlier results of this output folder and start over")

    def __post_init__(self) -> None:
        """Refuse numbers that no study can have."""
        super().__post_init__()
        _at_least("trials", self.trials, 1)
        _at_least("search_seeds", self.search_seeds, 1, 100_000)
        _at_least("seeds", self.seeds, 0, 100_000)
        _at_least("workers", None if self.workers == "auto" else self.workers, 1)
        _at_least("devices", None if self.devices == "auto" else self.devices, 1)
        _at_least("num_nodes", None if self.num_nodes == "auto" else self.num_nodes, 1)
        _at_least("stack", None if self.stack == "auto" else self.stack, 1)
        _at_least("study_seed", self.study_seed, 0, 1_000_000)
        if self.seeds is not None and self.seeds < 2:
            raise UserError(
                f"--seeds must be at least 2, got {self.seeds}: "
                "a difference between arms cannot be judged from one seed."
            )
        if self.margin is not None and not 0 < self.margin < 100:
            raise UserError(f"--margin must be in (0, 100) percentage points, got {self.margin:g}.")


@dataclasses.dataclass(frozen=True)
class TrainOptions(RecipeOptions):
    """Options of `python -m studies.train`."""

    initializer: str = _option("he_normal", "initialiser: name, spec or pkg.mod:Class")
    method: str | None = _option(
        None, "training method: name, spec or pkg.mod:Class; without --lr it brings its paper's "
        "optimiser settings (default: train the weights)"
    )  # fmt: skip
    seed: int = _option(0, "seed of weights and batch order")
    output: str = _option("outputs/train", "folder of checkpoint and results")

    def __post_init__(self) -> None:
        """Refuse a seed that no generator takes."""
        super().__post_init__()
        _at_least("seed", self.seed, 0, 2**62)


def flag(name: str) -> str:
    """The command-line spelling of an option's name."""
    return "--" + name.replace("_", "-")


def _at_least(name: str, value: int | None, low: int, high: int | None = None) -> None:
    if value is not None and value < low:
        raise UserError(f"{flag(name)} must be at least {low}, got {value}.")
    if value is not None and high is not None and value > high:
        raise UserError(f"{flag(name)} must be at most {high}, got {value}.")
