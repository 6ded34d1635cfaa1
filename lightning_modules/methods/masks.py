"""Fixed weights under a trained mask: the common part of the connectivity and mask methods.

    effective weight = kernel * mask(scores)

The kernel, a layer's initial weight, is a buffer; the scores, in its shape, are the parameter. The
mask passes gradients straight through: dL/dscores is what the method says it is, as if the mask's
steps were not there (Bengio, Leonard & Courville 2013).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from initializers.layers import Weight
from lightning_modules.methods.base import Applied
from lightning_modules.methods.layers import biases, freeze, layer_name
from lightning_modules.methods.sampling import Sampler


class _StraightThrough(torch.autograd.Function):
    """Gives the values; gives the smooth input the gradient of its output."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return grads[0], None


def straight_through(smooth: Tensor, values: Tensor) -> Tensor:
    """Return ``values`` exactly, with the identity as derivative by ``smooth``.

    Args:
        smooth: Floating-point tensor that the gradient goes to.
        values: Tensor of the same shape and dtype.
    """
    result: Tensor = _StraightThrough.apply(smooth, values)
    return result


class Shares(NamedTuple):
    """Shares of negative, zero and positive values of a tensor; they add up to 1."""

    negative: float
    zero: float
    positive: float

    @classmethod
    def of(cls, values: Tensor) -> Shares:
        """Count the signs of a tensor that is not empty."""
        negative, positive = (values < 0).sum().item(), (values > 0).sum().item()
        count = values.numel()
        return cls(negative / count, (count - negative - positive) / count, positive / count)


class Mask(nn.Module):
    """A parametrisation of ``weight``: kernel times mask of the scores.

    Args:
        kernel: The fixed weights.
        scores: What training starts from, in the kernel's shape.

    Attributes:
        kernel: Buffer, part of checkpoints.
    """

    kernel: Tensor

    def __init__(self, kernel: Tensor, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel.detach().clone())
        self._start: Tensor | None = scores

    def forward(self, scores: Tensor) -> Tensor:
        """Return the effective weight."""
        return self.kernel * self.mask(scores)

    @abstractmethod
    def mask(self, scores: Tensor) -> Tensor:
        """Return the mask; its gradient by the scores is the method's."""

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the initial scores, whatever the weight; torch asks once, to register."""
        assert self._start is not None
        start, self._start = self._start, None
        return start


class AppliedMasks(Applied):
    """A network whose weights are fixed and whose masks are trained.

    Biases keep their initial values; norm layers go on being trained.

    Args:
        network: Initialised network; changed in place.
        sampler: Random streams.
        weights: The weights to be masked.
        masks: One parametrisation per weight.
        norms: Whether norm layers are trained.
    """

    def __init__(
        self,
        network: nn.Module,
        sampler: Sampler,
        weights: list[Weight],
        masks: list[Mask],
        *,
        norms: bool = True,
    ) -> None:
        super().__init__(network, sampler)
        self._frozen = freeze(biases(weights) if norms else network.parameters())
        self.layers: Mapping[str, nn.Module] = {layer_name(w): w.module for w in weights}
        self._masks = masks
        for weight, mask in zip(weights, masks, strict=True):
            parametrize.register_parametrization(weight.module, "weight", mask)
        for scores in self.scores():
            scores.requires_grad_(True)

    def scores(self) -> list[nn.Parameter]:
        """Return the trained scores, layer by layer."""
        return [
            layer.parametrizations["weight"].original  # type: ignore[index, union-attr]
            for layer in self.layers.values()
        ]

    @torch.no_grad()
    def masks(self) -> dict[str, Tensor]:
        """Return the masks by layer, as they are at this moment."""
        pairs = zip(self.layers, self._masks, self.scores(), strict=True)
        return {name: mask.mask(scores) for name, mask, scores in pairs}

    def metrics(self) -> dict[str, float]:
        """Return the shares of masked, flipped and changed (masked or flipped) connections."""
        masks = self.masks().values()
        shares = Shares.of(torch.cat([mask.flatten() for mask in masks]))
        return {
            "masked": shares.zero,
            "flipped": shares.negative,
            "changed": shares.zero + shares.negative,
        }

    def report(self) -> dict[str, Any]:
        """Return per layer the shares of negative, zero and positive masks and weights."""
        layers = {}
        for (name, mask), module in zip(self.masks().items(), self._masks, strict=True):
            weight = Shares.of(module.kernel * mask)
            layers[name] = {"mask": Shares.of(mask)._asdict(), "weight": weight._asdict()}
        return {"layers": layers}

    def release(self) -> None:
        """Give the network plain weights, equal to the effective ones of this moment."""
        for layer in self.layers.values():
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        for parameter in self._frozen:
            parameter.requires_grad_(True)
