"""Stacks of multilayer perceptrons, with the gradient written out.

The arithmetic of a small perceptron takes a quarter of a millisecond per step; recording it for
automatic differentiation and asking for new memory at every operation costs as much again. Here
both passes are a fixed sequence of matrix products into memory that is reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_modules.stacking.layers import StackedLinear
from lightning_modules.stacking.networks import LayerStack, NotStackableError


class DenseStack(LayerStack):
    """A stack of networks that are a chain of Linear layers with ReLU or nothing between them.

    Args:
        network: a network of the architecture: `Sequential` of Flatten, Linear and ReLU.
        members: number of members.

    Raises:
        NotStackableError: the network is no such chain.
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        refuse_other_than_chain(network)
        super().__init__(network, members)
        chain = list(_links(self.body))
        linear = [link for link in chain if isinstance(link, StackedLinear)]
        self._layers = [
            (layer, any(isinstance(link, nn.ReLU) for link in chain[first + 1 : last]))
            for layer, first, last in _spans(chain, linear)
        ]
        self._plans: dict[tuple[int, ...], _Plan] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Logits (members * n, num_classes)."""
        if torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        values = x.view(self.members, -1, self._layers[0][0].rows("weight").shape[2])
        for layer, rectified in self._layers:
            weight, bias = layer.rows("weight").transpose(1, 2), layer.optional_rows("bias")
            values = self.product(values, weight, None if bias is None else bias.unsqueeze(1))
            values = values.relu_() if rectified else values
        return values.flatten(0, 1)

    def product(
        self,
        left: Tensor,
        right: Tensor,
        bias: Tensor | None = None,
        *,
        out: Tensor | None = None,
    ) -> Tensor:
        """Matrix products (members, n, k) @ (members, k, m), not recorded for differentiation.

        Args:
            left, right: the factors, views allowed.
            bias: what is added (members, 1, m).
            out: memory for the result; None asks for new.
        """
        if bias is None:
            return torch.bmm(left, right, out=out)
        return torch.baddbmm(bias, left, right, out=out)

    def differentiate_weight(self, link: Link, delta: Tensor, received: Tensor) -> None:
        """Set the gradient of a layer's weights.

        Args:
            link: the layer.
            delta: the gradient of its output (members, n, outputs).
            received: its input (members, n, inputs).
        """
        torch.bmm(delta.transpose(1, 2), received, out=link.weight_gradient)

    @torch.no_grad()
    def gradients(self, x: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Set every parameter's `.grad` to the gradient of its member's mean cross-entropy.

        Args:
            x: inputs (members, n, *input_shape); an expanded view if all members see the same.
            y: labels (members, n), int64, likewise.
            smoothing: label smoothing.

        Returns:
            Logits (members, n, num_classes).
        """
        n = y.shape[1]
        plan = self._plan(n)
        inputs = x.flatten(2)
        values = inputs
        for link in plan.links:
            self.product(values, link.transposed, link.bias, out=link.output)
            values = link.output.relu_() if link.rectified else link.output
        # The derivative of the cross-entropy: the network's distribution less the target's.
        # (For few classes, softmax by its parts is faster than as one call, whatever the stack.)
        delta = (values - values.amax(dim=2, keepdim=True)).exp_()
        delta.div_(delta.sum(dim=2, keepdim=True))
        targets = plan.targets(smoothing).index_select(0, y.reshape(-1))
        delta.sub_(targets.view_as(delta)).mul_(1.0 / n)
        lower = [None, *plan.links[:-1]]
        for below, link in zip(reversed(lower), reversed(plan.links), strict=True):
            received = inputs if below is None else below.output
            self.differentiate_weight(link, delta, received)
            if link.bias_gradient is not None:
                torch.sum(delta, dim=1, out=link.bias_gradient)
            if below is not None:
                delta = self.product(delta, link.weight, out=below.delta)
                if below.rectified:
                    _rectified_gradient(delta, received, 0.0, grad_input=delta)
        return values.clone()

    def _plan(self, n: int) -> _Plan:
        """Memory and views for batches of n examples; made anew when the parameters have moved."""
        key = (n, self.members, *(layer.rows("weight").data_ptr() for layer, _ in self._layers))
        plan = self._plans.get(key)
        if plan is None:
            # One for the usual batch and one for a smaller last one.
            kept = [(k, p) for k, p in self._plans.items() if k[1:] == key[1:]][:1]
            plan = _Plan(self._layers, self.members, n)
            self._plans = {**dict(kept), key: plan}
        for parameter, gradient in zip(plan.parameters, plan.gradients, strict=True):
            if parameter.grad is not gradient:
                parameter.grad = gradient
        return plan


