"""Sorting the parameters of any module into weights, biases, norm-layer affines and the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from initializers.fans import Fans, fans
from initializers.record import Skipped
from initializers.reparametrised import WeightNormed, plain_name, weight_norms

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_ATTENTION_PARTS = ("query", "key", "value")
_NORMED = ("linear", "bilinear", "conv", "conv_transpose")  # kinds known with weight normalisation
_HOOKED = ("weight_g", "weight_v", "weight_orig", "bias_orig")  # older weight_norm, pruning
_REPARAMETRISED = "re-parametrised; initialise before the re-parametrisation is added"


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight matrix or kernel in the orientation ``(output units, inputs of a unit...)``.

    Attributes:
        name: Qualified name, with ``[query]``, ``[key]``, ``[value]`` for packed attention.
        module: The layer it belongs to.
        kind: See ``LayerContext``.
        shape: Shape in this orientation.
        segments: Views of the parameter that, reshaped and joined along the first axis, make up
            the weight; several where no single view exists.
        groups: Groups of a convolution.
        depthwise: Whether every group has one input channel.
        fans: Its fans.
        aliases: Other names of the same parameter.
        norm: Set if the layer is weight-normalised; ``segments`` are then views of its v.
    """

    name: str
    module: nn.Module
    kind: str
    shape: tuple[int, ...]
    segments: tuple[Tensor, ...]
    fans: Fans
    groups: int = 1
    depthwise: bool = False
    aliases: tuple[str, ...] = ()
    norm: WeightNormed | None = None

    def read(self) -> Tensor:
        """Return the weight in its orientation; a view of the parameter wherever one exists."""
        segments = self.segments
        if self.norm is not None:
            segments = _segments(self.module, self.norm.effective())
        parts = [part.reshape(-1, *self.shape[1:]) for part in segments]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def write(self, values: Tensor) -> None:
        """Copy ``values`` (same orientation, any dtype and device) into the parameter.

        With weight normalisation v becomes the values and g their norms.
        """
        start = 0
        for part in self.segments:
            rows = part.numel() // max(1, math.prod(self.shape[1:]))
            part.copy_(values[start : start + rows].reshape(part.shape))
            start += rows
        if self.norm is not None:
            self.norm.adopt()

    def direct(self) -> Tensor | None:
        """Return the parameter's own memory if it can be filled in place, else None."""
        if self.norm is not None:
            return None
        part = self.segments[0]
        return part if len(self.segments) == 1 and is_fillable(part) else None


@dataclass(frozen=True, eq=False)
class Bias:
    """One bias vector: qualified name, its layer, the kind and fans of that layer's weight."""

    name: str
    module: nn.Module
    kind: str
    parameter: Tensor
    fans: Fans

    def write(self, values: Tensor) -> None:
        """Copy ``values`` (any dtype and device) into the parameter."""
        self.parameter.copy_(values)


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything an initialiser may set in a module, found before anything is changed.

    Attributes:
        weights: Weights in order of registration.
        biases: Biases of the layers with weights.
        norms: Name, tensor and identity value (1 or 0) of the affine parameters of norm layers.
        running: Norm layers with running statistics.
        padding: Rows of embeddings that stay zero.
        skipped: Parameters that are left alone, each with a reason.
    """

    weights: list[Weight] = field(default_factory=list)
    biases: list[Bias] = field(default_factory=list)
    norms: list[tuple[str, Tensor, float]] = field(default_factory=list)
    running: list[_NormBase] = field(default_factory=list)
    padding: list[Tensor] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def reset_norms_and_padding(self) -> None:
        """Set norm layers to the identity, their statistics to (0, 1), and padding rows to 0."""
        for _, parameter, identity in self.norms:
            parameter.fill_(identity)
        for norm in self.running:
            norm.reset_running_stats()
        for row in self.padding:
            row.zero_()


def is_fillable(tensor: Tensor) -> bool:
    """Return whether a ``fill`` may write straight into the memory of ``tensor``."""
    plain = tensor.dtype in (torch.float32, torch.float64) and tensor.device.type == "cpu"
    return plain and tensor.is_contiguous()


def plan_module(module: nn.Module, owner: str = "Initializer") -> Plan:
    """Sort the parameters of ``module``; a parameter with several names is listed once.

    Args:
        module: Any module.
        owner: Who asks, for the messages.

    Raises:
        TypeError: If ``module`` is no ``nn.Module``.
        ValueError: If a parameter has no shape yet (lazy layers) or no memory (meta device).
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{owner}: expected a torch.nn.Module, got {type(module).__name__}.")
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        _refuse_without_memory(owner, name, parameter)
        names.setdefault(id(parameter), []).append(name)
    plan, done, left = Plan(), set[int](), dict[int, Skipped]()
    attention_outputs = {
        id(m.out_proj) for m in module.modules() if isinstance(m, nn.MultiheadAttention)
    }
    normed = {
        id(container): (f"{prefix}.weight" if prefix else "weight", layer, norm)
        for container, prefix, layer, norm in weight_norms(module)
        if _kind(layer) in _NORMED and norm.direction.numel() and norm.direction.is_floating_point()
    }
    for prefix, layer in module.named_modules():
        if id(layer) in normed:
            name, owner_layer, norm = normed[id(layer)]
            originals = dict(layer.named_parameters(recurse=False))
            if id(originals["original1"]) not in done:
                done.update(map(id, originals.values()))
                others = (plain_name(other) for other in names[id(originals["original1"])])
                aliases = tuple(other for other in others if other != name)
                for weight in _weights(name, "weight", owner_layer, norm.direction, aliases):
                    plan.weights.append(replace(weight, norm=norm))
            continue
        if isinstance(layer, _NormBase) and layer.track_running_stats:
            plan.running.append(layer)
        for short, parameter in layer.named_parameters(recurse=False):
            if id(parameter) in done:
                continue
            name = f"{prefix}.{short}" if prefix else short
            reason = _reason_to_skip(layer, name, short, parameter)
            if reason is not None:
                left.setdefault(id(parameter), Skipped(name, tuple(parameter.shape), reason))
                continue
            done.add(id(parameter))
            if isinstance(layer, _NORMS):
                plan.norms.append((name, parameter.detach(), float(short == "weight")))
            elif short.endswith("bias"):
                kind = "attention" if id(layer) in attention_outputs else _kind(layer)
                plan.biases.append(Bias(name, layer, kind, parameter.detach(), fans(layer)))
            else:
                aliases = tuple(other for other in names[id(parameter)] if other != name)
                plan.weights.extend(_weights(name, short, layer, parameter.detach(), aliases))
                plan.padding.extend(_padding_row(layer, parameter.detach()))
    # a parameter shared with a known layer counts as that layer's
    plan.skipped.extend(skip for key, skip in left.items() if key not in done)
    return plan


