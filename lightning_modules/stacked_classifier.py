"""Many classifiers of one architecture, trained together as a stack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.averaging import average_gradients_, take_over
from lightning_modules.initialized import Spec
from lightning_modules.optimization import Optimization
from lightning_modules.stacking import StackedOptimizer, clip_each_
from lightning_modules.stacking.batches import StackedBatches
from lightning_modules.stacking.block import Block, StackSums
from lightning_modules.stacking.members import Member as Member
from lightning_modules.stacking.members import MembersModule, for_all
from lightning_modules.whole_epoch import Batch


class StackedClassifier(MembersModule):
    """Trains several networks at once, each as `Classifier` would train it alone.

    The members share architecture, data and optimisation, and differ in initialiser, seed and
    learning rate. They are one module with stacked parameters under one Trainer, trained by
    manual optimisation from `StackedBatches`; the figures stand in `histories`. A member whose
    loss is not finite leaves the stack at the end of that epoch; `leave` takes out others. The
    rest go on as if it had never been there.

    Weights and figures agree with those of `Classifier` to rounding. `trainer.global_step` counts
    the steps of all blocks.

    Args:
        network: name, spec or mapping (see `Classifier`), or a network object whose architecture
            is taken.
        members: the networks; neighbours with equal learning rates are updated together.
        optimization: what all share.
        input_shape: shape of one example.
        num_classes: number of classes.
        form: a key of `lightning_modules.stacking.STACKS`.
        block: most members that take a step together; each block goes through an epoch before
            the next one does, so that what it works on stays in the processor's cache. None makes
            one block of all.
        channels_last: hold images with the channel as innermost dimension.
        fused: see `Optimization.build_optimizer`.

    Attributes:
        histories: for each member a list with one dict per epoch, as `Classifier.history`.
        tested: for each member test_loss and test_accuracy of the last test; empty if it left.
        diverged: for each member whether its loss was not finite.
        records: for each member what its initialiser did; None after loading a checkpoint.

    Raises:
        NotStackableError: the network has no stacked form.
        ValueError: an unknown name or a value outside its range.
    """

    def __init__(
        self,
        network: Spec | nn.Module,
        members: Sequence[Member],
        optimization: Optimization | None = None,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        form: str = "layers",
        block: int | None = None,
        channels_last: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__(
            network,
            members,
            optimization,
            input_shape=input_shape,
            num_classes=num_classes,
            form=form,
            block=block,
            channels_last=channels_last,
        )
        self.automatic_optimization = False
        self._fused = fused
        self.tested: list[dict[str, float]] = [{} for _ in members]

    # Training

    def configure_optimizers(self) -> Any:
        """Initialise the members, unless they came from a checkpoint; then give the optimisers,
        one per block.
        """
        self.initialize_once()
        optimizers = [
            StackedOptimizer(
                block.stacked,
                [self.rate(position) for position in block.positions],
                self.optimization,
                fused=self._fused,
            )
            for block in self._blocks()
        ]
        if self.optimization.is_constant:
            return optimizers
        self.trainer.fit_loop.setup_data()  # else there are no loaders yet
        steps, epochs = cast(StackedBatches, self.trainer.train_dataloader).steps, self._epochs()

        def factor(step: int) -> float:
            return self.optimization.factor(step, steps, steps * epochs)

        return optimizers, [LambdaLR(optimizer, factor) for optimizer in optimizers]

    def _epochs(self) -> int:
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise ValueError(
                f"StackedClassifier: schedule {self.optimization.schedule!r} with warm-up "
                f"{self.optimization.warmup_epochs:g} needs to know the length of the training; "
                "give the Trainer max_epochs."
            )
        return epochs

    def transfer_batch_to_device(self, batch: Any, device: torch.device, idx: int) -> Any:
        """Leave an epoch's loaders as they are; their batches move one by one."""
        if self.trainer.training:
            return batch
        return super().transfer_batch_to_device(batch, device, idx)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Take over the averaging of gradients: all steps of an epoch are one call to DDP."""
        take_over(self.trainer.strategy.model)

    def _reduce(self, value: Tensor) -> Tensor:
        """The sum over all processes of a float64 tensor, on the CPU."""
        if self.trainer.world_size > 1:
            value = self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
        return value.cpu()

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums: tensors on the device until the epoch ends."""
        self.let_go()
        smoothing = self.optimization.label_smoothing
        self._train = [StackSums(smoothing) for _ in self.blocks]
        self._measured = [StackSums() for _ in self.blocks]

    def training_step(self, batch: StackedBatches, batch_idx: int) -> None:
        """Train on all batches of one epoch, block by block."""
        schedulers: Any = self.lr_schedulers() or []
        schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
        state = torch.get_rng_state()
        for number, block in enumerate(self._blocks()):
            if block.positions:
                # Dropout and the like draw the same numbers for every block, as one by one.
                torch.set_rng_state(state)
                scheduler = schedulers[number] if schedulers else None
                self._train_block(number, block, batch, scheduler)

    def _train_block(
        self, number: int, block: Block, batches: StackedBatches, scheduler: Any
    ) -> None:
        optimizer, sums = self._optimizers()[number], self._train[number]
        kind = self.device.type
        mixed = torch.is_autocast_enabled(kind)
        clip = self.optimization.gradient_clip
        shared = self.trainer.world_size > 1
        seeds = {self.members[each].seed for each in block.positions}
        for index, batch in enumerate(batches.batches(seeds)):
            x, y = self._gathered(batch, block)
            logits = block.differentiate(x, y, self.manual_backward, mixed=mixed)
            sums.add(logits, y, batches.copies(index) if shared else 1)
            if shared:
                average_gradients_(block.stacked, y.shape[1])
            # The Trainer's autocast region spans this whole loop; it is meant for forward only.
            with torch.autocast(kind, enabled=False) if mixed else nullcontext():
                if clip > 0:
                    clip_each_(block.stacked, clip)
                optimizer.step()
            if scheduler is not None:
                scheduler.step()

    def _gathered(self, batch: Mapping[int, Batch], block: Block) -> Batch:
        """Inputs (members, n, *shape) and labels (members, n): views if all see the same."""
        like = block.stacked[0]
        moved = {seed: (x.to(like), y.to(like.device)) for seed, (x, y) in batch.items()}
        if len(moved) == 1:
            ((x, y),) = moved.values()
            return for_all(block, x), for_all(block, y)
        own = [moved[self.members[position].seed] for position in block.positions]
        return torch.stack([x for x, _ in own]), torch.stack([y for _, y in own])

    def on_train_epoch_end(self) -> None:
        """Take the epoch's figures off the device; members that diverged leave."""
        gone = []
        for block, train, measured in zip(self._blocks(), self._train, self._measured, strict=True):
            validated = measured.figures("val", self._reduce) or [{} for _ in block.positions]
            trained = train.figures("train", self._reduce)
            for position, first, second in zip(block.positions, trained, validated, strict=True):
                epoch = first | second
                self.histories[position].append(epoch)
                if not all(math.isfinite(value) for value in epoch.values()):
                    self.diverged[position] = True
                    gone.append(position)
        self.leave(gone)
        self.let_go()

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        """Start the sums of a validation pass."""
        self._sums = [StackSums() for _ in self.blocks]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one validation batch, seen by all members."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Keep the sums for the epoch's figures."""
        self._measured = self._sums

    def on_test_epoch_start(self) -> None:
        """Start the sums of a test pass."""
        self._sums = [StackSums() for _ in self.blocks]

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one test batch, seen by all members."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Set `tested`."""
        for block, sums in zip(self._blocks(), self._sums, strict=True):
            for position, figures in zip(
                block.positions, sums.figures("test", self._reduce), strict=False
            ):
                self.tested[position] = figures

    def _evaluate(self, batch: Batch) -> None:
        for block, sums in zip(self._blocks(), self._sums, strict=True):
            if block.positions:
                x, y = (for_all(block, part) for part in batch)
                sums.add(block(x), y)
