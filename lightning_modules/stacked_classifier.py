"""Many classifiers of one architecture, trained together as a stack."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from initializers import Initializer, InitRecord
from lightning_modules.averaging import average_gradients_, take_over
from lightning_modules.classifier import Classifier, Spec
from lightning_modules.first_batch import first_batch
from lightning_modules.networks import build_network
from lightning_modules.optimization import Optimization
from lightning_modules.stacking import STACKS, StackedOptimizer, clip_each_
from lightning_modules.stacking.batches import StackedBatches
from lightning_modules.stacking.block import Block, StackSums
from lightning_modules.whole_epoch import Batch


@dataclass(frozen=True)
class Member:
    """One network of a stack.

    Args:
        initializer: sets its weights.
        seed: seed of the weights, and of the batches it is trained on.
        lr: its learning rate; None takes that of the optimisation.
    """

    initializer: Initializer
    seed: int = 0
    lr: float | None = None


class StackedClassifier(pl.LightningModule):
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
        super().__init__()
        if not members:
            raise ValueError("StackedClassifier: give at least one member.")
        for member in members:
            if member.initializer.sets_rates():
                raise ValueError(
                    f"StackedClassifier: {member.initializer} comes with learning rates for single "
                    "parameters, which a stack does not have; train it alone."
                )
        self.automatic_optimization = False
        self._fused = fused
        self.members = tuple(members)
        self.optimization = optimization or Optimization()
        self.histories: list[list[dict[str, float]]] = [[] for _ in members]
        self.tested: list[dict[str, float]] = [{} for _ in members]
        self.diverged = [False for _ in members]
        self.records: list[InitRecord | None] = []
        self._leaving: set[int] = set()
        self._spec = network
        self._data: dict[str, Any] = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
        }
        # In a list, so that it is no part of this module: every member is initialised in it.
        self._pattern = [build_network(network, **self._data)]
        count = -(-len(self.members) // (block or len(self.members)))
        edges = [len(self.members) * part // count for part in range(count + 1)]
        self.blocks = nn.ModuleList(
            Block(
                STACKS[form](self._pattern[0], stop - start),
                range(start, stop),
                self.optimization,
                channels_last,
            )
            for start, stop in pairwise(edges)
        )

    # Members

    @property
    def active(self) -> list[int]:
        """Positions of the members that are still in the stack."""
        return [position for block in self._blocks() for position in block.positions]

    def initialize(self, batches: Mapping[int, Batch] | None = None) -> list[InitRecord | None]:
        """Set every member's parameters by its initialiser; returns the records.

        Args:
            batches: by seed, inputs and labels for members whose initialiser needs data.
        """
        pattern = self._pattern[0].to(self._blocks()[0].stacked[0])
        self.records = []
        for block in self._blocks():
            for row, position in enumerate(block.positions):
                member = self.members[position]
                data = (batches or {}).get(member.seed)
                self.records.append(member.initializer(pattern, seed=member.seed, batch=data))
                block.network.load_member(row, pattern)
        return self.records

    def classifier(self, position: int) -> Classifier:
        """A member as a `Classifier` of its own, with its weights as they are now.

        Args:
            position: its place in `members`.

        Raises:
            ValueError: it has left the stack.
        """
        block = self._block_of(position)
        member = self.members[position]
        rule: dict[str, Any] = self.optimization.to_dict() | {"lr": self._rate(position)}
        network = copy.deepcopy(self._spec)
        model = Classifier(network, member.initializer, **rule, seed=member.seed, **self._data)
        if "data" in member.initializer.requirements():
            model.adopt(self.records[position])
        else:
            model.initialize()
        assert model.network is not None
        model.network.to(block.stacked[0])
        block.network.store_member(block.positions.index(position), model.network)
        model.history = list(self.histories[position])
        model.diverged = self.diverged[position]
        return model

    def member_network(self, position: int) -> nn.Module:
        """A member's weights as they are now, in a network that is used again for the next one.

        Args:
            position: its place in `members`.

        Raises:
            ValueError: it has left the stack.
        """
        block = self._block_of(position)
        pattern = self._pattern[0].to(block.stacked[0])
        block.network.store_member(block.positions.index(position), pattern)
        return pattern

    def _block_of(self, position: int) -> Block:
        for block in self._blocks():
            if position in block.positions:
                return block
        raise ValueError(f"Member {position} has left the stack; {self.active} are in it.")

    def leave(self, positions: Iterable[int]) -> None:
        """Take members out of the stack at the end of the epoch; their histories stay.

        For callbacks, at any time. When none is left, training stops.

        Args:
            positions: places in `members`.
        """
        self._leaving.update(positions)

    def _let_go(self) -> None:
        gone, self._leaving = self._leaving, set()
        if not gone:
            return
        for block, optimizer in zip(self._blocks(), self._optimizers(), strict=True):
            rows = [row for row, position in enumerate(block.positions) if position not in gone]
            if len(rows) < len(block.positions):
                block.keep(rows)
                optimizer.optimizer.keep(rows)
        if not self.active:
            self.trainer.should_stop = True

    def _rate(self, position: int) -> float:
        rate = self.members[position].lr
        return self.optimization.lr if rate is None else rate

    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    def _optimizers(self) -> list[Any]:
        optimizers: Any = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights who is in the stack and what was measured."""
        checkpoint["stack"] = {
            "blocks": [block.positions for block in self._blocks()],
            "histories": self.histories,
            "diverged": self.diverged,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take out the members that had left, before the weights of the others arrive."""
        saved = checkpoint["stack"]
        for block, positions in zip(self._blocks(), saved["blocks"], strict=True):
            block.keep([block.positions.index(position) for position in positions])
        self.histories = [list(history) for history in saved["histories"]]
        self.diverged = list(saved["diverged"])
        self.records = self.records or [None] * len(self.members)

    def setup(self, stage: str) -> None:
        """Initialise the members for a test without training; else the optimiser's hook does."""
        if stage != "fit" and not self.records:
            self.initialize()

    # Training

    def configure_optimizers(self) -> Any:
        """Initialise the members, unless they came from a checkpoint; then give the optimisers,
        one per block.
        """
        if not self.records:
            self.initialize(self._first_batches())
        optimizers = [
            StackedOptimizer(
                block.stacked,
                [self._rate(position) for position in block.positions],
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

    def _first_batches(self) -> dict[int, Batch]:
        """By seed, the first training batch of the members whose initialiser needs data."""
        needy = [each for each in self.members if "data" in each.initializer.requirements()]
        if not needy:
            return {}
        self.trainer.fit_loop.setup_data()  # else there are no loaders yet
        loaders = cast(StackedBatches, self.trainer.train_dataloader).loaders
        world = self.trainer.world_size
        return {seed: first_batch(loaders[seed], world) for seed in {m.seed: 0 for m in needy}}

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

    def forward(self, x: Tensor) -> Tensor:
        """Logits (members, n, num_classes) of one batch (n, *input_shape) that all members see."""
        blocks = [block for block in self._blocks() if block.positions]
        return torch.cat([block(_for_all(block, x)) for block in blocks])

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
        self._let_go()
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
            return _for_all(block, x), _for_all(block, y)
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
        self._let_go()

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
                x, y = (_for_all(block, part) for part in batch)
                sums.add(block(x), y)


def _for_all(block: Block, x: Tensor) -> Tensor:
    """The same batch for all members: a view (members, *x.shape)."""
    return x.expand(len(block.positions), *x.shape)
