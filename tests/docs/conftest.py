"""What the pages' examples find: a folder of their own, one thread, data without a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture
def playground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, first on the import path, with small files in MNIST's format."""
    folder, data = tmp_path / "page", tmp_path / "data"
    folder.mkdir()
    write_mnist(data)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("TERNARY_STUDIES_DATA", str(data))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    threads, before = torch.get_num_threads(), set(sys.modules)
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "my_package":
            del sys.modules[name]


def write_mnist(root: Path) -> None:
    """Write 5,200 training and 100 test images in the four files of MNIST."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 5_200), ("t10k", 100)):
        labels = (torch.arange(count) % 10).to(torch.uint8)
        images = (25 * labels).repeat_interleave(28 * 28)
        for kind, sizes, content in (
            ("images-idx3", (count, 28, 28), images),
            ("labels-idx1", (count,), labels),
        ):
            header = b"".join(size.to_bytes(4, "big") for size in (0x0800 + len(sizes), *sizes))
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + content.numpy().tobytes())
