"""Masks over all layers of a module: rates per layer or one for all, and the parameters' layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from initializers.layers import oriented, plan_module
from initializers.mask_criteria import kept_mask, pruned_count

SCOPES: tuple[str, ...] = ("layer", "global")


def kept_masks(
    criterion: str,
    initial: Sequence[Tensor],
    final: Sequence[Tensor | None],
    alive: Sequence[Tensor],
    rates: Sequence[float],
    scope: str,
    generators: Sequence[torch.Generator],
) -> list[Tensor]:
    """Return which weights of every layer are kept.

    Args:
        criterion: One of ``MASK_CRITERIA``.
        initial: Initial weights of each layer.
        final: Trained weights of each layer, or None for all.
        alive: Bool tensors, False where a weight was pruned before.
        rates: Share of each layer's living weights to prune, in [0, 1].
        scope: ``layer``: ``int(alive * rate)`` weights are pruned in each layer. ``global``: the
            layers are ranked together, and ``int(alive * rate)`` of all living weights are pruned,
            with the rate of the first layer.
        generators: Random stream of each layer; ``global`` takes the first.

    Returns:
        Bool tensors of the layers' shapes.

    Raises:
        ValueError: As ``kept_mask``.
    """
    if scope == "layer" or not initial:
        return [
            kept_mask(criterion, first, last, _kept(living, rate), generator, living)
            for first, last, living, rate, generator in zip(
                initial, final, alive, rates, generators, strict=True
            )
        ]
    living = _joined(alive)
    trained = [values for values in final if values is not None]
    mask = kept_mask(
        criterion,
        _joined(initial),
        _joined(trained) if trained else None,
        _kept(living, rates[0]),
        generators[0],
        living,
    )
    parts = torch.split(mask, [values.numel() for values in initial])
    return [part.view(values.shape) for part, values in zip(parts, initial, strict=True)]


def masks_of_parameters(module: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks in the layout of the parameters that hold the weights.

    Args:
        module: The module.
        masks: Bool tensor per weight, output units first, under the name that a record gives it.

    Returns:
        Bool tensor per parameter, under the parameter's name; True where no mask says otherwise.
    """
    parameters, result = dict(module.named_parameters()), dict[str, Tensor]()
    for weight in plan_module(module).weights:
        name = weight.name.partition("[")[0]
        if name not in result:
            result[name] = torch.ones(parameters[name].shape, dtype=torch.bool)
        oriented(weight.name, weight.module, result[name]).write(masks[weight.name])
    return result


def _kept(alive: Tensor, rate: float) -> int:
    there = int(alive.sum())
    return there - pruned_count(there, rate)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([values.reshape(-1) for values in tensors])
