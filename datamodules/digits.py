"""Digits: scikit-learn's embedded 8x8 images."""

import torch

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
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.from_numpy(digits.images).float().div_(16)
        return RawData(images.unsqueeze(1), torch.from_numpy(digits.target))
