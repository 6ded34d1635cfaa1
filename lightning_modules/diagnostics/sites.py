"""Where a network is looked at: every layer with parameters and every activation it calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from lightning_modules.diagnostics.calls import main_tensor, with_main
from lightning_modules.diagnostics.rows import Gap

_WEIGHTS = (nn.Linear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.Bilinear, nn.MultiheadAttention)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_CHANNELS = (_ConvNd, _NormBase, nn.GroupNorm)  # units stand on the second axis
_FUNCTIONS = frozenset(
    ("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu",
     "mish", "tanh", "sigmoid", "softplus", "softsign", "hardtanh", "hardswish", "hardsigmoid",
     "logsigmoid", "erf")
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """One place in a network: the output of a layer, or of an activation function.

    Attributes:
        name: the module's qualified name, with ``#2`` for its second call in one forward pass;
            of a function that a module calls, ``block.relu()``.
        kind: ``weight`` (Linear, convolution, embedding, attention), ``norm``, ``activation``,
            ``other`` (any other module with parameters of its own) or ``block`` (asked for).
        position: order of execution, from 0.
        axis: axis of the units: 1 after convolutions, else -1.
        module: the module's qualified name.
    """

    name: str
    kind: str
    position: int
    axis: int
    module: str


Visit = Callable[[Site, Tensor], Tensor | None]
"""Sees the output of a site, without copying it; may return another tensor to go on with."""


class Watch:
    """What a watched network did.

    Attributes:
        gaps: sites whose output is no floating-point tensor.
        called: qualified names of the modules with parameters that were called.
    """

    def __init__(self, network: nn.Module, visit: Visit, blocks: frozenset[str]) -> None:
        self.gaps: dict[Gap, None] = {}
        self.called: set[str] = set()
        self._network = network
        self._visit = visit
        self._blocks = blocks
        self._running: list[tuple[str, nn.Module]] = []
        self._counts: Counter[str] = Counter()
        self._axis = -1

    def enter(self, name: str, module: nn.Module) -> None:
        """A module begins."""
        if not self._running:  # the network itself: a new forward pass
            self._counts.clear()
            self._axis = -1
        self._running.append((name, module))

    def leave(self, name: str, module: nn.Module, output: Any) -> Any:
        """A module ends; returns its output, perhaps changed, or None."""
        self._running.pop()
        kind = self._kind(name, module)
        if kind is None:
            return None
        self.called.add(name)
        if kind in ("weight", "norm"):
            self._axis = 1 if isinstance(module, _CHANNELS) else -1
        tensor = main_tensor(output)
        if tensor is None:
            reason = f"{type(module).__name__} gives {type(output).__name__}, no real tensor"
            self.gaps[Gap(name, "its output", reason)] = None
            return None
        new = self._look(name or type(module).__name__, kind, tensor, name)
        return None if new is None else with_main(output, new)

    def applied(self, function: str, output: Any) -> Any:
        """An activation function was applied; returns its output, perhaps changed."""
        if not self._running or not isinstance(output, Tensor):
            return output
        name, module = self._running[-1]
        leaf = next(module.children(), None) is None
        if leaf and type(module).__module__.startswith("torch.nn."):
            return output  # the module that stands for the function is a site itself
        full = f"{name}.{function}()" if name else f"{function}()"
        new = self._look(full, "activation", output, name)
        return output if new is None else new

    def uncalled(self) -> tuple[Gap, ...]:
        """Modules with parameters that were not called, as gaps."""
        gaps = []
        for name, module in self._network.named_modules():
            if "parametrizations" in name.split(".") or not module._parameters:
                continue
            if name not in self.called:
                reason = "it was not called (its parent may use its parameters directly)"
                gaps.append(Gap(name, "its output", reason))
        return (*self.gaps, *gaps)

    def _look(self, name: str, kind: str, tensor: Tensor, module: str) -> Tensor | None:
        position = self._counts.total()
        self._counts[name] += 1
        number = self._counts[name]
        unique = name if number == 1 else f"{name}#{number}"
        return self._visit(Site(unique, kind, position, self._axis, module), tensor)

    def _kind(self, name: str, module: nn.Module) -> str | None:
        if name in self._blocks:
            return "block"
        if isinstance(module, _WEIGHTS):
            return "weight"
        if isinstance(module, _NORMS):
            return "norm"
        if type(module).__module__ == "torch.nn.modules.activation":
            return "activation"
        return "other" if any(p is not None for p in module._parameters.values()) else None


class _Functions(TorchFunctionMode):
    """Tells a watch about activation functions, wherever they are called."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        return self._watch.applied(name, output) if name in _FUNCTIONS else output


@contextmanager
def watched(
    network: nn.Module, visit: Visit, *, blocks: frozenset[str] = frozenset()
) -> Iterator[Watch]:
    """Call `visit` on the output of every site of each forward pass inside.

    Hooks are removed at the end, whatever happens. A function is seen where torch's dispatch of
    functions reaches: not inside scripted or compiled code.

    Args:
        network: any module.
        visit: see `Visit`.
        blocks: qualified names of modules whose outputs are sites as well.
    """
    watch = Watch(network, visit, blocks)
    handles = []
    try:
        for name, module in network.named_modules():
            if "parametrizations" in name.split("."):
                continue  # they compute weights, not signals
            handles.append(
                module.register_forward_pre_hook(
                    lambda module, inputs, name=name: watch.enter(name, module), prepend=True
                )
            )
            handles.append(
                module.register_forward_hook(
                    lambda module, inputs, output, name=name: watch.leave(name, module, output)
                )
            )
        attention = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with attention, _Functions(watch):  # the other kernels have no forward derivative
            yield watch
    finally:
        for handle in handles:
            handle.remove()
