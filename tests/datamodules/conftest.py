from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def idx_bytes(data: torch.Tensor) -> bytes:
    """The idx format of uint8 data: magic number, sizes, bytes."""
    words = [0x0800 + data.dim(), *data.shape]
    return b"".join(int(word).to_bytes(4, "big") for word in words) + data.numpy().tobytes()


@pytest.fixture
def write_mnist() -> Callable[..., dict[str, torch.Tensor]]:
    """Write a small data set in MNIST's files below a root; returns the tensors by file name."""

    def write(root: Path, name: str = "MNIST", n_train: int = 40, n_test: int = 15):
        generator = torch.Generator().manual_seed(5)
        folder = root / name / "raw"
        folder.mkdir(parents=True)
        content = {}
        for part, n in (("train", n_train), ("t10k", n_test)):
            images = torch.randint(0, 256, (n, 28, 28), generator=generator, dtype=torch.uint8)
            content[f"{part}-images-idx3-ubyte"] = images
            content[f"{part}-labels-idx1-ubyte"] = (torch.arange(n) % 10).to(torch.uint8)
        for file_name, data in content.items():
            (folder / file_name).write_bytes(idx_bytes(data))
        return content

    return write
