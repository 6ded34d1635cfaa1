"""The usual way to train one network: Lightning, a DataLoader, an MLflow run, an Optuna trial.

    python benchmarks/usual_way.py [--trials 5] [--only mnist --data-root FOLDER]

It is what a user writes from the documentation of these libraries: torchvision transforms, a
DataLoader without worker processes, `self.log` in every step, torchmetrics, the optimiser as
PyTorch makes it by default, MLFlowLogger and Optuna on SQLite files. Everything else is left at its
default, except what only costs time here: no progress bar, no model summary, no checkpoints.
Data sets and the MLflow store are opened once per process, outside of the figures. One thread.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import optuna
import torch
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics import Accuracy
from torchvision import datasets, transforms

from datamodules import get_datamodule
from lightning_modules import build_network
from studies.engine.run import Recipe

Initialize = Callable[[nn.Module], object]
EXPERIMENT = "usual way"
CASES = {
    "digits, lenet_300_100, batch 50": Recipe("digits", "lenet_300_100", 10, 50),
    "fashion_mnist, lenet_300_100, batch 60": Recipe(
        "fashion_mnist", "lenet_300_100", 3, 60, lr=1.2e-3, train_limit=6000
    ),
    "cifar10, conv4, batch 60": Recipe("cifar10", "conv4", 1, 60, lr=3e-4, train_limit=1500),
}


class Trained(NamedTuple):
    """What a training gave: wall seconds and accuracies as fractions; None if not measured."""

    seconds: float
    val_accuracy: float
    test_accuracy: float | None


class UsualModule(pl.LightningModule):
    """A classifier as tutorials write it.

    Args:
        network: what to train; maps (n, *input_shape) to logits (n, num_classes).
        num_classes: number of classes.
        optimizer: "adam", "adamw" or "sgd".
        lr, momentum, weight_decay, label_smoothing: as in `Recipe`.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        optimizer: str = "adam",
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network"])
        self.network = network
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.val_accuracy = Accuracy(task="multiclass", num_classes=num_classes)
        self.test_accuracy = Accuracy(task="multiclass", num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.network(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch, logged per step and per epoch."""
        x, y = batch
        loss: Tensor = self.loss(self(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log val_loss and val_accuracy."""
        x, y = batch
        logits = self(x)
        self.val_accuracy.update(logits, y)
        self.log("val_loss", nn.functional.cross_entropy(logits, y))
        self.log("val_accuracy", self.val_accuracy)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log test_loss and test_accuracy."""
        x, y = batch
        logits = self(x)
        self.test_accuracy.update(logits, y)
        self.log("test_loss", nn.functional.cross_entropy(logits, y))
        self.log("test_accuracy", self.test_accuracy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser in PyTorch's default form."""
        own: Any = self.hparams
        common = {"lr": own.lr, "weight_decay": own.weight_decay}
        if own.optimizer == "sgd":
            return torch.optim.SGD(self.parameters(), momentum=own.momentum, **common)
        kind = torch.optim.AdamW if own.optimizer == "adamw" else torch.optim.Adam
        return kind(self.parameters(), **common)


class DigitsDataset(Dataset[tuple[Any, int]]):
    """scikit-learn's digits in the style of torchvision's data sets.

    Args:
        transform: applied to an image, a float32 array (8, 8) in [0, 1].
    """

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        self.images = (digits.images / 16).astype("float32")
        self.targets = digits.target.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), self.targets[index]


class Splits(NamedTuple):
    """Data sets of the three splits, and what a network and the loaders need to know of them."""

    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any]
    input_shape: tuple[int, ...]
    num_classes: int
    eval_batch_size: int


@functools.lru_cache(maxsize=2)
def load_splits(
    data: str,
    data_root: str | None = None,
    split_seed: int = 0,
    train_limit: int | None = None,
    augment: str = "none",
) -> Splits:
    """The project's splits and normalisation of a data set, over torchvision-style data sets.

    Args:
        data: "digits", "mnist", "fashion_mnist" or "cifar10".
        data_root: folder that holds the files, as torchvision expects them; unused for digits.
        split_seed, train_limit: as in `Recipe`.
        augment: "none" or "crop_flip", which pads with black before the normalisation.

    Raises:
        KeyError: another data set.
    """
    project: Any = get_datamodule(
        data, root=data_root, split_seed=split_seed, train_limit=train_limit, download=False
    )
    facts = project.describe()
    to_tensor = [transforms.ToTensor(), transforms.Normalize(facts["mean"], facts["std"])]
    plain = transforms.Compose(to_tensor)
    if data == "digits":
        train = test = held_out = DigitsDataset(plain)
    else:
        names = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}
        open_files = functools.partial(getattr(datasets, names[data]), str(project.root))
        train = held_out = open_files(train=True, transform=plain)
        test = open_files(train=False, transform=plain)
        if augment == "crop_flip":
            changes = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
            train = open_files(train=True, transform=transforms.Compose([*changes, *to_tensor]))
    return Splits(
        train=Subset(train, project.indices("train").tolist()),
        val=Subset(held_out, project.indices("val").tolist()),
        test=Subset(test, project.indices("test").tolist()),
        input_shape=project.input_shape,
        num_classes=project.num_classes,
        eval_batch_size=project.options.eval_batch_size,
    )


def splits_of(recipe: Recipe, data_root: str | None = None) -> Splits:
    """The splits of a recipe; loaded once per process."""
    return load_splits(
        recipe.data, data_root, recipe.split_seed, recipe.train_limit, recipe.augment
    )


