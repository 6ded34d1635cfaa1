"""The layers that methods change: found, checked and held still before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from initializers.layers import Weight, plan_module

_KINDS = ("linear", "conv", "conv_transpose")


def trainable_weights(
    network: nn.Module, owner: str, kinds: tuple[str, ...] = _KINDS
) -> list[Weight]:
    """Return the weights of a network's Linear and convolution layers, in order of registration.

    Args:
        network: Any module; its only other parameters may be biases and those of norm layers.
        owner: Who asks, for the messages.
        kinds: Kinds of layers (see ``initializers.LayerContext``) that the owner can handle.

    Raises:
        TypeError: If ``network`` is no module.
        ValueError: If a parameter belongs to another kind of layer, is shared between layers or
            re-parametrised, or if there is no weight.
    """
    plan = plan_module(network, owner)
    for skipped in plan.skipped:
        raise ValueError(
            f"{owner}: {skipped.name} cannot be trained by this method ({skipped.reason})."
        )
    for weight in plan.weights:
        if weight.kind not in kinds:
            raise ValueError(
                f"{owner}: {weight.name} is the weight of a {type(weight.module).__name__}; this "
                f"method trains {' and '.join(kinds)} layers."
            )
        if is_parametrized(weight.module, "weight"):
            raise ValueError(
                f"{owner}: {weight.name} is re-parametrised; this method trains plain weights."
            )
        if weight.aliases:
            raise ValueError(
                f"{owner}: {weight.name} is shared with {', '.join(weight.aliases)}; give each "
                "layer its own weight."
            )
    if not plan.weights:
        raise ValueError(f"{owner}: {type(network).__name__} has no Linear or convolution layer.")
    return plan.weights


def biases(weights: list[Weight]) -> list[nn.Parameter]:
    """Return the biases of the layers that have one."""
    found = (getattr(weight.module, "bias", None) for weight in weights)
    return [bias for bias in found if bias is not None]


def freeze(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Fix parameters at their present values; returns those that were trainable before."""
    changed = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    return changed


def layer_name(weight: Weight) -> str:
    """Return the name of a weight's layer: "fc1" for "fc1.weight", "weight" if it has none."""
    return weight.name.removesuffix(".weight")
