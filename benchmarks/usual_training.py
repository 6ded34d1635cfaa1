"""One training the usual way: a LightningModule as tutorials write it, a Trainer, an MLflow run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import Accuracy
from usual_data import splits_of

from lightning_modules import build_network
from studies.engine.run import Recipe

Initialize = Callable[[nn.Module], object]
EXPERIMENT = "usual way"


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