_rectified_gradient = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True, eq=False)
class Link:
    """Views and memory of one layer; shapes begin with (members, ...)."""

    layer: StackedLinear
    rectified: bool
    weight: Tensor
    transposed: Tensor
    bias: Tensor | None
    weight_gradient: Tensor
    bias_gradient: Tensor | None
    output: Tensor
    delta: Tensor


class _Plan:
    """Everything that a step of a stack needs and that does not change from step to step."""

    def __init__(self, layers: Sequence[tuple[StackedLinear, bool]], members: int, n: int) -> None:
        self.links: list[Link] = []
        self.parameters: list[nn.Parameter] = []
        for layer, rectified in layers:
            weight, bias = layer.rows("weight").detach(), layer.optional_rows("bias")
            shape = (members, n, weight.shape[1])
            self.links.append(
                Link(
                    layer,
                    rectified,
                    weight,
                    weight.transpose(1, 2),
                    None if bias is None else bias.detach().unsqueeze(1),
                    layer.gradient_rows("weight"),
                    None if bias is None else layer.gradient_rows("bias"),
                    weight.new_empty(shape),
                    weight.new_empty(shape),
                )
            )
            self.parameters += layer.parameters()
        self.gradients = [parameter.grad for parameter in self.parameters]
        self._like, self._classes = weight, weight.shape[1]
        self._targets: dict[float, Tensor] = {}

    def targets(self, smoothing: float) -> Tensor:
        """The target distribution of every class (classes, classes)."""
        if smoothing not in self._targets:
            certain = torch.eye(self._classes, dtype=self._like.dtype, device=self._like.device)
            self._targets[smoothing] = certain * (1.0 - smoothing) + smoothing / self._classes
        return self._targets[smoothing]


def refuse_other_than_chain(network: nn.Module) -> None:
    """Raise NotStackableError, naming the module, if a network is no chain for `DenseStack`."""
    links = list(_links(network))
    for link in links:
        if type(link) not in (nn.Linear, nn.ReLU, nn.Flatten, nn.Identity):
            raise NotStackableError(f"a {type(link).__name__} is no Linear layer, ReLU or Flatten")
        if isinstance(link, nn.Flatten) and (link.start_dim, link.end_dim) != (1, -1):
            raise NotStackableError("a Flatten keeps more than the first dimension")
    layers = [link for link in links if isinstance(link, nn.Linear)]
    if len(set(layers)) < len(layers):
        raise NotStackableError("a Linear layer is used twice")
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise NotStackableError("some parameters are frozen")
    kinds = [type(link) for link in links if type(link) is not nn.Identity]
    inner = kinds[kinds.index(nn.Linear) :] if nn.Linear in kinds else []
    if (
        not inner
        or inner[-1] is not nn.Linear
        or nn.Flatten in inner
        or nn.ReLU in kinds[: -len(inner)]
    ):
        raise NotStackableError("it is no chain from Flatten over Linear layers to logits")


def _links(network: nn.Module) -> Iterator[nn.Module]:
    """The modules of nested `Sequential`s in the order in which they are called."""
    if isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward:
        for child in network:
            yield from _links(child)
    else:
        yield network


def _spans(
    chain: list[nn.Module], linear: list[StackedLinear]
) -> Iterator[tuple[StackedLinear, int, int]]:
    """Each Linear layer with the range of places up to the next one."""
    places = [place for place, link in enumerate(chain) if isinstance(link, StackedLinear)]
    yield from zip(linear, places, [*places[1:], len(chain)], strict=True)
