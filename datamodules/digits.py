"""Digits: scikit-learn's embedded 8x8 images."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.base import TensorDataModule
from datamodules.splits import RawData


class Digits(TensorDataModule):
    """1,797 handwritten digits, 8x8 grey: 1,000 to train, 297 to validate, 500 to test.

    They come with scikit-learn (``sklearn.datasets.load_digits``), so nothing is downloaded.
    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository (its test part). Pixel values 0 to 16 are scaled to [0, 1].
    """

    name = "digits"
    input_shape = (1, 8, 8)
    num_classes = 10
    val_size = 297
    test_size = 500
    default_batch_size = 50

    def load(self) -> RawData:
        """Return all images (1797, 1, 8, 8), float32 in [0, 1], and their labels."""
        table = torch.from_numpy(_table())
        images = table[:, :-1].float().div_(16).reshape(-1, *self.input_shape)
        return RawData(images, table[:, -1].long())


def _table() -> NDArray[np.float64]:
    """Return the 64 pixels and the label of every image, (1797, 65).

    scikit-learn's file is read without scikit-learn, whose import takes longer than training a
    small network.
    """
    found = importlib.util.find_spec("sklearn")
    for folder in () if found is None else found.submodule_search_locations or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])
