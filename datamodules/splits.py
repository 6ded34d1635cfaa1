"""Raw data as a data set delivers them, and their division into train, validation and test."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.seeding import generator


class Split(NamedTuple):
    """Examples ``x`` (n, *input_shape) and labels ``y`` (n,), int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class RawData:
    """What :meth:`TensorDataModule.load` returns.

    Args:
        train_x: examples, shape (n, *input_shape), uint8 or floating point.
        train_y: labels, shape (n,), integers from 0 to num_classes - 1.
        test_x: examples of the official test set; None if the data set has none, then the test
            split is taken from the examples above.
        test_y: their labels.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor | None = None
    test_y: Tensor | None = None

    def check(self, name: str, input_shape: tuple[int, ...], num_classes: int) -> None:
        """Check shapes, dtypes and label range.

        Raises:
            ValueError: naming the data set, the part and what is wrong with it.
        """
        if (self.test_x is None) != (self.test_y is None):
            raise ValueError(f"data set {name!r}: test examples and test labels must come together")
        parts = [("train", self.train_x, self.train_y)]
        if self.test_x is not None and self.test_y is not None:
            if self.test_x.dtype != self.train_x.dtype:
                raise ValueError(
                    f"data set {name!r}: training examples are {self.train_x.dtype}, "
                    f"test examples {self.test_x.dtype}, but both must be the same"
                )
            parts.append(("test", self.test_x, self.test_y))
        for part, x, y in parts:
            where = f"data set {name!r}, {part} part"
            if tuple(x.shape[1:]) != input_shape:
                raise ValueError(
                    f"{where}: an example has shape {tuple(x.shape[1:])}, expected {input_shape}"
                )
            if x.dtype != torch.uint8 and not x.is_floating_point():
                raise ValueError(f"{where}: examples are {x.dtype}, expected uint8 or floats")
            if y.dim() != 1 or y.is_floating_point() or len(x) != len(y):
                raise ValueError(
                    f"{where}: {len(x)} examples need as many integer labels, "
                    f"got {y.dtype} of shape {tuple(y.shape)}"
                )
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < num_classes:
                raise ValueError(
                    f"{where}: labels run from {int(y.min())} to {int(y.max())}, "
                    f"expected 0 to {num_classes - 1}"
                )
            if x.is_floating_point() and not bool(torch.isfinite(x).all()):
                raise ValueError(f"{where}: examples contain values that are not finite")


def split_indices(n: int, held_out: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    """Divide range(n) at random.

    Args:
        n: number of examples.
        held_out: sizes of the parts that are held out.
        seed: split seed; the result depends on nothing else.

    Returns:
        int64 index tensors: first what is left for training, then each held-out part, disjoint
        and together complete, each in random order.

    Raises:
        ValueError: nothing would be left for training.
    """
    left = n - sum(held_out)
    if left < 1:
        raise ValueError(
            f"{n} examples are too few: {' + '.join(map(str, held_out))} are held out for "
            "validation and testing"
        )
    order = torch.randperm(n, generator=generator(seed, "split"))
    return torch.split(order, [left, *held_out])


def fingerprint(*splits: Split) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of raw splits: shapes, dtypes and all bytes."""
    digest = hashlib.sha256()
    for tensor in (tensor for split in splits for tensor in split):
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:16]
