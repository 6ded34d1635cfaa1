import json

import pytest
import torch
from torch import nn

from lightning_modules.networks import (
    NetworkSpec,
    build_network,
    network_names,
    plain_spec,
    weight_count,
)

SPECS = [f"{n}:hidden=20-10" if n in ("mlp", "wn_mlp") else n for n in network_names()]


def test_names() -> None:
    assert network_names() == (
        *("lenet_300_100", "mlp", "conv2", "conv4", "conv6", "conv8"),
        *("mnist_mlp", "mnist_cnn", "cifar10_cnn"),
        *("resnet", "resnet20", "resnet32", "resnet44", "resnet56"),
        *("fixup_resnet", "fixup_resnet20", "skipinit_resnet", "skipinit_resnet20"),
        *("wn_mlp", "wn_resnet", "wn_resnet20", "wn_resnet56", "wn_resnet110"),
    )


@pytest.mark.parametrize("spec", SPECS)
def test_named_networks_fit_the_data_start_at_zero_and_draw_nothing(spec: str) -> None:
    torch.manual_seed(4)
    state = torch.get_rng_state()
    network = build_network(spec, input_shape=(1, 16, 16), num_classes=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.get_buffer("running_var"), torch.ones_like(module.weight))
        elif isinstance(module, nn.Linear | nn.Conv2d):
            assert not module.weight.any()
            assert module.bias is None or not module.bias.any()
    assert torch.equal(network(torch.ones(3, 1, 16, 16)), torch.zeros(3, 4))


@pytest.mark.parametrize("spec", SPECS)
def test_copying_the_weights_copies_the_function(spec: str) -> None:
    one = build_network(spec, input_shape=(1, 16, 16), num_classes=4).eval()
    two = build_network(spec, input_shape=(1, 16, 16), num_classes=4).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        two.load_state_dict(one.state_dict())
        x = torch.randn((2, 1, 16, 16), generator=generator)
        assert torch.equal(one(x), two(x))
        assert one(x).std() > 0
    assert not {p.data_ptr() for p in one.parameters()} & {p.data_ptr() for p in two.parameters()}


def test_a_default_device_does_not_matter() -> None:
    with torch.device("meta"):
        network = build_network("conv2", input_shape=(1, 8, 8), num_classes=10)
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_weight_count_by_hand() -> None:
    attention = nn.MultiheadAttention(8, 2)
    assert weight_count(attention) == 3 * 64 + 64
    assert weight_count(nn.MultiheadAttention(8, 2, kdim=3, vdim=5)) == 64 + 24 + 40 + 64
    shared = nn.Linear(3, 4)
    assert weight_count(nn.ModuleList([shared, shared, nn.BatchNorm1d(4)])) == 12
    tied = nn.Linear(3, 4)
    tied.weight = shared.weight
    assert weight_count(nn.ModuleList([shared, tied])) == 12
    convolutions = nn.ModuleList([nn.Conv2d(6, 4, 3, groups=2), nn.ConvTranspose1d(2, 5, 4)])
    assert weight_count(convolutions) == 4 * 3 * 9 + 2 * 5 * 4


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        ("conv4", "conv4"),
        ({"name": "conv4"}, "conv4"),
        ("conv4:activation=relu,bias=true", "conv4"),
        ("conv4:bias=false", {"name": "conv4", "bias": False}),
        ("mlp:hidden=300-100,bias=true", {"name": "mlp", "hidden": "300-100"}),
        ({"name": "mlp", "hidden": [300, 100]}, {"name": "mlp", "hidden": "300-100"}),
        ({"name": "mlp", "hidden": (300,), "widths": None}, {"name": "mlp", "hidden": "300"}),
        ("mlp:hidden=300", {"name": "mlp", "hidden": "300"}),
        ("resnet:depth=20", "resnet"),
        ("torchvision:resnet18", "torchvision:resnet18"),
        ("some.where:Net", "some.where:Net"),
        ("some.where:Net:b=2,a=x", {"name": "some.where:Net", "a": "x", "b": 2}),
        ({"name": "some.where:Net", "a": (1, 2)}, {"name": "some.where:Net", "a": [1, 2]}),
    ],
)
def test_plain_spec_has_one_form(spec: NetworkSpec, plain: object) -> None:
    result = plain_spec(spec)
    assert result == plain
    assert plain_spec(json.loads(json.dumps(result))) == result
    if isinstance(result, dict):
        assert list(result) == ["name", *sorted(set(result) - {"name"})]


def test_plain_form_and_specification_build_the_same() -> None:
    for spec in ("mlp:activation=elu,hidden=30-20", {"name": "mlp", "hidden": [30, 20]}):
        shapes = [
            str(build_network(form, input_shape=(1, 8, 8), num_classes=10))
            for form in (spec, plain_spec(spec))
        ]
        assert shapes[0] == shapes[1]


def test_a_network_object_has_no_plain_form() -> None:
    with pytest.raises(TypeError) as caught:
        plain_spec(nn.Linear(2, 2))
    assert str(caught.value) == (
        "a Linear object has no name by which every run could build it afresh: give an import path "
        "such as 'my_package.my_module:Linear'."
    )
    with pytest.raises(TypeError, match=r"^option 'norm' of network 'a\.b:C' must be a plain val"):
        plain_spec({"name": "a.b:C", "norm": nn.BatchNorm2d})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "conv5",
            "unknown network 'conv5': did you mean 'conv8' or 'conv6' or 'conv4'; "
            "'torchvision:<model>' and 'package.module:Class' work as well.",
        ),
        ("resnet18", "unknown network 'resnet18': did you mean 'torchvision:resnet18'?"),
        (
            "xyz",
            "unknown network 'xyz': the names are cifar10_cnn, conv2, conv4, conv6, conv8, "
            "fixup_resnet, fixup_resnet20, lenet_300_100, mlp, mnist_cnn, mnist_mlp, resnet, "
            "resnet20, resnet32, resnet44, resnet56, skipinit_resnet, skipinit_resnet20, wn_mlp, "
            "wn_resnet, wn_resnet110, wn_resnet20, wn_resnet56; 'torchvision:<model>' and "
            "'package.module:Class' work as well.",
        ),
        (
            "mlp:300-100",
            "network 'mlp' does not understand '300-100': write options as 'mlp:key=value', or "
            "beside 'name' in a mapping.",
        ),
        (
            {"hidden": 3},
            "a network given as a mapping needs a text under 'name' and options with text keys, "
            "got {'hidden': 3}.",
        ),
    ],
)
def test_an_unknown_network_is_one_sentence(spec: NetworkSpec, message: str) -> None:
    for call in (plain_spec, lambda s: build_network(s, input_shape=(1, 8, 8), num_classes=10)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            call(spec)
        assert str(caught.value) == message


def test_other_types_and_impossible_data() -> None:
    with pytest.raises(TypeError, match=r"^a network is a name, a mapping or a torch\.nn\.Module"):
        build_network(3, input_shape=(1, 8, 8), num_classes=10)  # type: ignore[arg-type]
    for shape in ((), (0, 8, 8), (1.5,), (True,)):
        with pytest.raises(ValueError, match=r"must be a tuple of whole numbers >= 1"):
            build_network("conv2", input_shape=shape, num_classes=10)  # type: ignore[arg-type]
    for classes in (1, 2.0, -3):
        with pytest.raises(ValueError, match=r"^num_classes=.* must be a whole number >= 2\.$"):
            build_network("conv2", input_shape=(1, 8, 8), num_classes=classes)  # type: ignore[arg-type]
