"""Iterables that cut batches out of tensors in memory."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from datamodules.augmentation import CropFlip
from datamodules.normalization import Normalization
from datamodules.seeding import generator
from datamodules.splits import Split


class TensorBatches:
    """Batches of a split in its stored order, for validation and testing.

    Every example comes exactly once. The batches are of nearly equal size, at most ``batch_size``
    (so that each of several processes gets a share of every batch, and none is empty); process
    ``rank`` of ``world_size`` yields its share of each.

    Args:
        split: examples and labels on one device.
        batch_size: upper limit of the examples per batch, over all processes together.
        normalization: applied to each batch; None if the split is stored normalised.
        rank: index of this process, 0 to world_size - 1.
        world_size: number of processes that share the batches.

    Raises:
        ValueError: no examples, or fewer than processes.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        normalization: Normalization | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be from 0 to {world_size - 1}, not {rank}")
        self.x, self.y = split
        self.batch_size = batch_size
        self.normalization = normalization
        self.rank, self.world_size = rank, world_size
        self._bounds = self._shares()

    def _shares(self) -> list[tuple[int, int]]:
        """Return this process's range [start, stop) of every batch."""
        n = len(self.y)
        if n < self.world_size:
            raise ValueError(f"{n} examples cannot be shared by {self.world_size} process(es)")
        count = min(-(-n // self.batch_size), n // self.world_size)
        edges = [n * i // count for i in range(count + 1)]
        return [self._share(edges[i], edges[i + 1]) for i in range(count)]

    def _share(self, start: int, stop: int) -> tuple[int, int]:
        size = stop - start
        return (
            start + size * self.rank // self.world_size,
            start + size * (self.rank + 1) // self.world_size,
        )

    def __len__(self) -> int:
        """Return the number of batches, the same for every process."""
        return len(self._bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x, y): float32 (b, *input_shape), views where stored normalised; int64 (b,)."""
        for start, stop in self._bounds:
            x = self.x[start:stop]
            yield x if self.normalization is None else self.normalization(x), self.y[start:stop]


class ShuffleOrder:
    """The order of the examples in each epoch: a permutation from (seed, epoch) alone.

    Lightning calls :meth:`set_epoch` on a loader's ``sampler`` before every epoch, also when it
    resumes from a checkpoint.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next pass over the data belongs to."""
        self.epoch = epoch

    def permutation(self, epoch: int) -> Tensor:
        """Return the order of an epoch, int64 (n,)."""
        return torch.randperm(self.n, generator=generator(self.seed, "shuffle", epoch))


class ShuffledBatches(TensorBatches):
    """Training batches: a new order every epoch, the same for everyone with the same seed.

    Which examples a batch holds, in which order and how they are augmented follows from the seed
    and the epoch alone, not from the global random state, the model or the number of processes.

    **Epochs.** Each pass (each ``for`` loop over the object) is one epoch, the first is epoch 0.
    ``sampler.set_epoch(k)`` makes the next pass epoch k; Lightning's Trainer always does that. A
    pass begins when its first batch is asked for. ``state_dict`` holds the place inside the epoch,
    so a checkpoint written in the middle of an epoch resumes with the batch that was next.

    **Several processes.** ``batch_size`` counts all processes together and must be divisible by
    their number; each takes its part of every batch, so the averaged gradient is that of one
    process. A last, smaller batch that cannot be divided evenly is given whole to every process,
    which keeps that gradient; ``copies`` tells metrics that count examples. With ``uneven``,
    shares of any batch may differ by one example, and gradients have to be weighed by examples;
    then only a batch with fewer examples than processes is given whole.

    Args:
        split: examples and labels on one device.
        batch_size: examples per optimiser step, over all processes together.
        seed: seed of order and augmentation.
        normalization: applied to each batch; None if the split is stored normalised.
        augmentation: applied to each normalised batch.
        drop_last: leave out a last batch that is smaller than the others.
        uneven: let shares of a batch differ by one example.
        rank: index of this process.
        world_size: number of processes that share the batches.

    Raises:
        ValueError: batch_size not divisible by the number of processes without ``uneven``, or no
            batch at all.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int = 0,
        normalization: Normalization | None = None,
        augmentation: CropFlip | None = None,
        drop_last: bool = False,
        uneven: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.drop_last, self.uneven = drop_last, uneven
        super().__init__(
            split, batch_size, normalization=normalization, rank=rank, world_size=world_size
        )
        self.seed = seed
        self.augmentation = augmentation
        self.sampler = ShuffleOrder(len(self.y), seed)
        self._sizes = [stop - start for start, stop in self._bounds]
        self._positions = torch.cat([torch.arange(*bounds) for bounds in self._bounds])
        self._place = (0, 0)  # epoch of the latest pass, batches it has yielded
        self._resume: tuple[int, int] | None = None

    def _shares(self) -> list[tuple[int, int]]:
        n, size, world = len(self.y), self.batch_size, self.world_size
        if size % world and not self.uneven:
            raise ValueError(f"batch_size {size} is not divisible by the {world} processes")
        edges = [*range(0, n + 1, size)]
        if edges[-1] < n and not self.drop_last:
            edges.append(n)
        shares = []
        self._copies = []
        for start, stop in pairwise(edges):
            count = stop - start
            shared = count >= world if self.uneven else count % world == 0
            shares.append(self._share(start, stop) if shared else (start, stop))
            self._copies.append(1 if shared else world)
        if not shares:
            raise ValueError(
                f"drop_last with batch_size {size} leaves no batch of {n} training examples"
            )
        return shares

    def copies(self, index: int) -> int:
        """Return how many processes get all examples of a batch: 1 where they share them."""
        return self._copies[index]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x, y) of one epoch: new float32 tensors (b, *input_shape), int64 (b,)."""
        epoch = self.sampler.epoch
        self.sampler.set_epoch(epoch + 1)
        resume, self._resume = self._resume, None
        first = resume[1] if resume is not None and resume[0] == epoch else 0
        self._place = (epoch, first)

        order = self.sampler.permutation(epoch)[self._positions].to(self.y.device)
        indices = torch.split(order, self._sizes)
        labels = torch.split(self.y.index_select(0, order), self._sizes)
        draws = self._draws(epoch)
        for k in range(first, len(indices)):
            x = self.x.index_select(0, indices[k])
            if self.normalization is not None:
                x = self.normalization(x)
            if self.augmentation is not None:
                x = self.augmentation(x, draws[k])
            self._place = (epoch, k + 1)
            yield x, labels[k]

    def _draws(self, epoch: int) -> tuple[Tensor, ...]:
        if self.augmentation is None:
            return ()
        # Drawn for the whole epoch, so that every process cuts its part from the same draws.
        draws = self.augmentation.draw(len(self.y), generator(self.seed, "augment", epoch))
        return torch.split(draws[self._positions].to(self.y.device), self._sizes)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the data as plain values (Lightning stores it in checkpoints)."""
        epoch, batch = self._place
        return {"epoch": epoch, "batch": batch, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a place: the pass over that epoch starts with the batch that was next.

        Raises:
            ValueError: the place lies inside an epoch, and that epoch's batches were others.
        """
        place = state["epoch"], state["batch"]
        before = {name: state[name] for name in self._identity()}
        inside = 0 < place[1] < len(self)
        if inside and before != self._identity():
            raise ValueError(
                f"the checkpoint was written in the middle of an epoch with {before}, "
                f"which cannot go on with {self._identity()}"
            )
        self._place = place
        self._resume = place
        self.sampler.set_epoch(place[0])

    def _identity(self) -> dict[str, int]:
        return {"seed": self.seed, "batch_size": self.batch_size, "examples": len(self.y)}