def train_usual(
    recipe: Recipe,
    initialize: Initialize,
    seed: int,
    *,
    tracking_uri: str,
    data_root: str | None = None,
    test: bool = False,
    accelerator: str = "cpu",
) -> Trained:
    """Train one network and record it as one MLflow run.

    Args:
        recipe: what to train; a constant learning rate only.
        initialize: sets the weights of the network, which come as zeros.
        seed: seeds Lightning, and so the order of the batches.
        tracking_uri: MLflow's store; created on first use, which takes some seconds.
        data_root: see `load_splits`.
        test: whether to end with `Trainer.test`.
        accelerator: the Trainer's name of the device kind.

    Returns:
        Seconds of everything from the network to the last figure, and the accuracies.

    Raises:
        ValueError: a recipe with a learning-rate schedule.
    """
    if recipe.schedule != "constant" or recipe.warmup_epochs:
        raise ValueError("The usual way is written for a constant learning rate.")
    data = splits_of(recipe, data_root)
    started = time.perf_counter()
    pl.seed_everything(seed, verbose=False)
    network = build_network(
        recipe.network, input_shape=data.input_shape, num_classes=data.num_classes
    )
    initialize(network)
    module = UsualModule(
        network,
        data.num_classes,
        recipe.optimizer,
        recipe.lr,
        recipe.momentum,
        recipe.weight_decay,
        recipe.label_smoothing,
    )
    trainer = pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator=accelerator,
        devices=1,
        precision=recipe.precision,  # type: ignore[arg-type]
        gradient_clip_val=recipe.gradient_clip or None,
        logger=MLFlowLogger(EXPERIMENT, tracking_uri=tracking_uri),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        module,
        DataLoader(data.train, batch_size=recipe.batch_size, shuffle=True),
        DataLoader(data.val, batch_size=data.eval_batch_size),
    )
    val_accuracy = trainer.callback_metrics["val_accuracy"].item()
    test_accuracy = None
    if test:
        loader = DataLoader(data.test, batch_size=data.eval_batch_size)
        test_accuracy = trainer.test(module, loader, verbose=False)[0]["test_accuracy"]
    return Trained(time.perf_counter() - started, val_accuracy, test_accuracy)


def he_normal(network: nn.Module, scale: float = 1.0) -> None:
    """He's initialisation by `torch.nn.init`, its standard deviation times `scale`."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data.mul_(scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def suggest_he(trial: optuna.Trial) -> Initialize:
    """He's initialisation with a scale that Optuna chooses."""
    return functools.partial(he_normal, scale=trial.suggest_float("scale", 0.25, 4.0, log=True))


def run_usual(
    recipe: Recipe,
    trials: int,
    *,
    suggest: Callable[[optuna.Trial], Initialize] = suggest_he,
    seeds: Sequence[int] | None = None,
    data_root: str | None = None,
    test: bool = False,
    accelerator: str = "cpu",
) -> list[Trained]:
    """Train in `study.optimize`, one training per trial; stores lie in a temporary folder.

    Args:
        recipe, data_root, test, accelerator: see `train_usual`.
        trials: number of trainings that count, >= 1; one more comes first, to warm up and to
            create MLflow's tables.
        suggest: makes an initialiser from a trial.
        seeds: seed per training; 0, 1, ... by default.

    Returns:
        One value per training; its seconds include Optuna's part.
    """
    quiet()
    splits_of(recipe, data_root)
    results: list[Trained] = []
    ends: list[float] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tracking_uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"

        def objective(trial: optuna.Trial) -> float:
            position = max(trial.number - 1, 0)  # the first one warms up
            results.append(
                train_usual(
                    recipe,
                    suggest(trial),
                    position if seeds is None else seeds[position],
                    tracking_uri=tracking_uri,
                    data_root=data_root,
                    test=test,
                    accelerator=accelerator,
                )
            )
            return results[-1].val_accuracy

        study = optuna.create_study(
            study_name="usual",
            storage=f"sqlite:///{Path(folder) / 'optuna.db'}",
            sampler=optuna.samplers.TPESampler(seed=0),
            direction="maximize",
        )
        study.optimize(
            objective, trials + 1, callbacks=[lambda study, trial: ends.append(time.perf_counter())]
        )
    spans = [end - start for start, end in itertools.pairwise(ends)]
    return [result._replace(seconds=span) for result, span in zip(results[1:], spans, strict=True)]


def steps_in(recipe: Recipe, data_root: str | None = None) -> int:
    """Optimiser steps of one training."""
    examples = len(splits_of(recipe, data_root).train)  # type: ignore[arg-type]
    return recipe.epochs * -(-examples // recipe.batch_size)


def quiet() -> None:
    """Turn off the libraries' notes and the warnings that a user knows and leaves be."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("lightning.pytorch", "lightning.fabric", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def main() -> None:
    """Time a few trainings of each case and print steps per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5, help="trainings per case")
    parser.add_argument("--only", default="digits", help="the cases whose name contains this")
    parser.add_argument("--data-root", help="folder of the data files; unused for digits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':<40}{'median s':>9}{'steps/s':>9}{'val':>8}")
    for name, recipe in CASES.items():
        if options.only in name:
            results = run_usual(recipe, options.trials, data_root=options.data_root)
            median = statistics.median(result.seconds for result in results)
            accuracy = statistics.fmean(result.val_accuracy for result in results)
            rate = steps_in(recipe, options.data_root) / median
            print(f"{name:<40}{median:>9.3f}{rate:>9.0f}{accuracy:>8.4f}", flush=True)


if __name__ == "__main__":
    main()
