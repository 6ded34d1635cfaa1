import pytest
import torch
from torch import nn

from lightning_modules.networks import GreyToRGB, build_network, torchvision_names


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [  # torchvision's documented parameter count, less that of the layer of 1000 classes
        ("resnet18", (3, 32, 32), 11_689_512 - 513 * 990),
        ("mobilenet_v3_small", (3, 32, 32), 2_542_856 - 1025 * 990),
        ("squeezenet1_1", (1, 28, 28), 1_235_496 - 513 * 990),
        ("shufflenet_v2_x0_5", (1, 8, 8), 1_366_792 - 1025 * 990),
        ("googlenet", (3, 32, 32), 6_624_904 - 1025 * 990),
    ],
)
def test_models_by_name(model: str, shape: tuple[int, int, int], parameters: int) -> None:
    network = build_network(f"torchvision:{model}", input_shape=shape, num_classes=10)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert all(module.training for module in network.modules())
    assert isinstance(network, GreyToRGB) == (shape[0] == 1)
    # In training mode as well the output is one tensor: no auxiliary classifiers.
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def test_a_vision_transformer_is_built_for_the_size_of_the_images() -> None:
    network = build_network("torchvision:vit_b_32", input_shape=(3, 64, 64), num_classes=10)
    assert network.get_parameter("encoder.pos_embedding").shape == (1, 1 + 2 * 2, 768)


def test_construction_is_deterministic_and_leaves_statistics_and_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_network("torchvision:resnet18", input_shape=(3, 32, 32), num_classes=10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second = build_network("torchvision:resnet18", input_shape=(3, 32, 32), num_classes=10)
    for (name, one), other in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    assert first.get_buffer("bn1.num_batches_tracked") == 0
    assert torch.equal(first.get_buffer("bn1.running_var"), torch.ones(64))


def test_a_grey_image_is_repeated_to_three_channels() -> None:
    grey = build_network("torchvision:resnet18", input_shape=(1, 32, 32), num_classes=10).eval()
    assert isinstance(grey, GreyToRGB)
    x = torch.randn((2, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(grey(x), grey.network(torch.cat([x, x, x], dim=1)))


def test_options_go_to_torchvision() -> None:
    network = build_network(
        "torchvision:mobilenet_v3_small:dropout=0.5", input_shape=(3, 32, 32), num_classes=10
    )
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5]


def test_names_are_classification_networks() -> None:
    names = torchvision_names()
    assert {"resnet18", "vit_b_16", "mobilenet_v3_small", "vgg11", "inception_v3"} <= set(names)
    assert not any("rcnn" in name or "quantized" in name or "raft" in name for name in names)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (
            "torchvision:resnet19",
            (3, 32, 32),
            "unknown torchvision network 'resnet19': did you mean 'resnet18' or ",
        ),
        (
            "torchvision:resnet18",
            (2, 32, 32),
            "network 'torchvision:resnet18' takes images of 3 channels (or 1, which is repeated), "
            "but the input is 2x32x32.",
        ),
        (
            "torchvision:resnet18",
            (64,),
            "network 'torchvision:resnet18' takes images of shape (channels, height, width), but "
            "the input shape is (64,).",
        ),
        (
            "torchvision:densenet121",
            (1, 8, 8),
            "network 'torchvision:densenet121' cannot process input 1x8x8 (RuntimeError: ",
        ),
        (
            "torchvision:vit_b_16",
            (1, 28, 28),
            "network 'torchvision:vit_b_16' cannot be built for input 1x28x28 (AssertionError: ",
        ),
        (
            "torchvision:vit_b_16",
            (3, 16, 32),
            "network 'torchvision:vit_b_16' takes square images, not 16x32.",
        ),
        (
            "torchvision:resnet18:colour=3",
            (3, 32, 32),
            "network 'torchvision:resnet18' cannot be built for input 3x32x32 with colour=3 "
            "(TypeError: ",
        ),
        (
            "torchvision:resnet18:weights=DEFAULT",
            (3, 32, 32),
            "network 'torchvision:resnet18' takes neither weights (they come from the initialiser) "
            "nor num_classes (it comes from the data) as an option.",
        ),
    ],
)
def test_what_cannot_be_built_is_one_sentence(
    spec: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_network(spec, input_shape=shape, num_classes=10)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
