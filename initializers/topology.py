"""Which layer feeds which, and where the residual blocks are: read off the network's own code.

The forward pass is traced symbolically (``torch.fx``): no numbers flow, nothing is changed. What
follows from the graph, in these rules (ours):

* An operation with one tensor as input (normalisation, pooling, reshaping, an activation) passes a
  signal on. A layer with weights starts a new one, and so does an operation that joins several.
* A *residual block* is a sum of two tensors with a common origin. Of its two paths the one with
  more layers is the branch, the other one the shortcut.
* A *stage* begins at the first block and at every block whose shortcut is not the identity.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from initializers.layers import Weight

_SUMS = (operator.add, operator.iadd, torch.add)
_SIZES = ("size", "dim", "numel")
RECTIFIERS = frozenset(
    ("relu", "relu6", "leakyrelu", "prelu", "rrelu", "elu", "celu", "gelu", "silu", "hardswish",
     "mish")
)  # fmt: skip
_OTHER_ACTIVATIONS = frozenset(
    ("tanh", "sigmoid", "selu", "softplus", "softsign", "hardtanh", "hardsigmoid", "logsigmoid",
     "softmax", "logsoftmax")
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One residual block.

    Attributes:
        branch: Names of the layers of the branch, in order of execution; at least one.
        shortcut: Names of the layers of the shortcut, usually none.
        stage: Number of its stage, from 1.
        number: Its number within the stage, from 1.
    """

    branch: tuple[str, ...]
    shortcut: tuple[str, ...]
    stage: int
    number: int


@dataclass(frozen=True)
class Topology:
    """How the layers with weights are connected.

    Attributes:
        order: Names of the layers in order of execution.
        source: For each layer the one whose signal it takes, ``""`` for the network's input, and
            None if its input joins several signals or the layer is used more than once.
        activation: For each layer the activation that takes its output before anything else uses
            it (``"relu"``, ``"gelu"`` ...), or ``""``.
        blocks: The residual blocks in order of execution.
    """

    order: tuple[str, ...]
    source: dict[str, str | None]
    activation: dict[str, str]
    blocks: tuple[Block, ...]

    def blocks_in(self, stage: int) -> int:
        """Return the number of blocks of a stage."""
        return sum(block.stage == stage for block in self.blocks)


def layer_name(weight_name: str) -> str:
    """Return the layer's name: ``"stage1.0.conv1"`` for ``"stage1.0.conv1.weight"``."""
    return weight_name.rpartition(".")[0]


def trace(owner: str, module: nn.Module, weights: Sequence[Weight], instead: str) -> Topology:
    """Work out the topology of a module.

    Args:
        owner: Who asks, for the message.
        module: The network.
        weights: Its weights, see ``plan_module``.
        instead: What the user can do where the code cannot be traced, for the message.

    Raises:
        ValueError: If the forward pass cannot be traced, for instance because it branches on
            values, or a sum cannot be told apart into branch and shortcut.
    """
    root, graph = trace_graph(owner, module, weights, instead)
    names = dict.fromkeys(layer_name(weight.name) for weight in weights)
    return _Reader(owner, root, graph, tuple(names)).read(instead)


def trace_graph(
    owner: str, module: nn.Module, weights: Sequence[Weight], instead: str
) -> tuple[nn.Module, fx.Graph]:
    """Trace the forward pass, with layers that have weights as units.

    Arguments and errors as ``trace``.

    Returns:
        A root and the graph; ``root.get_submodule(node.target)`` is the module of a node, and its
        name in ``module`` is the target without the part before the first dot.
    """
    root = nn.Sequential(module)  # so that a single layer is a network as well
    try:
        graph = _Tracer({id(weight.module) for weight in weights}).trace(root)
    except Exception as error:  # whatever a forward pass raises when no numbers flow
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise ValueError(
            f"{owner}: the connections of {type(module).__name__} cannot be worked out, because "
            f"its forward pass cannot be traced ({type(error).__name__}: {reason}); {instead}."
        ) from error
    return root, graph


class _Tracer(fx.Tracer):
    """Takes layers with weights as units, and what torch itself defines without them."""

    def __init__(self, leaves: set[int]) -> None:
        super().__init__()
        self._leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if id(m) in self._leaves:
            return True
        inside = any(id(child) in self._leaves for child in m.modules())
        return not inside and super().is_leaf_module(m, module_qualified_name)


