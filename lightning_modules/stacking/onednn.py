"""Stacks of multilayer perceptrons whose large matrix products are oneDNN's.

PyTorch hands matrix products of float32 on a CPU to the library it was built with, MKL as a rule,
which leaves the widest vector registers of some processors unused; oneDNN, which PyTorch carries
for convolutions, uses them. Which of the two is faster is for a measurement to say
(`benchmarks/product_speed.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.stacking.dense import DenseStack, Link

# A call costs some microseconds: fewer multiplications than these per member are not worth it.
_LARGE = 1_600_000


def has_onednn() -> bool:
    """Whether this PyTorch carries oneDNN, unless it was switched off
    (`torch.backends.mkldnn.enabled`), and the operator that gives its matrix products.
    """
    onednn: Any = torch.backends.mkldnn
    usable = bool(onednn.is_available() and onednn.enabled)
    return usable and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def may_gain_from_onednn(network: nn.Module, n: int) -> bool:
    """Whether training a network on batches of n examples has a product large enough for oneDNN."""
    sizes = [m.in_features * m.out_features for m in network.modules() if isinstance(m, nn.Linear)]
    return has_onednn() and n * max(sizes, default=0) >= _LARGE


class OneDnnStack(DenseStack):
    """A `DenseStack` that computes large products with oneDNN.

    Where all members see the same examples, the first layer has one product for all of them (but
    where rows of weights are filled up), else each member has its own. oneDNN adds up each number
    of a product in an order that does not depend on how many others there are: a member's numbers
    do not depend on the stack here either (the calibration looks, and trains in another form where
    that fails).

    Only for float32 on a CPU; all other products, and all where PyTorch has no oneDNN, are those
    of `DenseStack`.

    Args:
        network: see `DenseStack`.
        members: number of members.

    Raises:
        NotStackableError: the network is no chain of Linear layers and ReLUs.
    """

    def product(
        self,
        left: Tensor,
        right: Tensor,
        bias: Tensor | None = None,
        *,
        out: Tensor | None = None,
    ) -> Tensor:
        """See `DenseStack.product`."""
        if not _is_for_onednn(left, right):
            return super().product(left, right, bias, out=out)
        members, n, outputs = left.shape[0], left.shape[1], right.shape[2]
        result = left.new_empty(members, n, outputs) if out is None else out
        weight = right.transpose(1, 2)
        if _is_shared(left) and weight.is_contiguous():  # the first layer
            products = _multiply(left[0], weight.flatten(0, 1))
            result.copy_(products.view(n, members, outputs).transpose(0, 1))
        else:
            for x, other, place in zip(left, weight, result, strict=True):
                place.copy_(_multiply(x, other))
        return result if bias is None else result.add_(bias)

    def differentiate_weight(self, link: Link, delta: Tensor, received: Tensor) -> None:
        """See `DenseStack.differentiate_weight`."""
        left, gradient = delta.transpose(1, 2), link.weight_gradient
        if not _is_for_onednn(left, received):
            super().differentiate_weight(link, delta, received)
        elif _is_shared(received):  # the first layer
            products = _multiply(left.flatten(0, 1), received[0].t())
            link.layer.take_gradient_rows("weight", products.view(gradient.shape))
        else:
            for x, other, place in zip(left, received, gradient, strict=True):
                place.copy_(_multiply(x, other.t()))


def _is_for_onednn(left: Tensor, right: Tensor) -> bool:
    return (
        left.shape[1] * left.shape[2] * right.shape[2] >= _LARGE
        and left.dtype == torch.float32
        and left.device.type == "cpu"
        and has_onednn()
    )


def _is_shared(factor: Tensor) -> bool:
    """Whether several members have one and the same factor."""
    return factor.stride(0) == 0 and len(factor) > 1


def _multiply(x: Tensor, weight: Tensor) -> Tensor:
    """(n, k) times the transpose of (m, k), as a linear layer without bias."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return product
