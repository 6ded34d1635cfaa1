"""The networks with dropout: exact counts, layers, and what cannot be built."""

import pytest
import torch
from torch import nn

from lightning_modules.networks import build_network


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("mnist_mlp", (1, 28, 28), 669_706),
        ("mnist_mlp:narrow=2", (1, 28, 28), 784 * 256 + 256 * 256 + 256 * 10 + 522),
        ("mnist_cnn", (1, 28, 28), 1_199_882),
        ("mnist_cnn:narrow=4", (1, 28, 28), 80 + 1_168 + (2_304 * 32 + 32) + 330),
        ("cifar10_cnn", (3, 32, 32), 1_250_858),
        (
            "cifar10_cnn:narrow=4",
            (3, 32, 32),
            224 + 584 + 1_168 + 2_320 + (576 * 128 + 128) + 1_290,
        ),
    ],
)
def test_parameter_counts(name: str, shape: tuple[int, ...], parameters: int) -> None:
    network = build_network(name, input_shape=shape, num_classes=10)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "shape", "rates"),
    [
        ("mnist_mlp", (1, 8, 8), [0.2, 0.2]),
        ("mnist_cnn", (1, 28, 28), [0.25, 0.5]),
        ("cifar10_cnn", (3, 32, 32), [0.25, 0.25, 0.5]),
    ],
)
def test_dropout_and_flattened_features(
    name: str, shape: tuple[int, ...], rates: list[float]
) -> None:
    network = build_network(name, input_shape=shape, num_classes=10)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == rates
    features = {"mnist_mlp": 64, "mnist_cnn": 9216, "cifar10_cnn": 2304}[name]
    assert network.get_submodule("fc1").weight.shape[1] == features


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("mnist_mlp:narrow=3", (64,), "narrow=3 must be 1, 2, 4, 8 or 16."),
        (
            "mnist_cnn",
            (1, 5, 9),
            "network 'mnist_cnn' needs at least 6x6 pixels, but the input is 1x5x9.",
        ),
        (
            "cifar10_cnn",
            (1, 9, 9),
            "network 'cifar10_cnn' needs at least 10x10 pixels, but the input is 1x9x9.",
        ),
    ],
)
def test_what_cannot_be_built_is_one_sentence(
    spec: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_network(spec, input_shape=shape, num_classes=10)
    assert str(caught.value) == message


def test_the_smallest_images_pass() -> None:
    for name, side in (("mnist_cnn", 6), ("cifar10_cnn", 10)):
        network = build_network(f"{name}:narrow=16", input_shape=(1, side, side), num_classes=3)
        assert network(torch.zeros(2, 1, side, side)).shape == (2, 3)