class _Reader:
    """Reads a topology off a traced graph."""

    def __init__(
        self, owner: str, root: nn.Module, graph: fx.Graph, known: tuple[str, ...]
    ) -> None:
        self.owner, self.root = owner, root
        self.nodes = [node for node in graph.nodes if node.op != "output"]
        self.layers: dict[fx.Node, tuple[str, ...]] = {}
        sizes: set[fx.Node] = set()
        for node in self.nodes:
            inputs = node.all_input_nodes
            if asks_for_a_size(node) or (inputs and sizes.issuperset(inputs)):
                sizes.add(node)
            elif node.op == "call_module":
                own = str(node.target).partition(".")[2]  # without the "0" of the Sequential
                inside = tuple(n for n in known if not own or f"{n}.".startswith(f"{own}."))
                if inside:
                    self.layers[node] = inside
        # a constant of the network (get_attr) is no signal
        self.inputs = {
            node: [n for n in node.all_input_nodes if n not in sizes and n.op != "get_attr"]
            for node in self.nodes
        }
        self.users = {
            node: [user for user in node.users if user not in sizes] for node in self.nodes
        }

    def read(self, instead: str) -> Topology:
        calls: dict[str, list[fx.Node]] = {}
        for node, names in self.layers.items():
            for name in names:
                calls.setdefault(name, []).append(node)
        source, activation = dict[str, str | None](), dict[str, str]()
        for name, nodes in calls.items():
            activations = {self._activation(node) for node in nodes}
            activation[name] = activations.pop() if len(activations) == 1 else ""
            source[name] = self._source(nodes[0]) if len(nodes) == 1 else None
        return Topology(tuple(calls), source, activation, self._blocks(instead))

    def _source(self, node: fx.Node) -> str | None:
        while True:
            inputs = self.inputs[node]
            if len(inputs) != 1:
                return None
            (node,) = inputs
            if node in self.layers:
                return self.layers[node][-1]
            if node.op == "placeholder":
                return ""

    def _activation(self, node: fx.Node) -> str:
        found: set[str] = set()
        waiting = list(self.users[node])
        while waiting:
            user = waiting.pop()
            kind = self._kind(user)
            if kind in RECTIFIERS or kind in _OTHER_ACTIVATIONS:
                found.add(kind)
            elif user in self.layers or len(self.inputs.get(user, ())) != 1:
                found.add("")
            else:
                waiting += self.users[user]
        return found.pop() if len(found) == 1 else ""

    def _kind(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return type(self.root.get_submodule(str(node.target))).__name__.lower()
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return str(name).replace("_", "")

    def _blocks(self, instead: str) -> tuple[Block, ...]:
        position = {node: number for number, node in enumerate(self.nodes)}
        origins: dict[fx.Node, int] = {}  # bit set: the node itself and all it comes from
        for node in self.nodes:
            bits = 1 << position[node]
            for source in self.inputs[node]:
                bits |= origins[source]
            origins[node] = bits
        blocks: list[Block] = []
        for node in self.nodes:
            if not _is_sum(node) or len(self.inputs[node]) != 2:
                continue
            ends = self.inputs[node]
            common = origins[ends[0]] & origins[ends[1]]
            if not common:
                continue
            fork = self.nodes[common.bit_length() - 1]
            paths = [self._path(fork, end, origins, position) for end in ends]
            layers = [[name for n in path for name in self.layers.get(n, ())] for path in paths]
            if not layers[0] and not layers[1]:
                continue  # a sum without weights
            branch = 0 if len(layers[0]) > len(layers[1]) else 1
            if len(layers[0]) == len(layers[1]):
                raise ValueError(
                    f"{self.owner}: the sum of {layers[0][-1]} and {layers[1][-1]} has two paths "
                    f"with as many layers, so that none is the shortcut; {instead}."
                )
            identity = all(self._kind(n) == "identity" for n in paths[1 - branch])
            stage = blocks[-1].stage if blocks else 0
            starts = not blocks or not identity
            number = 1 if starts else blocks[-1].number + 1
            blocks.append(
                Block(tuple(layers[branch]), tuple(layers[1 - branch]), stage + int(starts), number)
            )
        return tuple(blocks)

    def _path(
        self, fork: fx.Node, end: fx.Node, origins: dict[fx.Node, int], position: dict[fx.Node, int]
    ) -> list[fx.Node]:
        """Return the nodes between ``fork`` (not included) and ``end`` (included)."""
        after = 1 << position[fork]
        return [
            node
            for node in self.nodes[position[fork] + 1 : position[end] + 1]
            if origins[end] >> position[node] & 1 and origins[node] & after
        ]


def _is_sum(node: fx.Node) -> bool:
    if node.op == "call_function":
        return node.target in _SUMS
    return node.op == "call_method" and node.target in ("add", "add_")


def asks_for_a_size(node: fx.Node) -> bool:
    """Return whether a node yields a size or an attribute instead of a signal."""
    if node.op == "call_method":
        return node.target in _SIZES
    return node.op == "call_function" and node.target is getattr
