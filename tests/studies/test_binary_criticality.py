"""The numbers that the study of binary networks rests on."""

import pytest

from lightning_modules.networks import build_network
from studies.binary_criticality import STUDY, trainable_depth


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("Glorot", 1.303),
        ("uniform", 5.46),
        ("E M^2 = 0.5", 8.66),
        ("E M^2 = 0.9", 56.9),
        ("E M^2 = 0.99", 597.0),
        ("E M^2 = 0.999", 5997.0),
    ],
)
def test_six_depth_scales_without_biases(family: str, layers: float) -> None:
    # xi = -1 / ln(sigma_m^2), since neurons of slope 1 have chi = sigma_m^2.
    assert trainable_depth(family) == pytest.approx(layers, rel=2e-3)


def test_an_arm_is_as_deep_as_it_says() -> None:
    for arm in STUDY.arms:
        network = build_network(arm.overrides["network"], input_shape=(1, 28, 28), num_classes=10)
        weights = [p for p in network.parameters() if p.dim() == 2]
        assert len(weights) == arm.at["depth"] == len(list(network.parameters()))
        assert tuple(weights[1].shape) == (10, 100) or tuple(weights[1].shape) == (100, 100)
