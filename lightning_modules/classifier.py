"""A classifier into which network and initialiser are injected."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from initializers import Initializer
from lightning_modules.averaging import copies_of
from lightning_modules.evaluation import Evaluation
from lightning_modules.initialized import InitializedModule, Spec
from lightning_modules.loss_sums import LossSums
from lightning_modules.memory_format import use_channels_last
from lightning_modules.methods import TrainingMethod
from lightning_modules.optimization import Optimization


class Classifier(InitializedModule):
    """Trains a network, whose weights an injected initialiser sets, to classify.

    The network is built for the data that it meets and initialised exactly once: see
    `InitializedModule`.

    Logged once an epoch: train_loss, train_accuracy, val_loss, val_accuracy; by `Trainer.test`:
    test_loss and test_accuracy. Accuracies are fractions in [0, 1], losses mean nats per example;
    the training figures are averages over the epoch's batches while the weights move. `history`
    holds the same figures as a list with one dict per epoch, and those of a training method.

    A non-finite loss sets `diverged`, and training stops at the end of that epoch.

    Args:
        network: name or spec ("lenet_300_100", "mlp:widths=64-32-10", "torchvision:resnet18",
            "package.module:Net"), a mapping with "name", or an `nn.Module`. None only stands in
            checkpoints of a network object, which cannot be rebuilt from plain data.
        initializer: name, spec ("ternary:density=0.1"), mapping, import path or `Initializer`.
        optimizer, lr, momentum, weight_decay, schedule, milestones, gamma, warmup_epochs,
            label_smoothing, gradient_clip: see `Optimization`.
        seed: seed of the initialiser's per-parameter streams.
        input_shape: shape of one example without the batch dimension; None takes the DataModule's.
        num_classes: number of classes; None takes the DataModule's.
        channels_last: hold images and filters with the channel as innermost dimension while
            training, which many devices convolve faster.
        fused: see `Optimization.build_optimizer`.
        method: what is trained instead of the weights that the initialiser sets: name, spec
            ("supermask"), mapping, import path or `methods.TrainingMethod`; None trains the
            weights.

    Attributes:
        tested: test_loss and test_accuracy of the last test, to all digits.
        record: what the initialiser did (`InitRecord`), once it has run in this process.
        applied: the network under its training method (`methods.Applied`), if it has one.

    Raises:
        ValueError: an unknown name or a value outside its range.
    """

    def __init__(
        self,
        network: Spec | nn.Module | None,
        initializer: Spec | Initializer,
        optimizer: str = "adam",
        lr: float = 1e-3,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        milestones: tuple[int, ...] | list[int] = (),
        gamma: float = 0.1,
        warmup_epochs: float = 0.0,
        label_smoothing: float = 0.0,
        gradient_clip: float = 0.0,
        seed: int = 0,
        input_shape: tuple[int, ...] | list[int] | None = None,
        num_classes: int | None = None,
        channels_last: bool = False,
        fused: bool = True,
        method: Spec | TrainingMethod | None = None,
    ) -> None:
        super().__init__(
            network,
            initializer,
            seed=seed,
            input_shape=input_shape,
            num_classes=num_classes,
            channels_last=channels_last,
            method=method,
        )
        self.fused = fused
        self.optimization = Optimization(
            optimizer=optimizer,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            milestones=tuple(milestones),
            gamma=gamma,
            warmup_epochs=warmup_epochs,
            label_smoothing=label_smoothing,
            gradient_clip=gradient_clip,
        )
        self.history: list[dict[str, float]] = []
        self.tested: dict[str, float] = {}
        self.diverged = False
        self.save_hyperparameters(
            self.plain_arguments() | self.optimization.to_dict(), logger=False
        )
        self.val_metric = MulticlassAccuracy(average="micro", validate_args=False)
        self.test_metric = MulticlassAccuracy(average="micro", validate_args=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights what was measured, and what rebuilds the network around them."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["classifier"] |= {"history": self.history, "diverged": self.diverged}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rebuild the network before its weights arrive; they count as initialised."""
        super().on_load_checkpoint(checkpoint)
        self.history = list(checkpoint["classifier"]["history"])
        self.diverged = bool(checkpoint["classifier"]["diverged"])

    # Training

    def configure_optimizers(self) -> Any:
        """Initialise the network, unless that was done or it came from a checkpoint; then give
        the optimiser and, where the rate is not constant, its per-step schedule.
        """
        self.initialize_once()
        if self.channels_last and self.network is not None:
            use_channels_last(self.network)
        # Lightning's learning-rate finder leaves its answer in the hyperparameters.
        self.optimization = replace(self.optimization, lr=float(self.hparams["lr"]))
        if self.applied is None:
            optimizer = self.optimization.build_optimizer(
                self.parameters(), self._factors(), fused=self.fused
            )
        else:
            optimizer = self.applied.build_optimizer(self.optimization)
        if self.optimization.is_constant:
            return optimizer
        scheduler = self.optimization.build_scheduler(optimizer, *self._steps())
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _factors(self) -> dict[nn.Parameter, float]:
        """The initialiser's factors on the learning rates, by parameter."""
        assert self.network is not None
        rates = self.initializer.rates(self.network, self.optimization.optimizer)
        return {self.network.get_parameter(name): factor for name, factor in rates.items()}

    def _steps(self) -> tuple[int, int]:
        """Optimiser steps per epoch and in all."""
        self.trainer.fit_loop.setup_data()  # else the number of batches may be unknown yet
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise ValueError(
                f"Classifier: schedule {self.optimization.schedule!r} with warm-up "
                f"{self.optimization.warmup_epochs:g} needs to know the length of the training; "
                "give the Trainer max_epochs or max_steps."
            )
        batches = int(self.trainer.num_training_batches)
        return max(1, batches // self.trainer.accumulate_grad_batches), int(total)

    def on_train_start(self) -> None:
        """Tell the training method how long training will be."""
        if self.applied is not None:
            self.applied.begin(self.trainer.max_epochs)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums: they stay tensors on the device until the epoch ends."""
        self._train, self._measured = LossSums(), dict[str, float]()
        self._correct: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch of (n, *input_shape) inputs and (n,) int64 labels."""
        x, y = batch
        if self.applied is not None:
            self.applied.at(self.current_epoch, batch_idx)
        logits = self(x)
        loss = self.optimization.loss(logits, y)
        self._count(loss, logits, y, batch_idx)
        penalty = None if self.applied is None else self.applied.penalty()
        return loss if penalty is None else loss + penalty

    def _count(self, loss: Tensor, logits: Tensor, y: Tensor, batch_idx: int) -> None:
        copies = 1
        if self.trainer.world_size > 1:
            copies = copies_of(self._batches(), batch_idx)
        self._train.add(loss, len(y) / copies)
        correct = (logits.detach().argmax(dim=1) == y).sum()
        self._correct.append(correct if copies == 1 else correct / copies)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the recipe says; the Trainer's own option applies where the recipe has none."""
        if self.optimization.gradient_clip > 0:
            self.optimization.clip(self.parameters())
        else:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def on_train_epoch_end(self) -> None:
        """Take the epoch's figures off the device, log them, and stop if the loss is not finite."""
        correct = self._reduce(torch.stack(self._correct).sum().double())
        loss, count = self._train.total(self._reduce)
        figures = {"train_loss": loss / count, "train_accuracy": correct.item() / count}
        if self.applied is not None:
            figures |= self.applied.metrics()
        self._publish(figures)
        figures |= self._measured
        self.history.append(figures)
        if not all(math.isfinite(value) for value in figures.values()):
            self.diverged = True
            self.trainer.should_stop = True

    def _publish(self, figures: dict[str, float]) -> None:
        """Hand figures to loggers, checkpoints and early stopping."""
        self.log_dict(figures, sync_dist=self.trainer.world_size > 1)

    def _reduce(self, value: Tensor) -> Tensor:
        """The sum over all processes of a float64 scalar, on the CPU."""
        if self.trainer.world_size > 1:
            value = self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
        return value.cpu()

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        """Start the sums of a validation pass."""
        self._evaluation = Evaluation(self.val_metric, self.applied)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one validation batch to val_loss and val_accuracy."""
        self._evaluation.add(self, batch)

    def on_validation_epoch_end(self) -> None:
        """Log val_loss and val_accuracy."""
        self._measured = self._evaluation.figures("val", self._reduce)
        self._publish(self._measured)

    def on_test_epoch_start(self) -> None:
        """Start the sums of a test pass."""
        self._evaluation = Evaluation(self.test_metric, self.applied)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one test batch to test_loss and test_accuracy."""
        self._evaluation.add(self, batch)

    def on_test_epoch_end(self) -> None:
        """Log test_loss and test_accuracy."""
        self.tested = self._evaluation.figures("test", self._reduce)
        self.log_dict(self.tested, sync_dist=self.trainer.world_size > 1)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Class probabilities (n, num_classes) of a batch; labels in the batch are ignored."""
        x = batch[0] if isinstance(batch, list | tuple) else batch
        return torch.softmax(self(x), dim=1)
