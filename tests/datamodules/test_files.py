"""MNIST's files: read by torchvision, found missing, damaged or downloaded."""

import gzip
import hashlib
import logging
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision

from datamodules import MNIST, DataDamagedError, DataUnavailableError, FashionMNIST

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


class SmallMNIST(MNIST):
    val_size = 8


class SmallFashion(FashionMNIST):
    val_size = 8


@pytest.mark.parametrize("cls", [SmallMNIST, SmallFashion])
def test_reads_the_official_format(cls, tmp_path, write_mnist):
    content = write_mnist(tmp_path, cls.dataset)
    data = cls(root=tmp_path, download=False)
    data.prepare_data()
    data.setup()
    described = data.describe()
    assert [described[key] for key in ("n_train", "n_val", "n_test")] == [32, 8, 15]
    mean, std = described["mean"][0], described["std"][0]
    for name, file in (("train", NAMES[0]), ("val", NAMES[0]), ("test", NAMES[2])):
        x, y = data.split(name)
        raw = content[file][data.indices(name)].unsqueeze(1)
        assert torch.allclose(x, (raw / 255 - mean) / std, atol=1e-5)
        assert torch.equal(y, data.indices(name) % 10)
    assert (MNIST.val_size, FashionMNIST.val_size) == (5000, 5000)
    assert data.default_batch_size == 60


def test_missing_files_are_one_sentence_with_both_ways_out(tmp_path):
    with pytest.raises(DataUnavailableError) as caught:
        MNIST(root=tmp_path, download=False).prepare_data()
    assert str(caught.value) == (
        f"mnist needs the files {', '.join(NAMES)} in {tmp_path}/MNIST/raw: run once with a "
        "network connection (and download allowed) to fetch them, or put them there (or their "
        "official .gz archives), or name the folder that holds MNIST/raw with --data-root "
        "(root=...)"
    )
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_missing_is_named(tmp_path, write_mnist):
    write_mnist(tmp_path)
    (tmp_path / "MNIST/raw" / NAMES[3]).unlink()
    data = SmallMNIST(root=tmp_path, download=False)
    with pytest.raises(DataUnavailableError, match=f"needs the files {NAMES[3]} in"):
        data.setup()  # also when nobody called prepare_data


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [0, 3, 12, -1])
def test_truncated_file(name, keep, tmp_path, write_mnist):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw" / name
    path.write_bytes(path.read_bytes()[:keep])
    for download in (False, True):
        with pytest.raises(DataDamagedError, match="delete it and run again") as caught:
            SmallMNIST(root=tmp_path, download=download).prepare_data()
        assert str(caught.value).startswith(f"{path} is damaged (")
    assert path.exists()


def test_a_file_that_is_too_long_or_something_else(tmp_path, write_mnist):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw" / NAMES[0]
    intact = path.read_bytes()
    path.write_bytes(intact + b"\0")
    message = r"31,377 bytes instead of the 31,376 that its header announces"
    with pytest.raises(DataDamagedError, match=message):
        SmallMNIST(root=tmp_path, download=False).setup()
    path.write_bytes(gzip.compress(intact))
    with pytest.raises(DataDamagedError, match="does not begin with the header of an idx3 file"):
        SmallMNIST(root=tmp_path, download=False).setup()


def test_images_of_another_size(tmp_path, write_mnist):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw" / NAMES[2]
    header = b"".join(n.to_bytes(4, "big") for n in (0x803, 15, 14, 56))
    path.write_bytes(header + path.read_bytes()[16:])
    with pytest.raises(ValueError, match=r"'mnist', test part: .* \(1, 14, 56\), expected"):
        SmallMNIST(root=tmp_path, download=False).setup()


@pytest.fixture
def mirror(tmp_path, write_mnist):
    """A web server on this machine with the archives; yields (data module class, requests)."""
    served = tmp_path / "served"
    write_mnist(served)
    folder = served / "MNIST/raw"
    resources = []
    for name in NAMES:
        packed = gzip.compress((folder / name).read_bytes())
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))

    requests: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(f"{self.command} {self.path}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield module_for(f"http://127.0.0.1:{server.server_port}/", resources), requests
    server.shutdown()
    server.server_close()
    thread.join()


def module_for(address, resources):
    source = type(
        "MNIST", (torchvision.datasets.MNIST,), {"mirrors": [address], "resources": resources}
    )

    class Mirrored(SmallMNIST):
        def dataset_class(self):
            return source

    return Mirrored


def test_downloads_once_and_quietly(mirror, tmp_path, capfd, caplog):
    cls, requests = mirror
    root = tmp_path / "new" / "folder"
    with caplog.at_level(logging.INFO, logger="datamodules"):
        cls(root=root).prepare_data()
    assert set(requests) == {f"GET /{name}.gz" for name in NAMES}
    assert caplog.messages == [f"downloading mnist to {root}"]
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None
    before = len(requests)
    data = cls(root=root)
    data.prepare_data()
    data.setup()
    assert len(requests) == before
    assert data.describe()["n_train"] == 32


def test_several_at_once_download_once(mirror, tmp_path):
    cls, requests = mirror
    modules = [cls(root=tmp_path / "shared") for _ in range(3)]
    threads = [threading.Thread(target=module.prepare_data) for module in modules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # torchvision asks for each file twice, first for the headers; two downloads would make 16.
    assert len(requests) <= 8
    assert len({module.fingerprint for module in modules}) == 1


def test_archives_that_lie_there_are_unpacked_without_network(mirror, tmp_path):
    cls, requests = mirror
    folder = tmp_path / "offline/MNIST/raw"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / f"{name}.gz").write_bytes(
            (tmp_path / "served/MNIST/raw" / f"{name}.gz").read_bytes()
        )
    data = cls(root=tmp_path / "offline")
    data.prepare_data()
    assert requests == []
    assert data.describe()["n_test"] == 15


def test_no_network(tmp_path):
    with socket.socket() as probe:  # a port where nobody listens
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cls = module_for(f"http://127.0.0.1:{port}/", [(f"{name}.gz", "0" * 32) for name in NAMES])
    with pytest.raises(DataUnavailableError) as caught:
        cls(root=tmp_path).prepare_data()
    message = str(caught.value)
    assert message.startswith(f"mnist needs the files {', '.join(NAMES)} in {tmp_path}/MNIST/raw, ")
    assert "downloading failed (<urlopen error [Errno 111] Connection refused>)" in message
    assert "\n" not in message
    assert "or put them there" in message
    assert socket.getdefaulttimeout() is None


def test_a_root_that_cannot_be_made(tmp_path, write_mnist):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataUnavailableError, match="raw, which cannot be written"):
        MNIST(root=tmp_path / "file" / "below").prepare_data()
