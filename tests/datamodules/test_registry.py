import sys

import pytest
import torch
from lightning.pytorch import LightningDataModule

from datamodules import (
    CIFAR10,
    MNIST,
    Digits,
    FashionMNIST,
    Tensors,
    datamodule_names,
    get_datamodule,
)
from datamodules.spec import parse

SOURCE = """
from lightning.pytorch import LightningDataModule

class Fixed(LightningDataModule):
    input_shape, num_classes = (4,), 3
    def __init__(self, batch_size=8, path="here"):
        super().__init__()
        self.batch_size, self.path = batch_size, path

class Seeded(Fixed):
    def __init__(self, n, seed=0):
        super().__init__()
        self.n, self.seed = n, seed

class Open(Fixed):
    def __init__(self, **options):
        super().__init__()
        self.options = options

class Shapeless(LightningDataModule):
    num_classes = 3

class Classless(LightningDataModule):
    input_shape = (4,)

ready = Fixed(path="ready")
number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text(SOURCE)
    (package / "broken.py").write_text("import no_such_library\n")
    (package / "typo.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_package.data"
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def test_names():
    assert datamodule_names() == ("digits", "mnist", "fashion_mnist", "cifar10")
    kinds = [type(get_datamodule(name)) for name in datamodule_names()]
    assert kinds == [Digits, MNIST, FashionMNIST, CIFAR10]
    assert [get_datamodule(name).name for name in datamodule_names()] == list(datamodule_names())
    assert [get_datamodule(name).batch_size for name in datamodule_names()] == [50, 60, 60, 60]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mnist", ("mnist", {})),
        ("mnist:train_limit=1000,augment=none", ("mnist", {"train_limit": 1000, "augment": None})),
        ("a.b:C", ("a.b:C", {})),
        ("a.b:C:x=1e-3,y=true,z=text", ("a.b:C", {"x": 1e-3, "y": True, "z": "text"})),
        ("mnist:root=/a:b/c", ("mnist", {"root": "/a:b/c"})),
        ("m:C:root=a=b", ("m:C", {"root": "a=b"})),
    ],
)
def test_spec_strings(text, expected):
    assert parse(text) == expected


def test_options_from_text_mapping_and_keywords():
    data = get_datamodule("digits:train_limit=100", seed=3, batch_size=None)
    assert (data.options.train_limit, data.options.seed, data.batch_size) == (100, 3, 50)
    data = get_datamodule({"name": "digits", "batch_size": 20}, split_seed=2)
    assert (data.batch_size, data.options.split_seed) == (20, 2)
    assert get_datamodule(Digits, seed=1).options.seed == 1


def test_objects(mine):
    data = Digits()
    assert get_datamodule(data) is data
    changed = get_datamodule(data, seed=4)
    assert (changed.options.seed, data.options.seed) == (4, 0)
    own = get_datamodule(f"{mine}:ready", seed=4)
    assert own.path == "ready"
    with pytest.raises(ValueError, match="exists already, so batch_size cannot be chosen"):
        get_datamodule(own, batch_size=4)
    x = torch.zeros(30, 2)
    assert get_datamodule(Tensors(x, x[:, 0].long()), seed=2).options.seed == 2


def test_own_classes(mine):
    own = get_datamodule(f"{mine}:Fixed:path=there", batch_size=4, seed=1, split_seed=2)
    assert isinstance(own, LightningDataModule)
    assert (own.batch_size, own.path) == (4, "there")
    seeded = get_datamodule(f"{mine}:Seeded", n=3, seed=5)
    assert (seeded.n, seeded.seed) == (3, 5)
    assert get_datamodule(f"{mine}:Open", seed=5, root="x").options == {"seed": 5, "root": "x"}


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("mnits", {}, "unknown data set 'mnits': did you mean mnist"),
        ("fashion-mnist", {}, "did you mean fashion_mnist"),
        ("CIFAR", {}, "did you mean cifar10"),
        ("zzz", {}, "'zzz': known are digits, mnist, fashion_mnist, cifar10, and an import path"),
        ("digits:batchsize=3", {}, r"'digits' has no option 'batchsize' \(did you mean 'batch_s"),
        ("digits:3", {}, "importing 'digits' failed"),
        ("digits:seed=1,seed=2", {}, "seed is given twice"),
        ("digits:seed=1,=2", {}, "'=2' is not of the form key=value"),
        ("digits:seed=1", {"seed": 2}, "seed is given twice: 1 in 'digits:seed=1' and 2"),
        ("nowhere.at_all:X", {}, r"importing 'nowhere.at_all' failed \(ModuleNotFoundError: No"),
        ("my_package.broken:X", {}, "failed .ModuleNotFoundError: No module named 'no_such_lib"),
        ("my_package.typo:X", {}, "importing 'my_package.typo' failed .SyntaxError: invalid"),
        ("my_package.data:Fixd", {}, r"has no 'Fixd' \(did you mean 'Fixed'\?\)"),
        ("my_package.data:Shapeless", {}, "needs an attribute input_shape, the shape of one"),
        ("my_package.data:Classless", {}, "needs an attribute num_classes, a positive integer"),
        ("my_package.data:Fixed", {"augment": "crop_flip"}, "has no option 'augment'"),
        ("my_package.data:Fixed:seed=1", {}, "has no option 'seed'"),
        ("my_package.data:Seeded", {}, "cannot be built: missing a required argument: 'n'"),
        ({"batch_size": 3}, {}, "needs a 'name', but {'batch_size': 3} has none"),
    ],
)
def test_what_cannot_be_found_or_built(mine, spec, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        get_datamodule(spec, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["my_package.data:number", 3, None, dict])
def test_what_is_no_data_set(mine, spec):
    with pytest.raises(TypeError, match="must be a name, an import path, a mapping or a Lightning"):
        get_datamodule(spec)
