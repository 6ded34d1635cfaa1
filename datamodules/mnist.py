"""MNIST and Fashion-MNIST, from their idx files."""

from math import prod
from pathlib import Path

from datamodules.splits import RawData
from datamodules.torchvision_data import TorchvisionDataModule

_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


class MNIST(TorchvisionDataModule):
    """Handwritten digits, 28x28 grey: 55,000 to train, 5,000 to validate, 10,000 to test.

    Source: LeCun, Bottou, Bengio and Haffner 1998. The size of the validation split is that of
    Zhou et al. 2019. Files in ``root/MNIST/raw``.
    """

    name = "mnist"
    dataset = "MNIST"
    archives = "their official .gz archives"
    input_shape = (1, 28, 28)
    num_classes = 10
    val_size = 5000

    @property
    def folder(self) -> Path:
        """The folder of the four idx files."""
        return self.root / self.dataset / "raw"

    def file_names(self) -> tuple[str, ...]:
        """Return the four unpacked files: images and labels of the train and the test set."""
        return tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in (_IMAGES, _LABELS))

    def damage(self, path: Path) -> str | None:
        """Compare magic number and file size with the idx header (4 bytes, then sizes)."""
        rank = 3 if path.name.endswith(_IMAGES) else 1
        with path.open("rb") as file:
            header = file.read(4 * (1 + rank))
        words = [int.from_bytes(header[i : i + 4], "big") for i in range(0, len(header), 4)]
        if len(header) < 4 * (1 + rank) or words[0] != 0x0800 + rank:
            return f"it does not begin with the header of an idx{rank} file of bytes"
        expected, found = len(header) + prod(words[1:]), path.stat().st_size
        if found != expected:
            return f"{found:,} bytes instead of the {expected:,} that its header announces"
        return None

    def load(self) -> RawData:
        """Return the official train and test sets, images uint8 (n, 1, 28, 28)."""
        train, test = self.read(train=True), self.read(train=False)
        return RawData(train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets)


class FashionMNIST(MNIST):
    """Zalando's articles, 28x28 grey, a stand-in for MNIST: same sizes and splits.

    Source: Xiao, Rasul and Vollgraf 2017. Files in ``root/FashionMNIST/raw``.
    """

    name = "fashion_mnist"
    dataset = "FashionMNIST"
