"""The members of a stack: their networks, and who is still in it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from initializers import Initializer, InitRecord
from lightning_modules.classifier import Classifier
from lightning_modules.first_batch import first_batch
from lightning_modules.initialized import Spec
from lightning_modules.networks import build_network
from lightning_modules.optimization import Optimization
from lightning_modules.stacking import STACKS
from lightning_modules.stacking.batches import StackedBatches
from lightning_modules.stacking.block import Block
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


class MembersModule(pl.LightningModule):
    """A LightningModule that holds several networks of one architecture in blocks.

    It initialises them, lets them leave, hands one out, and keeps all that in checkpoints. What
    trains them is a subclass's: it calls `initialize_once` before it builds its optimisers, and
    `let_go` where members may leave. Arguments and attributes are those of `StackedClassifier`.
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
        self.members = tuple(members)
        self.optimization = optimization or Optimization()
        self.histories: list[list[dict[str, float]]] = [[] for _ in members]
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

    def initialize_once(self) -> None:
        """Initialise the members, unless they came from a checkpoint."""
        if not self.records:
            self.initialize(self._first_batches())

    def _first_batches(self) -> dict[int, Batch]:
        """By seed, the first training batch of the members whose initialiser needs data."""
        needy = [each for each in self.members if "data" in each.initializer.requirements()]
        if not needy:
            return {}
        self.trainer.fit_loop.setup_data()  # else there are no loaders yet
        loaders = cast(StackedBatches, self.trainer.train_dataloader).loaders
        world = self.trainer.world_size
        return {seed: first_batch(loaders[seed], world) for seed in {m.seed: 0 for m in needy}}

    def classifier(self, position: int) -> Classifier:
        """A member as a `Classifier` of its own, with its weights as they are now.

        Args:
            position: its place in `members`.

        Raises:
            ValueError: it has left the stack.
        """
        block = self._block_of(position)
        member = self.members[position]
        rule: dict[str, Any] = self.optimization.to_dict() | {"lr": self.rate(position)}
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

    def let_go(self) -> None:
        """Take those out who are to leave; stop training when none is left."""
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

    def rate(self, position: int) -> float:
        """The learning rate of a member."""
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

    def forward(self, x: Tensor) -> Tensor:
        """Logits (members, n, num_classes) of one batch (n, *input_shape) that all members see."""
        blocks = [block for block in self._blocks() if block.positions]
        return torch.cat([block(for_all(block, x)) for block in blocks])


def for_all(block: Block, x: Tensor) -> Tensor:
    """The same batch for all members: a view (members, *x.shape)."""
    return x.expand(len(block.positions), *x.shape)
