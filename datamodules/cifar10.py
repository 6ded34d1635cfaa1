"""CIFAR-10, from its python batches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from datamodules.splits import RawData
from datamodules.torchvision_data import TorchvisionDataModule

OFFICIAL_SIZES: Mapping[str, int] = {
    "data_batch_1": 31_035_704,
    "data_batch_2": 31_035_320,
    "data_batch_3": 31_035_999,
    "data_batch_4": 31_035_696,
    "data_batch_5": 31_035_623,
    "test_batch": 31_035_526,
    "batches.meta": 158,
}
"""Bytes of the official files."""


class CIFAR10(TorchvisionDataModule):
    """Photographs of ten classes, 32x32 RGB: 45,000 to train, 5,000 to validate, 10,000 to test.

    Source: Krizhevsky 2009. The size of the validation split is that of Zhou et al. 2019. Files in
    ``root/cifar-10-batches-py``. Kept as uint8 (184 MB) and normalised batch by batch.
    """

    name = "cifar10"
    dataset = "CIFAR10"
    archives = "unpack the official cifar-10-python.tar.gz in the folder above"
    input_shape = (3, 32, 32)
    num_classes = 10
    val_size = 5000
    # Larger evaluation batches of a convolutional network leave the cache and cost memory.
    default_eval_batch_size = 250
    sizes = OFFICIAL_SIZES

    @property
    def folder(self) -> Path:
        """The folder of the batch files."""
        return self.root / "cifar-10-batches-py"

    def file_names(self) -> tuple[str, ...]:
        """Return the names of the five train batches, the test batch and the class names."""
        return tuple(self.sizes)

    def damage(self, path: Path) -> str | None:
        """Compare the file size with the official one."""
        found, expected = path.stat().st_size, self.sizes[path.name]
        return None if found == expected else f"{found:,} bytes instead of {expected:,}"

    def open_files(self, train: bool) -> Any:
        """Return torchvision's data set; it compares the MD5 sums before it unpickles anything."""
        try:
            return super().open_files(train)
        except RuntimeError as error:
            raise self._mismatch(error) from error

    def _mismatch(self, error: RuntimeError) -> RuntimeError:
        """Find the file that torchvision refused without naming it."""
        from torchvision.datasets.utils import check_integrity

        cls = self.dataset_class()
        sums = [*cls.train_list, *cls.test_list, (cls.meta["filename"], cls.meta["md5"])]
        for name, md5 in sums:
            if not check_integrity(str(self.folder / name), md5):
                return self.damaged(self.folder / name, "its MD5 sum is not the official one")
        return error

    def load(self) -> RawData:
        """Return the official train and test sets, images uint8 (n, 3, 32, 32)."""
        train, test = self.read(train=True), self.read(train=False)
        return RawData(*_arrays(train), *_arrays(test))


def _arrays(part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    # torchvision turns the files' (n, C, H, W) around; turning it back makes no copy.
    images = torch.from_numpy(part.data.transpose(0, 3, 1, 2))
    return images.contiguous(), torch.tensor(part.targets)
