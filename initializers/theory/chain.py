"""Reading a network as a chain: Linear layers and convolutions with activations between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from initializers.job import Job, Layer
from initializers.theory.activations import (
    ACTIVATION_MODULES,
    Activation,
    activation,
    known,
    of_module,
)
from initializers.topology import asks_for_a_size, layer_name, trace_graph

OWNER = "predict"
_KINDS = ("linear", "conv")
_PASSING_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten, _DropoutNd)  # dropout as in evaluation
_PASSING_FUNCTIONS = frozenset(
    ("flatten", "reshape", "view", "unflatten", "contiguous", "clone", "dropout")
)
_FUNCTIONS: dict[str, Callable[..., nn.Module]] = {
    kind.__name__.lower(): kind for kind in ACTIVATION_MODULES
}


class ChainEndError(ValueError):
    """Why a network, or the rest of it, is no chain that the maps describe."""


@dataclass(frozen=True)
class Link:
    """One layer of a chain.

    Attributes:
        name: Qualified name of the layer.
        layer: Its weight with context.
        activation: What its output passes through before the next layer; None if nothing does.
        activation_name: Qualified name of the activation's module; empty for a function.
    """

    name: str
    layer: Layer
    activation: Activation | None = None
    activation_name: str = ""


@dataclass(frozen=True)
class Chain:
    """The layers of a network in order, as far as they form a chain.

    Attributes:
        links: The layers.
        end: Why the chain ends before the network does, in words; empty if it does not.
    """

    links: tuple[Link, ...]
    end: str = ""


def read_chain(job: Job) -> Chain:
    """Read the layers of a job's network off its forward pass.

    Between layers there may be one activation, and what only reshapes (and dropout, which is off in
    evaluation); pooling and normalisation have no map here and end the chain, as do shortcuts.

    Raises:
        ValueError: If the forward pass cannot be traced.
    """
    weights = [layer.weight for layer in job.layers]
    root, graph = trace_graph(OWNER, job.module, weights, "measure it instead")
    reader = _ChainReader(job, root)
    sizes: set[fx.Node] = set()
    last: fx.Node | None = None
    try:
        for node in graph.nodes:
            inputs = node.all_input_nodes
            if asks_for_a_size(node) or (inputs and sizes.issuperset(inputs)):
                sizes.add(node)
                continue
            _check_single([each for each in inputs if each not in sizes], last, node)
            if node.op == "output":
                if node.args[0] is not last:
                    raise ChainEndError("the network returns more than one tensor")
            elif node.op != "placeholder":
                reader.take(node)
            last = node
    except ChainEndError as reason:
        return Chain(tuple(reader.links), str(reason))
    return Chain(tuple(reader.links))


def _check_single(signals: list[fx.Node], last: fx.Node | None, node: fx.Node) -> None:
    """Raise where a node does not take the signal of the one before it, and no other."""
    if signals == ([] if last is None else [last]):
        return
    if node.op == "get_attr":
        raise ChainEndError(f"{str(node.target).partition('.')[2]} enters beside the signal")
    raise ChainEndError(f"{_name(node)} takes several signals or an earlier one (a shortcut)")


class _ChainReader:
    def __init__(self, job: Job, root: nn.Module) -> None:
        self.root = root
        self.links: list[Link] = []
        self._layers = {id(layer.weight.module): layer for layer in job.layers}

    def take(self, node: fx.Node) -> None:
        """Add what one node does to the chain."""
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            layer = self._layers.get(id(module))
            if layer is not None:
                self._add(layer)
            elif isinstance(module, _PASSING_MODULES):
                pass
            elif known(module):
                self._activate(of_module(module), node, _name(node))
            else:
                raise ChainEndError(
                    f"{_name(node)} ({type(module).__name__}) has no mean-field map here"
                )
            return
        function = _function(node)
        if function not in _PASSING_FUNCTIONS:
            self._activate(_of_function(node, function), node, "")

    def _add(self, layer: Layer) -> None:
        name = layer_name(layer.weight.name)
        if layer.weight.kind not in _KINDS:
            raise ChainEndError(f"{name} is of kind {layer.weight.kind}, not Linear or convolution")
        if any(link.layer is layer for link in self.links) or layer.weight.aliases:
            raise ChainEndError(f"{name} shares its weights or is used more than once")
        self.links.append(Link(name, layer))

    def _activate(self, phi: Activation, node: fx.Node, name: str) -> None:
        if not self.links or self.links[-1].activation is not None:
            raise ChainEndError(f"{_name(node)} does not follow a layer")
        self.links[-1] = replace(self.links[-1], activation=phi, activation_name=name)


def _function(node: fx.Node) -> str:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return str(name).replace("_", "")


def _name(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target).partition(".")[2]
    return "the output" if node.op == "output" else f"{_function(node)}()"


def _of_function(node: fx.Node, name: str) -> Activation:
    """Return the activation of a function or method call, whose options are those of a module."""
    if name == "erf":
        return activation("erf")
    if name not in _FUNCTIONS:
        raise ChainEndError(f"{name}() has no mean-field map here")
    options: dict[str, Any] = {key: value for key, value in node.kwargs.items() if key != "input"}
    try:
        module = _FUNCTIONS[name](*node.args[1:], **options)
        module(torch.zeros(1))
    except TypeError as error:
        raise ChainEndError(f"{name}() has options that are not known ({error})") from error
    return of_module(module)
