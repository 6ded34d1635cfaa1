"""Stacks of multilayer perceptrons whose large matrix products are oneDNN's.

PyTorch hands matrix products of float32 on a CPU to the library it was built with, MKL as a rule,
which leaves the widest vector registers of some processors unused; there oneDNN, which PyTorch
carries for convolutions, is twice as fast. Which of the two is faster is for a measurement to say.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.stacking.dense import DenseStack

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

    Where all members see the same examples, the first layer's products are one product for all of
    them, else each member has its own. oneDNN adds up each number of a product in an order that
    does not depend on how many others there are: a member's numbers do not depend on the stack
    here either (the calibration looks, and trains in another form where that fails).

    Only for float32 on a CPU; all other products, and all where PyTorch has no oneDNN, are those
    of `DenseStack`.

    Args:
        network: see `DenseStack`.
        members: number of members.

    Raises:
        NotStackableError: the network is no chain of Linear layers and ReLUs.
    """

    def product(self, left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
        """See `DenseStack.product`."""
        if not _is_for_onednn(left, right):
            return super().product(left, right, out)
        if _is_shared(right):  # the gradient of the first layer's weights
            members, rows, _ = left.shape
            return _multiply(left.flatten(0, 1), right[0].t()).view(members, rows, -1)
        result = _result(left, right, out)
        for x, weight, place in _each(left, right, result):
            place.copy_(_multiply(x, weight))
        return result

    def affine(
        self, bias: Tensor, left: Tensor, right: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """See `DenseStack.affine`."""
        if not _is_for_onednn(left, right):
            return super().affine(bias, left, right, out)
        weight = right.transpose(1, 2)
        if _is_shared(left) and weight.is_contiguous():  # the first layer
            members, outputs, _ = weight.shape
            products = _multiply(left[0], weight.flatten(0, 1)).view(-1, members, outputs)
            return torch.add(products.transpose(0, 1), bias, out=_result(left, right, out))
        result = _result(left, right, out)
        for (x, other, place), shift in zip(_each(left, right, result), bias.unbind(), strict=True):
            torch.add(_multiply(x, other), shift, out=place)
        return result


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


def _result(left: Tensor, right: Tensor, out: Tensor | None) -> Tensor:
    shape = (left.shape[0], left.shape[1], right.shape[2])
    return left.new_empty(shape) if out is None else out


def _each(left: Tensor, right: Tensor, result: Tensor) -> zip[tuple[Tensor, Tensor, Tensor]]:
    """Of each member the left factor, the right one transposed, and the place of the result."""
    return zip(left.unbind(), right.transpose(1, 2).unbind(), result.unbind(), strict=True)


def _multiply(x: Tensor, weight: Tensor) -> Tensor:
    """(n, k) times the transpose of (m, k), as a linear layer without bias."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return product
