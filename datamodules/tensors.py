"""A data set from tensors the user already has."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.options import check_count
from datamodules.splits import RawData


class Tensors(TensorDataModule):
    """A DataModule from tensors or arrays, no subclass needed.

    Args:
        train_x: examples, shape (n, C, H, W) or (n, features); uint8 or floating point.
        train_y: labels, shape (n,), integers from 0.
        test_x: test examples; without them the test split is taken from the training examples.
        test_y: their labels.
        val_size: examples held out for validation; default n // 10.
        test_size: examples held out for testing if there are no test examples; default n // 10.
        num_classes: default: the largest label of all plus 1.
        name: name in messages and in :meth:`TensorDataModule.describe`.
        **options: as for every data set: batch_size, seed, split_seed, augment, ...

    Raises:
        ValueError: shapes, dtypes, labels or sizes that do not go together.
    """

    def __init__(
        self,
        train_x: Tensor | ArrayLike,
        train_y: Tensor | ArrayLike,
        test_x: Tensor | ArrayLike | None = None,
        test_y: Tensor | ArrayLike | None = None,
        *,
        val_size: int | None = None,
        test_size: int | None = None,
        num_classes: int | None = None,
        name: str = "tensors",
        **options: Any,
    ) -> None:
        raw = RawData(
            _tensor(train_x),
            _tensor(train_y),
            None if test_x is None else _tensor(test_x),
            None if test_y is None else _tensor(test_y),
        )
        if raw.train_x.dim() < 2 or raw.train_x.numel() == 0:
            raise ValueError(
                "train_x must have shape (examples, features) or (examples, channels, height, "
                f"width) with none of them 0, not {tuple(raw.train_x.shape)}"
            )
        tenth = max(1, len(raw.train_x) // 10)
        self.name = name
        self.input_shape = tuple(raw.train_x.shape[1:])
        self.val_size = tenth if val_size is None else val_size
        self.test_size = tenth if test_size is None else test_size
        labels = [part for part in (raw.train_y, raw.test_y) if part is not None and part.numel()]
        largest = max((int(part.max()) for part in labels), default=0)
        self.num_classes = largest + 1 if num_classes is None else num_classes
        check_count("val_size", self.val_size)
        check_count("test_size", self.test_size)
        check_count("num_classes", self.num_classes)
        raw.check(name, self.input_shape, self.num_classes)
        self._raw = raw
        super().__init__(**options)

    def load(self) -> RawData:
        """Return the tensors that were given."""
        return self._raw


def _tensor(data: Tensor | ArrayLike) -> Tensor:
    return data.detach().cpu() if isinstance(data, Tensor) else torch.as_tensor(np.asarray(data))