def oriented(name: str, layer: nn.Module, values: Tensor) -> Weight:
    """Return another tensor in the layout of a layer's parameter, seen as that weight is.

    Args:
        name: The weight's name, e.g. ``"attention.in_proj_weight[query]"``.
        layer: The layer that it belongs to.
        values: Tensor of the parameter's shape, of any dtype: a stored value, a mask.
    """
    parameter, _, _ = name.partition("[")
    parts = _weights(parameter, parameter.rpartition(".")[2], layer, values, ())
    return next(part for part in parts if part.name == name)


def _refuse_without_memory(owner: str, name: str, parameter: Tensor) -> None:
    if is_lazy(parameter):
        raise ValueError(
            f"{owner}: parameter {name!r} of a lazy layer has no shape yet; run one batch through "
            "the network first."
        )
    if parameter.is_meta:
        raise ValueError(
            f"{owner}: parameter {name!r} is on the meta device and has no memory; call "
            "module.to_empty(device=...) first."
        )


def _reason_to_skip(layer: nn.Module, name: str, short: str, parameter: Tensor) -> str | None:
    """Return why a parameter cannot be set, or None if it can."""
    if not parameter.is_floating_point():
        return f"not a real floating-point tensor ({parameter.dtype})"
    if parameter.numel() == 0:
        return "holds no values"
    if "parametrizations." in name or (_kind(layer) and short in _HOOKED):
        return _REPARAMETRISED
    if isinstance(layer, _NORMS) and short in ("weight", "bias"):
        return None
    if isinstance(layer, nn.MultiheadAttention):
        known = short.endswith("proj_weight") or short == "in_proj_bias"
        return None if known else "learned token of MultiheadAttention, not a weight matrix"
    if _kind(layer) and short in ("weight", "bias"):
        return None
    if isinstance(layer, nn.PReLU):
        return "slope of PReLU"
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        return f"recurrent layers ({type(layer).__name__}) are not supported"
    return f"parameter of {type(layer).__name__} itself, not of a known layer"


def _kind(layer: nn.Module) -> str:
    """Return the kind of a layer with weights, or an empty string."""
    if isinstance(layer, nn.Linear):
        return "linear"
    if isinstance(layer, _ConvNd):
        return "conv_transpose" if layer.transposed else "conv"
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if isinstance(layer, nn.MultiheadAttention):
        return "attention"
    return "bilinear" if isinstance(layer, nn.Bilinear) else ""


def _weights(
    name: str, short: str, layer: nn.Module, values: Tensor, aliases: tuple[str, ...]
) -> Iterator[Weight]:
    """Yield the weights that one parameter holds."""
    kind, layer_fans = _kind(layer), fans(layer, short)
    if short == "in_proj_weight":
        for part, rows in zip(_ATTENTION_PARTS, values.chunk(3), strict=True):
            shape = tuple(rows.shape)
            yield Weight(
                f"{name}[{part}]", layer, kind, shape, (rows,), layer_fans, aliases=aliases
            )
        return
    segments = _segments(layer, values)
    groups, depthwise = 1, False
    if isinstance(layer, _ConvNd):
        groups = layer.groups
        depthwise = groups > 1 and groups == layer.in_channels
    if not segments:
        return  # an embedding of nothing but the padding row
    shape = (sum(len(part) for part in segments), *segments[0].shape[1:])
    yield Weight(name, layer, kind, shape, segments, layer_fans, groups, depthwise, aliases)


def _segments(layer: nn.Module, values: Tensor) -> tuple[Tensor, ...]:
    """Return views of a layer's stored weight that, joined, have the output units first."""
    if isinstance(layer, _ConvNd) and layer.transposed:  # stored as (in, out / groups, taps...)
        return tuple(part.transpose(0, 1) for part in values.chunk(layer.groups))
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.padding_idx is not None:
        row = layer.padding_idx
        return tuple(part for part in (values[:row], values[row + 1 :]) if len(part))
    return (values,)


def _padding_row(layer: nn.Module, values: Tensor) -> list[Tensor]:
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.padding_idx is not None:
        return [values[layer.padding_idx]]
    return []
