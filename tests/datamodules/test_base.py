import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from datamodules import CropFlip, Digits, RawData, TensorDataModule, Tensors, loaded
from datamodules.options import DataOptions, default_root
from datamodules.seeding import generator


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def test_digits_splits_are_disjoint_complete_and_of_the_stated_sizes(digits):
    parts = [digits.indices(name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [1000, 297, 500]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(1797))
    source = load_digits()
    for name in ("train", "val", "test"):
        x, y = digits.split(name)
        where = digits.indices(name).numpy()
        assert x.shape == (len(y), 1, 8, 8)
        assert (y.numpy() == source.target[where]).all()
        raw = x * digits._data().normalization.std[0] + digits._data().normalization.mean[0]
        assert np.allclose(raw[:, 0].numpy() * 16, source.images[where], atol=1e-4)


def test_digits_are_read_without_scikit_learn_and_with_it_alike(monkeypatch) -> None:
    alone = Digits().load()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    by_library = Digits().load()
    for read in (alone, by_library):
        assert read.train_x.shape == (1797, 1, 8, 8)
        assert (read.train_x.dtype, read.train_y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(alone.train_x, by_library.train_x)
    assert torch.equal(alone.train_y, by_library.train_y)


def test_normalised_by_the_train_split_only(digits):
    train = digits.tensors("train").x.double()
    assert abs(train.mean().item()) < 1e-6
    assert abs(train.std(correction=0).item() - 1) < 1e-6
    # The other splits are shifted by the same constants, so their moments are near, not equal.
    test = digits.tensors("test").x.double()
    assert 1e-4 < abs(test.mean().item()) < 0.05


def test_validation_and_test_do_not_influence_normalisation():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 3, generator=generator), torch.arange(60) % 3
    plain = Tensors(x, y, val_size=10, test_size=10)
    outliers = x.clone()
    outliers[torch.cat((plain.indices("val"), plain.indices("test")))] *= 1000
    changed = Tensors(outliers, y, val_size=10, test_size=10)
    assert plain.describe()["mean"] == changed.describe()["mean"]
    assert torch.equal(plain.split("train").x, changed.split("train").x)
    assert not torch.equal(plain.split("val").x, changed.split("val").x)
    assert plain.fingerprint != changed.fingerprint


def test_split_seed_moves_the_split_and_seed_does_not(digits):
    other = Digits(split_seed=1)
    assert not torch.equal(other.indices("test"), digits.indices("test"))
    assert other.fingerprint != digits.fingerprint
    assert Digits(seed=5).fingerprint == digits.fingerprint == "4ab033ca33f57990"
    assert not torch.equal(
        next(iter(Digits(seed=5).train_dataloader()))[1],
        next(iter(digits.train_dataloader()))[1],
    )


def test_describe(digits):
    described = digits.describe()
    assert described | {"mean": None, "std": None} == {
        "name": "digits",
        "n_train": 1000,
        "n_val": 297,
        "n_test": 500,
        "input_shape": [1, 8, 8],
        "num_classes": 10,
        "mean": None,
        "std": None,
        "fingerprint": "4ab033ca33f57990",
    }
    assert described["mean"] == pytest.approx([0.3058], abs=1e-4)
    assert described["std"] == pytest.approx([0.3762], abs=1e-4)


def test_loaders_follow_the_options(digits):
    assert [len(digits.train_dataloader()), len(digits.val_dataloader())] == [20, 1]
    small = digits.with_options(batch_size=300, eval_batch_size=100, drop_last=True)
    assert len(small.train_dataloader()) == 3
    assert [len(y) for _, y in small.val_dataloader()] == [99, 99, 99]
    assert len(small.test_dataloader()) == 5
    assert small.batch_size == 300
    assert digits.batch_size == 50
    limited = Digits(train_limit=120)
    assert len(limited.split("train").y) == 120
    assert torch.equal(limited.indices("train"), digits.indices("train")[:120])
    assert torch.equal(limited.indices("val"), digits.indices("val"))


def test_variants_share_the_tensors_and_reload_only_if_need_be(digits):
    variant = digits.with_options(seed=9, augment="crop_flip")
    assert variant.split("train").x.data_ptr() == digits.split("train").x.data_ptr()
    assert variant.options.seed == 9
    assert digits.options.seed == 0
    reloaded = digits.with_options(split_seed=9)
    assert torch.equal(reloaded.indices("val"), Digits(split_seed=9).indices("val"))
    with pytest.raises(ValueError, match=r"no option 'batchsize' \(did you mean 'batch_size'\?\)"):
        digits.with_options(batchsize=3)


def test_only_training_batches_are_augmented(digits):
    varied = digits.with_options(augment="crop_flip", batch_size=1000)
    (x, y), (plain, same) = (
        next(iter(data.with_options(batch_size=1000).train_dataloader()))
        for data in (varied, digits)
    )
    assert torch.equal(y, same)
    draws = CropFlip().draw(1000, generator(0, "augment", 0))
    assert torch.equal(x, CropFlip()(plain, draws))
    assert not torch.equal(x, plain)
    assert torch.equal(next(iter(varied.val_dataloader()))[0], digits.split("val").x)


def test_moving_to_a_device(digits):
    moved = digits.with_options(batch_size=64).to("meta")
    x, y = next(iter(moved.train_dataloader()))
    assert (x.device.type, y.device.type, tuple(x.shape)) == ("meta", "meta", (64, 1, 8, 8))
    assert digits.split("train").x.device.type == "cpu"


def test_large_uint8_data_stay_bytes_with_the_same_batches(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (90, 3, 4, 4), generator=generator, dtype=torch.uint8)
    y = torch.arange(90) % 5
    floats = Tensors(x, y, batch_size=16, augment="crop_flip")
    assert floats.split("train").x.dtype == torch.float32
    monkeypatch.setattr(loaded, "FLOAT_LIMIT", 4 * x.numel() - 1)
    stored = Tensors(x, y, batch_size=16, augment="crop_flip")
    assert stored.split("train").x.dtype == torch.uint8
    for kind in ("train", "val", "test"):
        pairs = zip(
            getattr(floats, f"{kind}_dataloader")(),
            getattr(stored, f"{kind}_dataloader")(),
            strict=True,
        )
        for (x1, y1), (x2, y2) in pairs:
            assert torch.equal(x1, x2)
            assert torch.equal(y1, y2)
    assert torch.equal(stored.tensors("val", 4).x, floats.tensors("val").x[:4])
    assert stored.fingerprint == floats.fingerprint


def test_tensors_with_an_official_test_set():
    x, y = np.eye(20, 4), np.arange(20) % 2
    data = Tensors(x, y, x[:7], y[:7], val_size=5, name="eye")
    described = data.describe()
    assert [described[key] for key in ("n_train", "n_val", "n_test")] == [15, 5, 7]
    assert (data.input_shape, data.num_classes, data.name) == ((4,), 2, "eye")
    assert torch.equal(data.indices("test"), torch.arange(7))
    assert data.split("test").y.tolist() == y[:7].tolist()
    assert (x == np.eye(20, 4)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_x": torch.zeros(5)}, r"train_x must have shape .* not \(5,\)"),
        ({"train_x": torch.zeros(0, 3)}, r"with none of them 0, not \(0, 3\)"),
        ({"num_classes": 1}, "labels run from 0 to 1, expected 0 to 0"),
        ({"val_size": 0}, "val_size must be at least 1, not 0"),
        ({"augment": "crop_flip"}, "needs images"),
        ({"train_y": torch.zeros(9).long()}, "10 examples need as many integer labels"),
    ],
)
def test_tensors_that_do_not_fit(arguments, message):
    given = {"train_x": torch.zeros(10, 3), "train_y": torch.arange(10) % 2, **arguments}
    with pytest.raises(ValueError, match=message):
        Tensors(**given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, not 2.5"),
        ({"eval_batch_size": -1}, ValueError, "eval_batch_size must be at least 1, not -1"),
        ({"train_limit": 0}, ValueError, "train_limit must be at least 1, not 0"),
        ({"seed": "a"}, TypeError, "seed must be an integer, not 'a'"),
        ({"split_seed": True}, TypeError, "split_seed must be an integer, not True"),
        ({"augment": "crop"}, ValueError, r"'crop' is unknown \(did you mean 'crop_flip'\?\)"),
        ({"augment": 3}, TypeError, "augment must be None or a name, not 3"),
        ({"download": 1}, TypeError, "download must be True or False, not 1"),
        ({"root": 3}, TypeError, "root must be a path to a folder, not 3"),
    ],
)
def test_wrong_options(arguments, error, message):
    with pytest.raises(error, match=message):
        Digits(**arguments)


