import pytest
import torch
from torch.nn import functional

from lightning_modules.networks import ConvNet, build_network, weight_count

CIFAR = (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "weights", "biases"),
    [
        ("conv2", 4_300_992, 2 * 64 + 522),
        ("conv4", 2_425_024, 2 * (64 + 128) + 522),
        ("conv6", 2_261_184, 2 * (64 + 128 + 256) + 522),
        ("conv8", 5_275_840, 2 * (64 + 128 + 256 + 512) + 522),
    ],
)
def test_published_weight_counts_on_cifar10(name: str, weights: int, biases: int) -> None:
    network = build_network(name, input_shape=CIFAR, num_classes=10)
    assert weight_count(network) == weights
    assert sum(p.numel() for p in network.parameters()) == weights + biases
    assert network(torch.zeros(2, *CIFAR)).shape == (2, 10)
    without = build_network(f"{name}:bias=false", input_shape=CIFAR, num_classes=10)
    assert sum(p.numel() for p in without.parameters()) == weights


@pytest.mark.parametrize(
    ("name", "shape", "features"),
    [
        ("conv2", (1, 28, 28), 64 * 14 * 14),
        ("conv4", (1, 28, 28), 128 * 7 * 7),
        ("conv6", (1, 28, 28), 256 * 3 * 3),
        ("conv8", (1, 28, 28), 512),
        ("conv2", (1, 8, 8), 64 * 4 * 4),
        ("conv4", (1, 8, 8), 128 * 2 * 2),
        ("conv6", (1, 8, 8), 256),
        ("conv4", (2, 9, 14), 128 * 2 * 3),
    ],
)
def test_the_dense_part_follows_the_image(
    name: str, shape: tuple[int, int, int], features: int
) -> None:
    network = build_network(name, input_shape=shape, num_classes=6)
    assert network.get_submodule("fc1").weight.shape == (256, features)
    assert network.get_submodule("conv1").weight.shape == (64, shape[0], 3, 3)
    assert network(torch.zeros(2, *shape)).shape == (2, 6)


def test_forward_is_conv_conv_pool_and_three_dense_layers() -> None:
    network = ConvNet((1, 8, 8), 3, depth=4).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    x = torch.randn((2, 1, 8, 8), generator=generator, dtype=torch.float64)
    *convolutions, w1, b1, w2, b2, w3, b3 = network.parameters()
    h = x
    for layer in range(4):
        weight, bias = convolutions[2 * layer : 2 * layer + 2]
        h = functional.conv2d(h, weight, bias, padding=1).relu()
        if layer % 2:
            h = h.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2))
    h = (h.reshape(2, -1) @ w1.T + b1).relu()
    expected = (h @ w2.T + b2).relu() @ w3.T + b3
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (
            "conv8",
            (1, 8, 8),
            "network 'conv8' halves the image 4 times and needs at least 16x16 pixels, but the "
            "input is 1x8x8.",
        ),
        (
            "conv6",
            (1, 7, 20),
            "network 'conv6' halves the image 3 times and needs at least 8x8 pixels, but the input "
            "is 1x7x20.",
        ),
        (
            "conv2",
            (64,),
            "network 'conv2' takes images of shape (channels, height, width), but the input shape "
            "is (64,).",
        ),
        ("conv2:depth=4", (1, 8, 8), "network 'conv2' has no option 'depth': the names are "
            "activation, bias."),
        ("conv2:activaton=elu", (1, 8, 8), "network 'conv2' has no option 'activaton': did you "
            "mean 'activation'."),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_one_sentence(
    spec: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_network(spec, input_shape=shape, num_classes=10)
    assert str(caught.value) == message


def test_depth_of_the_class() -> None:
    with pytest.raises(ValueError, match=r"^depth=3 of a ConvNet must be 2, 4, 6 or 8\.$"):
        ConvNet(CIFAR, 10, depth=3)
