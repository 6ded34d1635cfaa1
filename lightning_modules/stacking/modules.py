"""What all stacked modules share: parameters in rows, and members that come, go and leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_modules.stacking.rows import Rows


class Stacked(nn.Module):
    """The parameters and buffers of several equal modules, one row per member.

    Parameters carry the names of the original; each is a matrix (members, width), see `Rows`.
    Buffers have a leading dimension of members.

    Args:
        source: a module of the kind to be stacked; only its own parameters are taken, not those
            of its children.
        members: number of members.
    """

    def __init__(self, source: nn.Module, members: int) -> None:
        super().__init__()
        self.members = members
        self._shown = slice(None)
        self.training = source.training
        self._rows: dict[str, Rows] = {}
        for name, value in source.named_parameters(recurse=False, remove_duplicate=False):
            self._rows[name] = Rows(value.shape)
            matrix = self._rows[name].zeros(members, value)
            self.register_parameter(name, nn.Parameter(matrix, value.requires_grad))
        for name, buffer in source.named_buffers(recurse=False, remove_duplicate=False):
            self.register_buffer(name, torch.stack([buffer] * members))

    def rows(self, name: str) -> Tensor:
        """The members' parameters (members, *shape): a view."""
        return self._rows[name].view(getattr(self, name))[self._shown]

    def optional_buffer(self, name: str) -> Tensor | None:
        """The members' buffers (members, *shape), or None if the module has no such buffer."""
        buffer: Tensor | None = getattr(self, name, None)
        return None if buffer is None else buffer[self._shown]

    def gradient_rows(self, name: str) -> Tensor:
        """The gradients (members, *shape): a view of `.grad`, which is made if there is none."""
        parameter = getattr(self, name)
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return self._rows[name].view(parameter.grad)

    def take_gradient_rows(self, name: str, gradients: Tensor) -> None:
        """Make these the gradients (members, *shape); contiguous memory is taken over as it is
        where rows need no filling up.
        """
        if self._rows[name].width == self._rows[name].size:
            getattr(self, name).grad = gradients.flatten(1)
        else:
            self.gradient_rows(name).copy_(gradients)

    def optional_rows(self, name: str) -> Tensor | None:
        """The same, or None if the module has no such parameter (a layer without bias)."""
        return self.rows(name) if name in self._rows else None

    @torch.no_grad()
    def exchange(
        self, member: int, module: nn.Module, copy: Callable[[Tensor, Tensor], object]
    ) -> None:
        """Call `copy(row, value)` on each pair of a member's tensor here and in a module."""
        for name in self._rows:
            copy(self.rows(name)[member], getattr(module, name))
        for name, buffer in self.named_buffers(recurse=False):
            copy(buffer[member], getattr(module, name))

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order; gradients are dropped."""
        keep_rows(self, members)
        self.members = len(members)

    def split(self, x: Tensor) -> Tensor:
        """From activations (members * n, ...) to (members, n, ...): a view."""
        return x.view(self.members, -1, *x.shape[1:])


@contextmanager
def only(modules: Iterable[Stacked], member: int) -> Iterator[None]:
    """Within this block the modules have one member, this one."""
    changed = [(module, module.members) for module in modules]
    for module, _ in changed:
        module.members, module._shown = 1, slice(member, member + 1)
    try:
        yield
    finally:
        for module, members in changed:
            module.members, module._shown = members, slice(None)


@torch.no_grad()
def keep_rows(module: nn.Module, members: Sequence[int]) -> None:
    """Keep only these rows of a module's own parameters and buffers; gradients are dropped."""
    index = torch.tensor(members, dtype=torch.long)
    for parameter in module.parameters(recurse=False):
        parameter.data = parameter.data[index.to(parameter.device)]
        parameter.grad = None
    for name, buffer in module.named_buffers(recurse=False):
        setattr(module, name, buffer[index.to(buffer.device)])
