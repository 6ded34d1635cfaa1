"""CIFAR-10: small batch files in the official format, with their own sizes and MD5 sums."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from datamodules import CIFAR10, DataDamagedError, DataUnavailableError
from datamodules.cifar10 import OFFICIAL_SIZES


@pytest.fixture
def small(tmp_path):
    """Write 6 images per file; returns (data module class, folder, images by file name)."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    images, sums, sizes = {}, {}, {}
    for name in OFFICIAL_SIZES:
        if name == "batches.meta":
            content = {"label_names": [str(label) for label in range(10)]}
        else:
            images[name] = random.integers(0, 256, (6, 3072), dtype=np.uint8)
            content = {"data": images[name], "labels": [0, 1, 2, 3, 4, 9]}
        packed = pickle.dumps(content)
        (folder / name).write_bytes(packed)
        sums[name], sizes[name] = hashlib.md5(packed).hexdigest(), len(packed)

    source = type(
        "Source",
        (torchvision.datasets.CIFAR10,),
        {
            "train_list": [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)],
            "test_list": [["test_batch", sums["test_batch"]]],
            "meta": {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
            "url": "http://127.0.0.1:9/none.tar.gz",
        },
    )
    small_sizes = sizes

    class Small(CIFAR10):
        val_size = 7
        sizes = small_sizes

        def dataset_class(self):
            return source

    return Small, folder, images


def test_reads_the_batches_as_channels_first_images(small, tmp_path):
    cls, _, images = small
    data = cls(root=tmp_path, download=False)
    raw = data.load()
    stacked = np.concatenate([images[f"data_batch_{i}"] for i in range(1, 6)])
    assert raw.train_x.is_contiguous()
    assert torch.equal(raw.train_x, torch.from_numpy(stacked).view(30, 3, 32, 32))
    assert raw.train_y.tolist() == [0, 1, 2, 3, 4, 9] * 5
    assert torch.equal(raw.test_x, torch.from_numpy(images["test_batch"]).view(6, 3, 32, 32))
    described = data.describe()
    assert [described[key] for key in ("n_train", "n_val", "n_test")] == [23, 7, 6]
    train = raw.train_x[data.indices("train")].double() / 255
    assert described["mean"] == pytest.approx(train.mean((0, 2, 3)).tolist())
    assert described["std"] == pytest.approx(train.std((0, 2, 3), correction=0).tolist())


def test_truncated_batch(small, tmp_path):
    cls, folder, _ = small
    path = folder / "data_batch_3"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    message = f"data_batch_3 is damaged .{size - 100:,} bytes instead of {size:,}"
    for action in (cls(root=tmp_path).prepare_data, cls(root=tmp_path, download=False).setup):
        with pytest.raises(DataDamagedError, match=message):
            action()


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_changed_byte_is_found_and_its_file_named(small, tmp_path, name):
    cls, folder, _ = small
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DataDamagedError, match=f"{name} is damaged .its MD5 sum is not"):
        cls(root=tmp_path, download=False).setup()


def test_missing_batches(small, tmp_path):
    cls, folder, _ = small
    (folder / "test_batch").unlink()
    for action in ("prepare_data", "setup"):
        with pytest.raises(DataUnavailableError, match=f"needs the files test_batch in {folder}: "):
            getattr(cls(root=tmp_path, download=False), action)()
    with pytest.raises(DataUnavailableError, match=r"and downloading failed \(.*refused"):
        cls(root=tmp_path).prepare_data()


def test_official_description():
    assert list(CIFAR10(root=Path("x")).file_names()) == [
        *(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "batches.meta",
    ]
    assert (CIFAR10.input_shape, CIFAR10.num_classes, CIFAR10.val_size) == ((3, 32, 32), 10, 5000)
    # The six image files hold 10,000 images of 3,072 bytes each, and labels and names.
    assert all(31e6 < size < 31.1e6 for name, size in OFFICIAL_SIZES.items() if "batch_" in name)
