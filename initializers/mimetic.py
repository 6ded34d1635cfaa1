"""Mimetic initialisation of self-attention: products of weights that look like trained ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from initializers import draws, validate
from initializers.base import Initializer
from initializers.classical import GlorotUniform
from initializers.context import LayerContext
from initializers.job import Job, Layer
from initializers.wrapper import Wrapper

_PARTS = ("query", "key", "value")


@dataclass(frozen=True)
class Mimetic(Wrapper):
    """Set the products of attention's weights near multiples of the identity.

    The method of Trockman and Kolter 2023. For every ``nn.MultiheadAttention`` of width d with h
    heads, and Z with entries N(0, 1/d), new for every product::

        Wq^T Wk  of a head    the best approximation of rank d/h of  qk_noise Z + qk_identity I
        Wv^T Wo^T             value_noise Z + value_identity I

    where torch computes ``x Wq^T`` and so on. A product M = U S V^T is split evenly: U sqrt(S) and
    sqrt(S) V^T. The values' identity is negative in vision and positive in language models.
    Everything else gets the base's weights, and all biases of the attention are the base's.

    Formula:
        Wq^T Wk ~ qk_noise Z + qk_identity I,  Wv^T Wo^T = value_noise Z + value_identity I

    Args:
        base: Initialiser of all other weights.
        qk_noise: Factor of Z for queries and keys, in [0, inf).
        qk_identity: Factor of I for queries and keys.
        value_noise: Factor of Z for values and outputs, in [0, inf).
        value_identity: Factor of I for values and outputs.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range, or on the call if the module has no attention,
            or one whose keys or values have another width.
    """

    base: Initializer = field(default_factory=GlorotUniform)
    qk_noise: float = 0.7
    qk_identity: float = 0.7
    value_noise: float = 0.4
    value_identity: float = -0.4

    needs: ClassVar[tuple[str, ...]] = ("topology",)
    family: ClassVar[str] = "structural"
    citation: ClassVar[str] = "Trockman, Kolter 2023, Mimetic initialization"

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.number(self, "qk_noise", "[0, inf)")
        validate.number(self, "qk_identity", "(-inf, inf)")
        validate.number(self, "value_noise", "[0, inf)")
        validate.number(self, "value_identity", "(-inf, inf)")
        noise = self.qk_noise + self.value_noise > 0.0
        object.__setattr__(self, "stochastic", noise or self.base.stochastic)

    def check(self, job: Job) -> None:
        """Refuse modules without self-attention."""
        super().check(job)
        attentions = [
            (name, module)
            for name, module in job.module.named_modules()
            if isinstance(module, nn.MultiheadAttention)
        ]
        if not attentions:
            raise ValueError("Mimetic sets nn.MultiheadAttention, of which this module has none.")
        for name, module in attentions:
            if module.in_proj_weight is None:
                raise ValueError(
                    f"Mimetic needs keys and values of the width of the queries, but {name} has "
                    f"embed_dim {module.embed_dim}, kdim {module.kdim} and vdim {module.vdim}."
                )

    def run(self, job: Job) -> None:
        """Let the base act, then set the attention's weights."""
        self.base.run(job)
        layers = {layer.weight.name: layer for layer in job.layers}
        for name, layer in layers.items():
            if not name.endswith("in_proj_weight[query]"):
                continue
            prefix = name.removesuffix("in_proj_weight[query]")
            names = [f"{prefix}in_proj_weight[{part}]" for part in _PARTS]
            query, key, value, out = (
                layers.get(other) for other in (*names, f"{prefix}out_proj.weight")
            )
            heads = layer.weight.module.num_heads
            assert isinstance(heads, int)
            if query is not None and key is not None:
                stream = job.streams.generator(f"{names[0]}/Mimetic")
                self._queries_and_keys(query, key, heads, stream)
            if value is not None and out is not None:
                stream = job.streams.generator(f"{names[2]}/Mimetic")
                self._values_and_outputs(value, out, stream)

    def nominal_std(self, context: LayerContext) -> float | None:
        """Return what the base aims at; attention's weights have no law of their own."""
        attention = "in_proj_weight[" in context.name or context.name.endswith("out_proj.weight")
        return None if attention else self.base.nominal_std(context)

    def _queries_and_keys(
        self, query: Layer, key: Layer, heads: int, generator: torch.Generator
    ) -> None:
        width = query.context.columns
        size = width // heads
        rows: tuple[list[Tensor], list[Tensor]] = ([], [])
        for _ in range(heads):
            target = _target(width, self.qk_noise, self.qk_identity, generator)
            left, right = _split(target, size)
            rows[0].append(left.T)
            rows[1].append(right)
        for layer, parts in zip((query, key), rows, strict=True):
            layer.weight.write(torch.cat(parts))
            layer.context.note("mimetic, per head with its partner")

    def _values_and_outputs(self, value: Layer, out: Layer, generator: torch.Generator) -> None:
        width = value.context.columns
        target = _target(width, self.value_noise, self.value_identity, generator)
        left, right = _split(target, width)
        value.weight.write(left.T)
        out.weight.write(right.T)
        for layer in (value, out):
            layer.context.note("mimetic, with its partner")


def _target(width: int, noise: float, identity: float, generator: torch.Generator) -> Tensor:
    """Draw ``noise Z + identity I`` in float64, Z with entries N(0, 1 / width)."""
    target = torch.empty(width, width, dtype=torch.float64)
    draws.fill_normal(target, noise / width**0.5, generator)
    target.diagonal().add_(identity)
    return target


def _split(target: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return (width, rank) and (rank, width) whose product is the best one of that rank."""
    left, values, right = torch.linalg.svd(target)
    roots = values[:rank].sqrt()
    return left[:, :rank] * roots, roots.unsqueeze(1) * right[:rank]
