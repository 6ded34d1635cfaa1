"""Layers of a stack: each takes (members * n, ...), member by member, and gives the same.

Members never meet in one sum, and each product has the shape it has for a member alone: what a
member computes does not depend on the others, to the last bit where the matrix library gives equal
results for equal operands.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.stacking.modules import Stacked

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


class StackedLinear(Stacked):
    """Linear layers as one batched matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, ..., in) to (members * n, ..., out)."""
        inputs = x.reshape(self.members, -1, x.shape[-1])
        weight, bias = self.rows("weight"), self.optional_rows("bias")
        if bias is not None and not torch.is_grad_enabled():
            out = torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))
        else:
            out = cast(Tensor, _Product.apply(inputs, weight))
            out = out if bias is None else out + bias.unsqueeze(1)
        return out.view(*x.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """(members, n, in) times weights (members, out, in), transposed.

    The gradient of the weights comes out in their own layout; that of `bmm` would be transposed
    and then copied, which cost a fifth of a small network's training.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dy = gradients[0].to(weight.dtype)
        dx = torch.bmm(dy, weight) if ctx.needs_input_grad[0] else None
        dw = torch.bmm(dy.transpose(1, 2), x.to(weight.dtype)) if ctx.needs_input_grad[1] else None
        return dx, dw


class StackedConv(Stacked):
    """Convolutions with zero padding, of one to three dimensions.

    On a CPU one after the other: a grouped convolution is slower there than its parts. On other
    devices as one grouped convolution.
    """

    def __init__(self, source: Convolution, members: int) -> None:
        super().__init__(source, members)
        self.groups = source.groups
        self._convolve: Any = getattr(functional, f"conv{source.weight.dim() - 2}d")
        self._options = {
            "stride": source.stride,
            "padding": source.padding,
            "dilation": source.dilation,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, channels, ...) to (members * n, out_channels, ...)."""
        weight, bias = self.rows("weight"), self.optional_rows("bias")
        if x.device.type != "cpu" and self.members > 1:
            out = self._convolve(
                _side_by_side(self.split(x)),
                weight.flatten(0, 1),
                None if bias is None else bias.flatten(),
                groups=self.groups * self.members,
                **self._options,
            )
            return _in_turn(out, self.members)
        biases = [None] * self.members if bias is None else bias.unbind(0)
        parts = [
            self._convolve(*operands, groups=self.groups, **self._options)
            for operands in zip(x.chunk(self.members), weight.unbind(0), biases, strict=True)
        ]
        return _joined(parts)


class StackedBatchNorm(Stacked):
    """Batch normalisation in which every member has its own statistics."""

    def __init__(self, source: BatchNorm, members: int) -> None:
        super().__init__(source, members)
        self.eps, self.momentum = source.eps, source.momentum

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, channels, ...) to the same shape."""
        mean, variance = (self.optional_buffer(name) for name in ("running_mean", "running_var"))
        update = self.training and mean is not None
        factor = self.momentum or 0.0
        if update:
            counts = cast(Tensor, self.optional_buffer("num_batches_tracked"))
            counts.add_(1)
            if self.momentum is None:  # a cumulative average
                factor = 1.0 / float(counts[0])
        tensors = (mean, variance, self.optional_rows("weight"), self.optional_rows("bias"))

        def normalized(part: Tensor, *own: Tensor | None) -> Tensor:
            return functional.batch_norm(
                part,
                own[0],
                own[1],
                own[2],
                own[3],
                self.training or mean is None,
                factor,
                self.eps,
            )

        if x.device.type != "cpu" and self.members > 1:
            flat = (None if tensor is None else tensor.reshape(-1) for tensor in tensors)
            return _in_turn(normalized(_side_by_side(self.split(x)), *flat), self.members)
        rows = ([None] * self.members if t is None else t.unbind(0) for t in tensors)
        parts = zip(x.chunk(self.members), *rows, strict=True)
        return _joined([normalized(part, *own) for part, *own in parts])


