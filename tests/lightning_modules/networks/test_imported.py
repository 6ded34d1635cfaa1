import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lightning_modules.networks import build_network

SOURCE = """
import random

import numpy as np
import torch
from torch import nn


class Adapting(nn.Module):
    def __init__(self, input_shape, num_classes, width=4):
        super().__init__()
        self.shape = input_shape
        self.flatten = nn.Flatten()
        self.a = nn.Linear(int(np.prod(input_shape)), width)
        self.norm = nn.BatchNorm1d(width)
        self.b = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.b(self.norm(self.a(self.flatten(x))).relu())


class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))


def lazy(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def noisy():
    net = Plain()
    with torch.no_grad():
        net[1].bias[0] = random.random()
        net[1].bias[1] = np.random.rand()
    return net


class TwoResults(Plain):
    def forward(self, x):
        return super().forward(x), x


class Labels(Plain):
    def forward(self, x):
        return super().forward(x).argmax(1)


def not_a_network():
    return [1, 2]


ready = Plain()
number = 3
"""


@pytest.fixture(autouse=True)
def user_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "someones_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(SOURCE)
    (package / "broken.py").write_text("import a_module_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("someones_package")]:
        del sys.modules[name]


def build(spec: object, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> nn.Module:
    return build_network(spec, input_shape=shape, num_classes=classes)  # type: ignore[arg-type]


def numpy_state() -> list[int]:
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    return [state["state"]["pos"], *state["state"]["key"].tolist()]


def test_a_class_gets_what_its_signature_names() -> None:
    network = build("someones_package.nets:Adapting", (2, 5, 3), 7)
    assert network.get_parameter("a.weight").shape == (4, 30)
    assert network.get_parameter("b.weight").shape == (7, 4)
    assert network.shape == (2, 5, 3)
    assert type(build("someones_package.nets:Plain")).__name__ == "Plain"


def test_options_reach_the_constructor() -> None:
    path = "someones_package.nets:Adapting"
    for spec in (f"{path}:width=6", {"name": path, "width": 6}):
        assert build(spec).get_parameter("a.weight").shape == (6, 64)


def test_a_lazy_network_gets_its_shapes() -> None:
    network = build("someones_package.nets:lazy")
    assert network.get_parameter("1.weight").shape == (10, 64)


def test_an_object_is_copied_for_each_run() -> None:
    first, second = build("someones_package.nets:ready"), build("someones_package.nets:ready")
    with torch.no_grad():
        first.get_parameter("1.weight").fill_(7)
    assert not (second.get_parameter("1.weight") == 7).any()


def test_no_global_generator_matters_or_moves() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    python, numpy = random.getstate(), numpy_state()
    state = torch.get_rng_state()
    first = build("someones_package.nets:noisy").state_dict()
    assert random.getstate() == python
    assert numpy_state() == numpy
    assert torch.equal(torch.get_rng_state(), state)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    second = build("someones_package.nets:noisy").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_check_leaves_modes_and_running_statistics_alone() -> None:
    network = build("someones_package.nets:Adapting").train()
    network.get_submodule("norm").eval()
    with torch.no_grad():
        network.get_buffer("norm.running_mean").fill_(0.25)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert build(network) is network
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in network.modules()] == [True, True, True, False, True]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_object_of_another_dtype_passes() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    assert build(network) is network


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "someones_package.nets:Plaim",
            "network 'someones_package.nets:Plaim': module 'someones_package.nets' has no "
            "attribute 'Plaim'; did you mean 'Plain'.",
        ),
        (
            "someones_package.netz:Plain",
            "network 'someones_package.netz:Plain': there is no module 'someones_package.netz' on "
            "the import path (start Python in the folder that holds it, or install it).",
        ),
        (
            "nobodys_package.nets:Plain",
            "network 'nobodys_package.nets:Plain': there is no module 'nobodys_package' on the "
            "import path (start Python in the folder that holds it, or install it).",
        ),
        (
            "someones_package.nets:Plain:width=3",
            "network 'someones_package.nets:Plain' has the signature Plain(), which cannot be "
            "called with width (got an unexpected keyword argument 'width').",
        ),
        (
            "someones_package.nets:ready:width=3",
            "network 'someones_package.nets:ready' is an object and takes no options, got width.",
        ),
        (
            "someones_package.nets:number",
            "network 'someones_package.nets:number' must be a class, a function or a "
            "torch.nn.Module, not an object of type int.",
        ),
        (
            "someones_package.nets:not_a_network",
            "network 'someones_package.nets:not_a_network' must give a torch.nn.Module, but gave "
            "an object of type list.",
        ),
        (
            "someones_package.nets:TwoResults",
            "network 'someones_package.nets:TwoResults' must return one floating-point tensor of "
            "logits, but returned tuple.",
        ),
        (
            "someones_package.nets:Labels",
            "network 'someones_package.nets:Labels' must return one floating-point tensor of "
            "logits, but returned a tensor of torch.int64.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build(spec)
    assert str(caught.value) == message


def test_a_network_for_other_data_is_one_sentence() -> None:
    with pytest.raises(ValueError) as classes:  # noqa: PT011
        build("someones_package.nets:Plain", classes=7)
    assert str(classes.value) == (
        "network 'someones_package.nets:Plain' must return logits of shape (2, 7) for 2 examples "
        "of 7 classes, but returned (2, 10) for input 1x8x8."
    )
    with pytest.raises(ValueError) as shape:  # noqa: PT011
        build(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), shape=(1, 28, 28))
    assert str(shape.value) == (
        "network 'Sequential' cannot process input 1x28x28 (RuntimeError: mat1 and mat2 shapes "
        "cannot be multiplied (2x784 and 64x10))."
    )


def test_a_fault_inside_the_users_module_is_not_hidden() -> None:
    with pytest.raises(ValueError, match=r"failed .*a_module_nobody_has"):
        build("someones_package.broken:Net")
