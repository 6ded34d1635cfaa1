"""Data sets held in memory as tensors, as Lightning DataModules.

A batch is an index operation: no worker processes, no Python per example. Importing this package
loads neither torch nor Lightning; both come with the first class that is touched.

>>> from datamodules import Digits
>>> data = Digits(batch_size=50, seed=1)
>>> x, y = next(iter(data.train_dataloader()))
>>> tuple(x.shape), tuple(y.shape)
((50, 1, 8, 8), (50,))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datamodules.errors import DataDamagedError, DataError, DataUnavailableError
from datamodules.registry import datamodule_names, get_datamodule

if TYPE_CHECKING:
    from datamodules.augmentation import CropFlip
    from datamodules.base import TensorDataModule
    from datamodules.batches import ShuffledBatches, TensorBatches
    from datamodules.cifar10 import CIFAR10
    from datamodules.digits import Digits
    from datamodules.mnist import MNIST, FashionMNIST
    from datamodules.normalization import Normalization
    from datamodules.splits import RawData, Split
    from datamodules.tensors import Tensors

__all__ = [
    "CIFAR10",
    "MNIST",
    "CropFlip",
    "DataDamagedError",
    "DataError",
    "DataUnavailableError",
    "Digits",
    "FashionMNIST",
    "Normalization",
    "RawData",
    "ShuffledBatches",
    "Split",
    "TensorBatches",
    "TensorDataModule",
    "Tensors",
    "datamodule_names",
    "get_datamodule",
]

_HOMES = {
    "CIFAR10": "cifar10",
    "CropFlip": "augmentation",
    "Digits": "digits",
    "FashionMNIST": "mnist",
    "MNIST": "mnist",
    "Normalization": "normalization",
    "RawData": "splits",
    "ShuffledBatches": "batches",
    "Split": "splits",
    "TensorBatches": "batches",
    "TensorDataModule": "base",
    "Tensors": "tensors",
}


def __getattr__(name: str) -> Any:
    """Import a public class from its module when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
