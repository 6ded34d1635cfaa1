"""Parts that a user would bring: a network and data sets by import path."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules import RawData, TensorDataModule


class Net(nn.Module):
    """A network with dropout, which draws from the global generator."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        size = int(torch.tensor(input_shape).prod())
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, 20),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(20, num_classes),
        )

    def forward(self, x: Tensor) -> Any:
        return self.body(x)


def blobs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three Gaussian blobs in five dimensions."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return torch.randn(n, 5, generator=generator) + 4 * nn.functional.one_hot(y, 5), y


class Blobs(TensorDataModule):
    """Data in memory, as ours."""

    name, input_shape, num_classes = "blobs", (5,), 3
    val_size, test_size = 30, 60

    def load(self) -> RawData:
        return RawData(*blobs(300, seed=0))


class PlainBlobs(pl.LightningDataModule):
    """An ordinary LightningDataModule with torch's loaders."""

    input_shape, num_classes = (5,), 3

    def __init__(self, batch_size: int = 32, seed: int = 0, root: str = "") -> None:
        super().__init__()
        self.batch_size, self.seed, self.root = batch_size, seed, root

    def _loader(self, n: int, seed: int, shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*blobs(n, seed)), self.batch_size, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(200, 0, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(30, 1)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(60, 2)
