"""Networks by name: small ones of the literature, torchvision's, and a user's own.

    >>> network = build_network("lenet_300_100", input_shape=(1, 28, 28), num_classes=10)
    >>> weight_count(network)
    266200

`build_network` leaves the weights at zero: an initialiser of the `initializers` package sets them.
"""

from lightning_modules.networks.activations import ACTIVATIONS
from lightning_modules.networks.checks import weight_count
from lightning_modules.networks.conv import ConvNet
from lightning_modules.networks.mlp import MLP
from lightning_modules.networks.registry import (
    NetworkSpec,
    build_network,
    network_names,
    plain_spec,
)
from lightning_modules.networks.resnet import BasicBlock, ResNet, ZeroPadShortcut
from lightning_modules.networks.vision import GreyToRGB, torchvision_names
from lightning_modules.networks.weight_norm import WNBlock, WNResNet

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "BasicBlock",
    "ConvNet",
    "GreyToRGB",
    "NetworkSpec",
    "ResNet",
    "WNBlock",
    "WNResNet",
    "ZeroPadShortcut",
    "build_network",
    "network_names",
    "plain_spec",
    "torchvision_names",
    "weight_count",
]
