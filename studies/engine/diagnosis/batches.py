"""The examples that networks are measured on."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from datamodules import TensorDataModule
from lightning_modules.first_batch import first_batch
from lightning_modules.networks.rng import isolated_rng


def first_examples(data: Any, count: int) -> tuple[Tensor, Tensor]:
    """The first training examples of a DataModule in its own order, the same for every seed.

    Of a loader without such an order they are those of its first batch.

    Args:
        data: a `TensorDataModule`, or a user's own DataModule.
        count: most examples, >= 1.

    Raises:
        ValueError: a loader without a pair of tensors.
    """
    if isinstance(data, TensorDataModule):
        return data.first_examples(count)
    loader = data.train_dataloader()
    if isinstance(loader, DataLoader) and hasattr(loader.dataset, "__getitem__"):
        with isolated_rng():
            number = min(count, len(loader.dataset))  # type: ignore[arg-type]
            batch = loader.collate_fn([loader.dataset[index] for index in range(number)])
        if isinstance(batch, list | tuple) and len(batch) == 2:
            return batch[0], batch[1]
    x, y = first_batch(loader)
    return x[:count], y[:count]
