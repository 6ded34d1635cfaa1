"""From one network to a stack of several with the same architecture."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from lightning_modules.stacking.layers import STACKED, MemberByMember, StackedConv
from lightning_modules.stacking.modules import Stacked, keep_rows, only
from lightning_modules.stacking.rows import Rows

# Modules whose arithmetic is the same wherever an element stands: they take the stack as it is.
_EXACT = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.ZeroPad2d,
)  # fmt: skip


Pairs = Callable[[Tensor, Tensor], object]
"""What is done with each tensor of a member and its counterpart in a network."""


class NotStackableError(ValueError):
    """A network that has no stacked form; the message says why."""


class StackedNetwork(nn.Module):
    """Several networks of one architecture as one module.

    Takes (members * n, *input_shape), the first n examples for the first member and so on, and
    gives logits (members * n, num_classes) in the same order.

    Attributes:
        members: number of networks in the stack.
    """

    members: int

    @abstractmethod
    def exchange(self, member: int, network: nn.Module, copy: Pairs) -> None:
        """Call `copy(here, there)` on each tensor of a member and of a network of its kind."""

    @abstractmethod
    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order."""

    def load_member(self, member: int, network: nn.Module) -> None:
        """Take over parameters and buffers of a network."""
        self.exchange(member, network, lambda here, there: here.copy_(there))

    def store_member(self, member: int, network: nn.Module) -> None:
        """Copy a member's parameters and buffers into a network."""
        self.exchange(member, network, lambda here, there: there.copy_(here))


class LayerStack(StackedNetwork):
    """A stack made layer by layer: `Linear` becomes one batched product, and so on.

    The network's own code runs once for the whole stack, as on one large batch; layers with
    parameters or batch statistics are exchanged for their stacked forms (`STACKED`).

    Args:
        network: a network of the architecture; its weights are not taken over.
        members: number of members.

    Raises:
        NotStackableError: a module with parameters has no stacked form, or has hooks, or shares
            its parameters.
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        super().__init__()
        refuse_unknown(network)
        self.members = members
        replaced: dict[nn.Module, nn.Module] = {}
        self.body = _exchanged(copy.deepcopy(network), members, replaced)
        self._convolves = any(isinstance(module, StackedConv) for module in self.modules())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (members * n, num_classes)."""
        one_by_one = self._convolves and x.device.type == "cpu"  # as `StackedConv` works
        if one_by_one and self.members > 1 and not torch.is_grad_enabled():
            # Whole networks in turn then, so that one member's large activations are held only.
            return torch.cat([self._one(*part) for part in enumerate(x.chunk(self.members))])
        return cast(Tensor, self.body(x))

    def _one(self, member: int, x: Tensor) -> Tensor:
        with only((m for m in self.modules() if isinstance(m, Stacked)), member):
            return cast(Tensor, self.body(x))

    def exchange(self, member: int, network: nn.Module, copy: Pairs) -> None:
        """See `StackedNetwork.exchange`."""
        if isinstance(self.body, Stacked):
            return self.body.exchange(member, network, copy)
        for name, module in self._stacked():
            module.exchange(member, network.get_submodule(name), copy)
        return None

    def keep(self, members: Sequence[int]) -> None:
        """See `StackedNetwork.keep`."""
        for module in self.modules():
            if isinstance(module, Stacked):
                module.keep(members)
        self.members = len(members)

    def _stacked(self) -> Iterator[tuple[str, Stacked]]:
        for name, module in self.body.named_modules():
            if isinstance(module, Stacked):
                yield name, module


class VmapStack(StackedNetwork):
    """A stack by `torch.func.vmap` over the network's function: for any network.

    Args:
        network: a network of the architecture; its weights are not taken over.
        members: number of members.
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        super().__init__()
        self.members = members
        self._rows: dict[str, Rows] = {}
        for name, value in network.named_parameters():
            self._rows[name] = Rows(value.shape)
            matrix = self._rows[name].zeros(members, value)
            self.register_parameter(_flat(name), nn.Parameter(matrix, value.requires_grad))
        for name, buffer in network.named_buffers():
            self.register_buffer(_flat(name), torch.stack([buffer] * members))
        # In a list, so that it is no submodule: only its code is used.
        self._network = [copy.deepcopy(network).to("meta")]
        self._trains = [module.training for module in network.modules()]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (members * n, num_classes)."""
        network = self._network[0]
        for module, trains in zip(network.modules(), self._trains, strict=True):
            module.training = trains and self.training  # what the user froze stays frozen

        def one(values: dict[str, Tensor], inputs: Tensor) -> Tensor:
            return cast(Tensor, torch.func.functional_call(network, values, (inputs,)))

        parts = x.view(self.members, -1, *x.shape[1:])
        # Random draws of the network are the same for all members, as they are one by one.
        out = torch.func.vmap(one, randomness="same")(self._state(), parts)
        return out.flatten(0, 1)

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers (members, *shape) under the network's own names."""
        names = (name for name, _ in self._network[0].named_buffers())
        buffers = {name: getattr(self, _flat(name)) for name in names}
        matrices = {name: getattr(self, _flat(name)) for name in self._rows}
        return buffers | {name: self._rows[name].view(m) for name, m in matrices.items()}

    @torch.no_grad()
    def exchange(self, member: int, network: nn.Module, copy: Pairs) -> None:
        """See `StackedNetwork.exchange`."""
        state = self._state()
        for name, value in (*network.named_parameters(), *network.named_buffers()):
            copy(state[name][member], value)

    def keep(self, members: Sequence[int]) -> None:
        """See `StackedNetwork.keep`."""
        keep_rows(self, members)
        self.members = len(members)


def _flat(name: str) -> str:
    """A parameter's path as one name, which may not contain dots."""
    return name.replace(".", "/")


def refuse_unknown(network: nn.Module) -> None:
    """Raise NotStackableError, naming the module, if `LayerStack` cannot take a network."""
    seen: dict[nn.Parameter, str] = {}
    for path, module in network.named_modules():
        kind, where = type(module).__name__, path or "the network itself"
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            raise NotStackableError(f"{where} ({kind}) has hooks")
        own = [*module._parameters.values(), *module._buffers.values()]
        if type(module) not in STACKED and any(value is not None for value in own):
            raise NotStackableError(f"{where} ({kind}) has parameters of its own")
        if getattr(module, "padding_mode", "zeros") != "zeros":
            raise NotStackableError(f"{where} ({kind}) has padding_mode {module.padding_mode!r}")
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                raise NotStackableError(f"{path}.{name} is shared with {seen[parameter]}")
            seen[parameter] = f"{path}.{name}"


def _exchanged(module: nn.Module, members: int, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """A module with its layers exchanged for stacked ones; a shared layer stays shared."""
    if module in known:
        return known[module]
    if type(module) in STACKED:
        known[module] = STACKED[type(module)](module, members)
    elif type(module) in _EXACT:
        known[module] = module
    elif next(module.children(), None) is None and type(module).__module__.startswith("torch."):
        known[module] = MemberByMember(module, members)
    else:
        known[module] = module
        for name, child in module._modules.items():  # named_children() leaves out repetitions
            if child is not None:
                setattr(module, name, _exchanged(child, members, known))
    return known[module]
