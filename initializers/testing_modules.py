"""The modules on which ``initializers.testing`` tries an initialiser; calls and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from initializers.base import Initializer
    from initializers.record import InitRecord


class Zoo(nn.Module):
    """One layer of every kind, to be initialised and not to be run."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((1, 4), 0.5))
        self.embedding = nn.Embedding(7, 6, padding_idx=2)
        self.grouped = nn.Conv2d(4, 6, 3, groups=2)
        self.depthwise = nn.Conv1d(4, 8, 3, groups=4)
        self.transposed = nn.ConvTranspose2d(4, 6, 4, stride=2, groups=2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.cross_attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, add_bias_kv=True)
        self.bilinear = nn.Bilinear(3, 4, 5)
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(6), nn.GroupNorm(2, 6), nn.LayerNorm(6), nn.RMSNorm(6)]
        )
        self.slope = nn.PReLU()
        self.recurrent = nn.LSTM(4, 3)
        self.normalised = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        self.encoder = nn.Linear(6, 9)
        self.tied = nn.Linear(6, 9)
        self.tied.weight = self.encoder.weight

    def batch_norm_variance(self) -> Tensor:
        """Return the running variance of its batch normalisation."""
        return self.get_buffer("norms.0.running_var")


def network() -> nn.Sequential:
    """Return a small network for inputs like ``batch()``."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 3 * 3, 12),
        nn.LayerNorm(12),
        nn.ReLU(),
        nn.Linear(12, 5),
    )


def batch() -> Tensor:
    """Return a batch of 32 standard normal inputs (3, 6, 6) for ``network()``."""
    return torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of all tensors that hold numbers."""
    return {
        name: value.detach().clone()
        for name, value in module.state_dict().items()
        if not isinstance(value, nn.UninitializedParameter) and not value.is_meta
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Return whether all tensors of ``first`` are bitwise equal to those of ``second``."""
    return all(torch.equal(value, second[name]) for name, value in first.items())


def equal(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two modules hold bitwise equal tensors."""
    return same(state_of(first), state_of(second))


def labels() -> Tensor:
    """Return labels of 5 classes for the examples of ``batch()``."""
    return torch.randint(5, (32,), generator=torch.Generator().manual_seed(1))


def apply(initializer: Initializer, module: nn.Module, seed: int) -> InitRecord:
    """Call an initialiser on a module with ``batch()`` in the module's dtype."""
    dtype = next(module.parameters()).dtype
    return initializer(module, seed=seed, batch=(batch().to(dtype), labels()))


def apply_with(initializer: Initializer, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the weights that a generator gives."""
    module = network_for(initializer)
    initializer(module, generator=generator, batch=(batch(), labels()))
    return state_of(module)


def apply_or_refuse(initializer: Initializer, zoo: Zoo) -> InitRecord | None:
    """Call it on the zoo; None if it refuses, which must change nothing."""
    before = state_of(zoo)
    try:
        return apply(initializer, zoo, 0)
    except ValueError:
        assert same(before, state_of(zoo)), f"{initializer}: changes a module that it refuses"
        return None


def assert_refused(initializer: Initializer, module: nn.Module, arguments: dict[str, Any]) -> None:
    """Raise AssertionError unless a call is refused, with nothing changed."""
    before = state_of(module)
    try:
        initializer(module, batch=(batch(), labels()), **arguments)
    except (TypeError, ValueError):
        assert same(before, state_of(module)), f"{initializer}: changes a module before it refuses"
        return
    raise AssertionError(f"{initializer}: accepts {arguments or 'neither seed nor generator'}")


def network_for(initializer: Initializer) -> nn.Module:
    """Return ``network()``, or a structured one for an initialiser that needs a topology.

    Both take ``batch()`` and have a weight ``"0.weight"``.
    """
    return structured_network() if "topology" in initializer.requirements() else network()


def structured_network() -> nn.Sequential:
    """Return a network without norm layers, with residual blocks and self-attention."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        ResidualBlock(8),
        ResidualBlock(8),
        nn.Flatten(2),
        SelfAttention(36, 4),
        nn.Flatten(),
        nn.Linear(8 * 36, 5),
    )


class ResidualBlock(nn.Module):
    """Two convolutions, a scalar bias and a multiplier beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bias2 = nn.Parameter(torch.zeros(1))
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.alpha = nn.Parameter(torch.ones(1))
        self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        inner = torch.relu(self.conv1(x)) + self.bias2
        out: Tensor = self.shortcut(x) + self.alpha * self.conv2(inner)
        return out


class SelfAttention(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each position attends to."""
        out: Tensor = self.attention(x, x, x)[0]
        return out
