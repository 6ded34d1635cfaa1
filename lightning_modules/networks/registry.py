"""From a specification to a network: names, options, and the explicit table of what exists."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from initializers.spec import parse_spec
from lightning_modules.networks.checks import check_output, require_data
from lightning_modules.networks.conv import ConvNet
from lightning_modules.networks.dropout import cifar10_cnn, mnist_cnn, mnist_mlp
from lightning_modules.networks.imported import build_imported
from lightning_modules.networks.messages import nearest
from lightning_modules.networks.mlp import lenet_300_100, mlp, parse_widths
from lightning_modules.networks.norm_free import NormFreeResNet
from lightning_modules.networks.resnet import ResNet
from lightning_modules.networks.rng import ZeroStart, isolated_torch_rng
from lightning_modules.networks.vision import PREFIX, build_torchvision, torchvision_names
from lightning_modules.networks.weight_norm import WNResNet, wn_mlp

NetworkSpec = str | Mapping[str, Any] | nn.Module
"""What `build_network` accepts: text, ``{"name": ..., **options}``, or a network itself."""


@dataclass(frozen=True)
class Entry:
    """A named network: what builds it, and the arguments that the name fixes.

    Args:
        build: called with ``input_shape``, ``num_classes``, the fixed arguments and the options.
        fixed: arguments a user cannot set, because they are what the name means.
    """

    build: Callable[..., nn.Module]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return the options and their defaults."""
        parameters = inspect.signature(self.build).parameters
        taken = {"input_shape", "num_classes", *self.fixed}
        return {name: p.default for name, p in parameters.items() if name not in taken}


NETWORKS: dict[str, Entry] = {
    "lenet_300_100": Entry(lenet_300_100),
    "mlp": Entry(mlp),
    "conv2": Entry(ConvNet, {"depth": 2}),
    "conv4": Entry(ConvNet, {"depth": 4}),
    "conv6": Entry(ConvNet, {"depth": 6}),
    "conv8": Entry(ConvNet, {"depth": 8}),
    "mnist_mlp": Entry(mnist_mlp),
    "mnist_cnn": Entry(mnist_cnn),
    "cifar10_cnn": Entry(cifar10_cnn),
    "resnet": Entry(ResNet),
    "resnet20": Entry(ResNet, {"depth": 20}),
    "resnet32": Entry(ResNet, {"depth": 32}),
    "resnet44": Entry(ResNet, {"depth": 44}),
    "resnet56": Entry(ResNet, {"depth": 56}),
    "fixup_resnet": Entry(NormFreeResNet, {"block": "fixup"}),
    "fixup_resnet20": Entry(NormFreeResNet, {"block": "fixup", "depth": 20}),
    "skipinit_resnet": Entry(NormFreeResNet, {"block": "skipinit"}),
    "skipinit_resnet20": Entry(NormFreeResNet, {"block": "skipinit", "depth": 20}),
    "wn_mlp": Entry(wn_mlp),
    "wn_resnet": Entry(WNResNet),
    "wn_resnet20": Entry(WNResNet, {"depth": 20}),
    "wn_resnet56": Entry(WNResNet, {"depth": 56}),
    "wn_resnet110": Entry(WNResNet, {"depth": 110}),
}
"""The networks that have a name of their own."""


def network_names() -> tuple[str, ...]:
    """Return the names `build_network` knows by itself, in the order of the table.

    Beside them stand ``torchvision:<model>`` and import paths.
    """
    return tuple(NETWORKS)