class StackedLayerNorm(Stacked):
    """Layer normalisation; each member has its own scale and shift."""

    def __init__(self, source: nn.LayerNorm, members: int) -> None:
        super().__init__(source, members)
        self.normalized_shape, self.eps = source.normalized_shape, source.eps

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, ..., *normalized_shape) to the same shape."""
        out = self.split(functional.layer_norm(x, self.normalized_shape, eps=self.eps))
        free = out.dim() - 1 - len(self.normalized_shape)
        for name, apply in (("weight", torch.mul), ("bias", torch.add)):
            value = self.optional_rows(name)
            if value is not None:
                out = apply(out, value.view(self.members, *(1,) * free, *self.normalized_shape))
        return out.flatten(0, 1)


class StackedGroupNorm(Stacked):
    """Group normalisation; each member has its own scale and shift per channel."""

    def __init__(self, source: nn.GroupNorm, members: int) -> None:
        super().__init__(source, members)
        self.num_groups, self.eps = source.num_groups, source.eps

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, channels, ...) to the same shape."""
        out = self.split(functional.group_norm(x, self.num_groups, eps=self.eps))
        for name, apply in (("weight", torch.mul), ("bias", torch.add)):
            value = self.optional_rows(name)
            if value is not None:
                shape = (self.members, 1, -1, *(1,) * (out.dim() - 3))
                out = apply(out, value.reshape(shape))
        return out.flatten(0, 1)


class StackedDropout(Stacked):
    """Dropout in which all members lose the same units, those a lone network would lose."""

    def __init__(self, source: nn.Module, members: int) -> None:
        super().__init__(source, members)
        self._drop = getattr(functional, _DROPOUTS[type(source)])
        self.p = cast(float, source.p)

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, ...) to the same shape."""
        if not self.training or self.p == 0:
            return x
        parts = self.split(x)
        mask = self._drop(torch.ones_like(parts[0]), self.p, True)
        return cast(Tensor, (parts * mask).flatten(0, 1))


class MemberByMember(Stacked):
    """A module without parameters, called once per member.

    Functions such as exp are computed by one kernel in the bulk of a tensor and by another in its
    last few elements, with other rounding: so each member's part is a tensor of its own.
    """

    def __init__(self, source: nn.Module, members: int) -> None:
        super().__init__(source, members)
        self.module = source

    def forward(self, x: Tensor) -> Tensor:
        """(members * n, ...) to (members * n, ...)."""
        if self.members == 1:
            return cast(Tensor, self.module(x))
        return _joined([self.module(part) for part in x.chunk(self.members)])


_DROPOUTS: dict[type[nn.Module], str] = {
    nn.Dropout: "dropout",
    nn.Dropout1d: "dropout1d",
    nn.Dropout2d: "dropout2d",
    nn.Dropout3d: "dropout3d",
}
STACKED: dict[type[nn.Module], type[Stacked]] = {
    nn.Linear: StackedLinear,
    nn.Conv1d: StackedConv,
    nn.Conv2d: StackedConv,
    nn.Conv3d: StackedConv,
    nn.BatchNorm1d: StackedBatchNorm,
    nn.BatchNorm2d: StackedBatchNorm,
    nn.BatchNorm3d: StackedBatchNorm,
    nn.LayerNorm: StackedLayerNorm,
    nn.GroupNorm: StackedGroupNorm,
    **dict.fromkeys(_DROPOUTS, StackedDropout),
}
"""The stacked form of each kind of layer."""


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _side_by_side(x: Tensor) -> Tensor:
    """From (members, n, channels, ...) to (n, members * channels, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def _in_turn(x: Tensor, members: int) -> Tensor:
    """From (n, members * channels, ...) to (members * n, channels, ...)."""
    parts = x.view(len(x), members, -1, *x.shape[2:])
    return parts.transpose(0, 1).flatten(0, 1)
