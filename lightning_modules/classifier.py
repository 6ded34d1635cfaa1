"""A classifier into which network and initialiser are injected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from initializers import Batch, Initializer, InitRecord, get_initializer
from lightning_modules.averaging import copies_of
from lightning_modules.first_batch import first_batch
from lightning_modules.loss_sums import LossSums
from lightning_modules.memory_format import in_channels_last, use_channels_last
from lightning_modules.methods import Applied, TrainingMethod, get_method
from lightning_modules.networks import build_network, plain_spec
from lightning_modules.optimization import Optimization

Spec = str | Mapping[str, Any]


class Classifier(pl.LightningModule):
    """Trains a network, whose weights an injected initialiser sets, to classify.

    The network is built when the Trainer first meets the data (shapes come from the DataModule),
    and initialised exactly once, before the optimiser exists: the same weights on every process,
    and never again when training resumes from a checkpoint or the model was loaded from one.
    An initialiser that needs data is given the first training batch, of all processes together.

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

    network: nn.Module | None

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
        super().__init__()
        self.channels_last = channels_last
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
        self.initializer = get_initializer(initializer)
        self.method = None if method is None else get_method(method)
        self.applied: Applied | None = None
        self.seed = seed
        self.record: InitRecord | None = None
        self.history: list[dict[str, float]] = []
        self.tested: dict[str, float] = {}
        self.diverged = False
        self._initialized = False
        self._spec = network
        # Checkpoints hold plain data only, so that they load with weights_only=True.
        self.save_hyperparameters(
            {
                "network": _plain(network),
                "initializer": self.initializer.to_dict(),
                **self.optimization.to_dict(),
                "seed": seed,
                **({} if self.method is None else {"method": self.method.to_dict()}),
            },
            logger=False,
        )
        self.val_metric = MulticlassAccuracy(average="micro", validate_args=False)
        self.test_metric = MulticlassAccuracy(average="micro", validate_args=False)
        self.network = network if isinstance(network, nn.Module) else None
        self._shape: tuple[list[int], int] | None = None
        if self.network is None and input_shape is not None and num_classes is not None:
            self._build(tuple(input_shape), num_classes)

    # Building and initialising

    def setup(self, stage: str) -> None:
        """Build the network for the attached data, if it is not there yet."""
        if self.network is None:
            data = getattr(self.trainer, "datamodule", None)
            shape, classes = (getattr(data, name, None) for name in ("input_shape", "num_classes"))
            if shape is None or classes is None:
                raise ValueError(
                    "Classifier: the network's shape is unknown; pass a DataModule with "
                    "input_shape and num_classes to the Trainer, or give both to Classifier."
                )
            self._build(tuple(shape), int(classes))
        # In training the optimiser's hook initialises: by then a checkpoint has been restored. What
        # a method trains has to be there before: strategies and checkpoints look for it.
        if not self._initialized and (stage != "fit" or self.method is not None):
            self.initialize(self._first_batch() if stage == "fit" else None)

    def initialize(self, batch: Batch | None = None) -> InitRecord:
        """Set the network's parameters by the injected initialiser; returns its record.

        Called by the Trainer's hooks; of use without a Trainer. A second call sets the same
        weights again.

        Args:
            batch: inputs and labels for an initialiser that needs data.

        Raises:
            ValueError: no network yet, data that are needed and missing, or a network that the
                initialiser cannot handle.
        """
        if self.network is None:
            raise ValueError("Classifier: give input_shape and num_classes, or attach data first.")
        if self.applied is not None:
            self.applied.release()
        self.record = self.initializer(self.network, seed=self.seed, batch=batch)
        self._apply_method()
        self._initialized = True
        return self.record

    def _apply_method(self) -> None:
        if self.method is not None and self.network is not None:
            self.applied = self.method.apply(self.network, seed=self.seed)

    def adopt(self, record: InitRecord | None) -> None:
        """Take the weights as they are for initialised; `record` says by what."""
        self.record = record
        self._initialized = True

    def _first_batch(self) -> Batch | None:
        """The first training batch, if the initialiser needs data."""
        if "data" not in self.initializer.requirements():
            return None
        self.trainer.fit_loop.setup_data()  # else there may be no loader yet
        return first_batch(self._batches(), self.trainer.world_size)

    def _batches(self) -> Any:
        """The loader of training batches."""
        return self.trainer.train_dataloader

    def _build(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        if self._spec is None:
            raise ValueError(
                "Classifier: this checkpoint was made with a network object; load it with "
                "Classifier.load_from_checkpoint(path, network=<the same network>)."
            )
        self.network = build_network(self._spec, input_shape=input_shape, num_classes=num_classes)
        self._shape = (list(input_shape), num_classes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights what is needed to rebuild the network around them."""
        checkpoint["classifier"] = {
            "shape": None if self._shape is None else list(self._shape),
            "history": self.history,
            "diverged": self.diverged,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rebuild the network before its weights arrive; they count as initialised."""
        saved = checkpoint["classifier"]
        if self.network is None:
            shape, classes = saved["shape"] or ((), 0)
            self._build(tuple(shape), classes)
        if self.applied is None:
            self._apply_method()
        self.history = list(saved["history"])
        self.diverged = bool(saved["diverged"])
        self._initialized = True

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of a batch (n, *input_shape)."""
        if self.network is None:
            raise ValueError("Classifier: give input_shape and num_classes, or attach data first.")
        logits: Tensor = self.network(in_channels_last(x) if self.channels_last else x)
        return logits

    # Training

    def configure_optimizers(self) -> Any:
        """Initialise the network, unless that was done or it came from a checkpoint; then give
        the optimiser and, where the rate is not constant, its per-step schedule.
        """
        if not self._initialized:
            self.initialize(self._first_batch())
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
        self._start_evaluation()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one validation batch to val_loss and val_accuracy."""
        self._evaluate(batch, self.val_metric)

    def on_validation_epoch_end(self) -> None:
        """Log val_loss and val_accuracy."""
        self._measured = self._figures("val", self.val_metric)
        self._publish(self._measured)

    def on_test_epoch_start(self) -> None:
        """Start the sums of a test pass."""
        self._start_evaluation()

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one test batch to test_loss and test_accuracy."""
        self._evaluate(batch, self.test_metric)

    def on_test_epoch_end(self) -> None:
        """Log test_loss and test_accuracy."""
        self.tested = self._figures("test", self.test_metric)
        self.log_dict(self.tested, sync_dist=self.trainer.world_size > 1)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Class probabilities (n, num_classes) of a batch; labels in the batch are ignored."""
        x = batch[0] if isinstance(batch, list | tuple) else batch
        return torch.softmax(self(x), dim=1)

    def _start_evaluation(self) -> None:
        self._sums = LossSums()
        views = () if self.applied is None else self.applied.views
        self._viewed: dict[str, list[Tensor]] = {view: [] for view in views}

    def _evaluate(self, batch: tuple[Tensor, Tensor], metric: Any) -> None:
        x, y = batch
        logits = self(x)
        metric.update(logits, y)
        self._sums.add(nn.functional.cross_entropy(logits, y), len(y))
        for view, correct in self._viewed.items():
            assert self.applied is not None
            with self.applied.viewed_as(view):
                correct.append((self(x).argmax(dim=1) == y).sum())

    def _figures(self, stage: str, metric: Any) -> dict[str, float]:
        loss, count = self._sums.total(self._reduce)
        # The metric is a fraction of whole examples in float32: give it all its digits.
        accuracy = round(metric.compute().item() * count) / count
        metric.reset()
        figures = {f"{stage}_loss": loss / count, f"{stage}_accuracy": accuracy}
        for view, correct in self._viewed.items():
            total = self._reduce(torch.stack(correct).sum().double()).item()
            figures[f"{stage}_accuracy_{view}"] = total / count
        return figures


def _plain(network: Spec | nn.Module | None) -> str | dict[str, Any] | None:
    """The network as plain data; None for an object, which has none."""
    if network is None or isinstance(network, nn.Module):
        return None
    return plain_spec(network)