def test_limits_and_names_that_the_data_do_not_have(digits):
    with pytest.raises(ValueError, match="train_limit 1001 is more than the 1000 training"):
        Digits(train_limit=1001).setup()
    with pytest.raises(ValueError, match="split must be one of train, val, test, not 'dev'"):
        digits.split("dev")


def test_a_subclass_needs_a_description_and_load():
    class Nameless(TensorDataModule):
        pass

    class Lazy(TensorDataModule):
        name, input_shape, num_classes = "lazy", (2,), 2

    class Wrong(Lazy):
        def load(self) -> RawData:
            return RawData(torch.zeros(9, 3), torch.zeros(9).long())

    with pytest.raises(TypeError, match="Nameless must set input_shape and num_classes"):
        Nameless()
    with pytest.raises(NotImplementedError, match=r"Lazy must implement load\(\)"):
        Lazy().setup()
    with pytest.raises(ValueError, match=r"'lazy', train part: an example has shape \(3,\)"):
        Wrong().setup()


def test_repr_is_cheap_and_names_the_options():
    data = Digits(seed=4)
    assert str(data) == repr(data)
    assert repr(data).startswith("Digits(root=None, batch_size=50, eval_batch_size=500, seed=4")
    assert data._loaded is None


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.delenv("TERNARY_STUDIES_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_root() == tmp_path / "home/.cache/ternary-studies/data"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_root() == tmp_path / "home/.cache/ternary-studies/data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache/ternary-studies/data"
    monkeypatch.setenv("TERNARY_STUDIES_DATA", "~/elsewhere")
    assert default_root() == tmp_path / "home/elsewhere"
    assert DataOptions(batch_size=1, eval_batch_size=1).folder == tmp_path / "home/elsewhere"
    assert Digits(root=tmp_path).root == tmp_path


def test_importing_the_package_loads_no_torch():
    code = (
        "import sys, datamodules; names = datamodules.datamodule_names();"
        "assert 'torch' not in sys.modules and 'lightning' not in sys.modules;"
        "print(*names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["digits", "mnist", "fashion_mnist", "cifar10"]
