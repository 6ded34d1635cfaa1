import pytest
import torch
from torch import nn

from lightning_modules.networks import ResNet, ZeroPadShortcut, build_network, weight_count

CIFAR = (3, 32, 32)


def closed_form(n: int, shortcut: str) -> tuple[int, int]:
    """Weights and parameters of depth 6 n + 2 on 3x32x32 with 10 classes."""
    convolutions = 9 * (3 * 16 + 2 * n * 256 + 16 * 32 + (2 * n - 1) * 1024)
    convolutions += 9 * (32 * 64 + (2 * n - 1) * 4096)
    norms = 16 * (1 + 2 * n) + (32 + 64) * 2 * n
    if shortcut == "B":
        convolutions += 16 * 32 + 32 * 64
        norms += 32 + 64
    return convolutions + 640, convolutions + 650 + 2 * norms


@pytest.mark.parametrize(
    ("spec", "n", "shortcut", "parameters"),
    [
        ("resnet20", 3, "A", 269_722),
        ("resnet:depth=20", 3, "A", 269_722),
        ("resnet20:shortcut=B", 3, "B", 272_474),
        ("resnet32", 5, "A", 464_154),
        ("resnet44", 7, "A", 658_586),
        ("resnet56", 9, "A", 853_018),
        ("resnet:depth=8", 1, "A", 75_290),
    ],
)
def test_parameter_counts(spec: str, n: int, shortcut: str, parameters: int) -> None:
    network = build_network(spec, input_shape=CIFAR, num_classes=10)
    weights, total = closed_form(n, shortcut)
    assert weight_count(network) == weights
    assert sum(p.numel() for p in network.parameters()) == total == parameters
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.Conv2d) == 6 * n + 1 + 2 * (shortcut == "B")
    assert kinds.count(nn.Linear) == 1


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 32, 32), 8), ((1, 28, 28), 7), ((1, 8, 8), 2), ((4, 5, 5), 2)]
)
def test_stages_halve_the_image_twice(shape: tuple[int, int, int], size: int) -> None:
    network = build_network("resnet20", input_shape=shape, num_classes=5)
    seen: list[tuple[int, ...]] = []
    network.get_submodule("stage3").register_forward_hook(
        lambda module, inputs, output: seen.append(tuple(output.shape))
    )
    assert network(torch.zeros(2, *shape)).shape == (2, 5)
    assert seen == [(2, 64, size, size)]


def test_option_a_subsamples_and_appends_zero_channels() -> None:
    x = torch.arange(1.0, 2 * 3 * 5 * 4 + 1).reshape(2, 3, 5, 4)
    out = ZeroPadShortcut(added=2, stride=2)(x)
    assert out.shape == (2, 5, 3, 2)
    assert torch.equal(out[:, :3], x[:, :, [0, 2, 4]][..., [0, 2]])
    assert torch.equal(out[:, 3:], torch.zeros(2, 2, 3, 2))


def test_with_dead_residual_branches_the_shortcuts_carry_the_stem_to_the_logits() -> None:
    # With gamma = 0 at the end of each block, a block is relu(shortcut(x)): the first 16 of the 64
    # features are the mean of every fourth pixel of the stem, the rest are zero.
    network = ResNet(CIFAR, 10).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bn2.weight"):
                parameter.zero_()
            elif parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        x = torch.randn((2, *CIFAR), generator=generator)
        stem = network.bn1(network.conv1(x)).relu()
        features = stem[:, :, ::4, ::4].mean(dim=(2, 3))
        expected = features @ network.fc.weight[:, :16].T + network.fc.bias
        torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-6)


def test_block_equals_its_formula() -> None:
    network = build_network("resnet:depth=8,shortcut=B", input_shape=CIFAR, num_classes=10)
    block = network.get_submodule("stage2").get_submodule("0").double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        x = torch.randn((2, 16, 6, 6), generator=generator, dtype=torch.float64)
        conv1, gamma1, beta1, conv2, gamma2, beta2, proj, gamma3, beta3 = block.parameters()

        def normalised(
            z: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor
        ) -> torch.Tensor:  # running mean 0 and variance 1
            return (z * gamma[:, None, None]).div(1.00001**0.5) + beta[:, None, None]

        h = normalised(nn.functional.conv2d(x, conv1, stride=2, padding=1), gamma1, beta1).relu()
        h = normalised(nn.functional.conv2d(h, conv2, padding=1), gamma2, beta2)
        short = normalised(nn.functional.conv2d(x, proj, stride=2), gamma3, beta3)
        torch.testing.assert_close(block(x), (h + short).relu(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "resnet:depth=21",
            "depth=21 of a ResNet must be 6 n + 2 with n >= 1: 8, 14, 20, 32, 44, 56.",
        ),
        (
            "resnet:depth=2",
            "depth=2 of a ResNet must be 6 n + 2 with n >= 1: 8, 14, 20, 32, 44, 56.",
        ),
        ("resnet20:shortcut=C", "shortcut='C' of a ResNet must be 'A' or 'B'."),
        ("resnet20:depth=32", "network 'resnet20' has no option 'depth': the names are shortcut."),
    ],
)
def test_what_cannot_be_built_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_network(spec, input_shape=CIFAR, num_classes=10)
    assert str(caught.value) == message


def test_flat_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^network 'resnet20' takes images of shape"):
        build_network("resnet20", input_shape=(64,), num_classes=10)