def build_network(
    spec: NetworkSpec, *, input_shape: tuple[int, ...], num_classes: int
) -> nn.Module:
    """Build the network that a specification describes, for the data at hand.

    The result is on the CPU, in training mode, and does not depend on the global random
    generators, which are left as they were. It is *not initialised*: weights and biases of the
    networks of `network_names` are zero (batch normalisation is the identity), those of other
    sources are what their constructors draw under a constant seed. An initialiser has to follow.

    Args:
        spec: ``name`` or ``name:key=value,...`` of `network_names`; ``torchvision:<model>``
            (`build_torchvision`); ``package.module:Attr`` (`build_imported`); a mapping with
            ``name`` and the options; or a network, which is checked and returned as it is.
        input_shape: shape of one example, such as (1, 28, 28).
        num_classes: number of classes, >= 2; the network maps (batch, *input_shape) to logits
            (batch, num_classes).

    Raises:
        ValueError: an unknown name (with the nearest ones), an unknown or impossible option, or a
            network that does not fit the data.
        TypeError: a specification of another type.
    """
    input_shape = tuple(input_shape)
    require_data(input_shape, num_classes)
    if isinstance(spec, nn.Module):
        check_output(spec, type(spec).__name__, input_shape, num_classes)
        return spec
    name, options = _parse(spec)
    with torch.device("cpu"):
        if name in NETWORKS:
            entry = NETWORKS[name]
            _check_options(name, entry, options)
            with isolated_torch_rng(), ZeroStart():
                return entry.build(input_shape, num_classes, **entry.fixed, **options)
        source, _, attribute = name.partition(":")
        if source == PREFIX:
            return build_torchvision(attribute, options, input_shape, num_classes)
        return build_imported(name, options, input_shape, num_classes)


def plain_spec(spec: NetworkSpec) -> str | dict[str, Any]:
    """Return a specification as plain data that equal specifications share, for a run's key.

    Without options it is the name, otherwise ``{"name": ..., **options}`` with the options sorted.
    For networks with a name of their own, options that equal their default are left out and
    widths are written with hyphens, so that ``mlp:hidden=300-100,bias=true`` and ``{"name":
    "mlp", "hidden": [300, 100]}`` have one form. Nothing is built or imported.

    Args:
        spec: see `build_network`.

    Raises:
        ValueError: an unknown name or option.
        TypeError: a network object, which has no plain form, or an option that is no plain value.
    """
    if isinstance(spec, nn.Module):
        raise TypeError(
            f"a {type(spec).__name__} object has no name by which every run could build it afresh: "
            f"give an import path such as 'my_package.my_module:{type(spec).__name__}'."
        )
    name, options = _parse(spec)
    if name in NETWORKS:
        entry = NETWORKS[name]
        _check_options(name, entry, options)
        for key in {"widths", "hidden"} & options.keys():
            if options[key] is not None:
                options[key] = "-".join(map(str, parse_widths(options[key], key)))
        defaults = entry.options()
        options = {key: value for key, value in options.items() if value != defaults[key]}
    plain = {key: _plain_value(name, key, options[key]) for key in sorted(options)}
    return {"name": name, **plain} if plain else name


def _parse(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and options; the name is one of the table or contains a colon."""
    if isinstance(spec, str):
        name, options = parse_spec(spec)
    elif isinstance(spec, Mapping):
        options = dict(spec)
        name = options.pop("name", None)
        if not isinstance(name, str) or not all(isinstance(key, str) for key in options):
            raise ValueError(
                f"a network given as a mapping needs a text under 'name' and options with text "
                f"keys, got {dict(spec)!r}."
            )
    else:
        raise TypeError(
            f"a network is a name, a mapping or a torch.nn.Module object, not {spec!r}."
        )
    source, colon, rest = name.partition(":")
    if name in NETWORKS or (colon and source not in NETWORKS):
        return name, options
    if colon:
        raise ValueError(
            f"network {source!r} does not understand {rest!r}: write options as "
            f"'{source}:key=value', or beside 'name' in a mapping."
        )
    if name in torchvision_names():
        raise ValueError(f"unknown network {name!r}: did you mean '{PREFIX}:{name}'?")
    raise ValueError(
        f"unknown network {name!r}: {nearest(name, NETWORKS)}; '{PREFIX}:<model>' and "
        f"'package.module:Class' work as well."
    )


def _check_options(name: str, entry: Entry, options: Mapping[str, Any]) -> None:
    known = entry.options()
    for key in options:
        if key not in known:
            raise ValueError(f"network {name!r} has no option {key!r}: {nearest(key, known)}.")


def _plain_value(name: str, key: str, value: object) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain_value(name, key, item) for item in value]
    raise TypeError(
        f"option {key!r} of network {name!r} must be a plain value (text, number, flag or a list), "
        f"not an object of type {type(value).__name__}."
    )
