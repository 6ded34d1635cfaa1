"""Training twice: what a network learns first decides what the second training starts from.

Zhou, Lan, Liu & Yosinski, "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask",
NeurIPS 2019 (arXiv 1905.01067).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from initializers import validate
from initializers.job import Job, draw_buffer
from initializers.layers import Weight
from initializers.mask_actions import ONES_ACTIONS, ZEROS_ACTIONS, restart
from initializers.mask_criteria import MASK_CRITERIA
from initializers.mask_layers import kept_masks, masks_of_parameters
from lightning_modules.holding import hold
from lightning_modules.methods.base import Applied, TrainingMethod
from lightning_modules.methods.layers import trainable_weights
from lightning_modules.methods.sampling import Sampler
from lightning_modules.optimization import Optimization

SOURCES = ("initial", "trained")


@dataclass(frozen=True)
class Restart(TrainingMethod):
    """Train, mask, restart, and train again with the masked weights held still.

    The first half of the epochs (rounded down) trains the whole network. Then a mask is chosen in
    each layer, the network is set to what the surviving weights restart from, the optimiser forgets
    what it has gathered, and the rest of the epochs trains the survivors. Biases and norm layers
    restart from where the weights do, and are never masked. The first training is the same for all
    values of one seed. A learning-rate schedule spans both trainings, so leave it constant.

    With ``density=1`` nothing is masked, and only what the weights restart from counts.

    Args:
        criterion: Which weights survive; one of ``initializers.mask_criteria.MASK_CRITERIA``.
        density: Share of each layer's weights that survives, in (0, 1]; of n weights,
            ``int(n * (1 - density))`` are masked.
        last_density: The same for the output layer; None takes ``density``.
        ones: What surviving weights become; see ``initializers.mask_actions``.
        zeros: What the masked ones become, and stay.
        weights: Whether ``ones`` and ``zeros`` are applied to the ``initial`` weights, as in the
            paper, or to the ``trained`` ones, with biases and norm layers as they were trained.
        rescale: Whether surviving weights are multiplied by numel(M) / sum(M) of their layer.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is outside its range.
    """

    criterion: str = "large_final"
    density: float = 0.2
    last_density: float | None = None
    ones: str = "rewind"
    zeros: str = "zero"
    weights: str = "initial"
    rescale: bool = False

    least_epochs: ClassVar[int] = 2

    def __post_init__(self) -> None:
        validate.choice(self, "criterion", MASK_CRITERIA)
        validate.number(self, "density", "(0, 1]")
        validate.number(self, "last_density", "(0, 1]", optional=True)
        validate.choice(self, "ones", ONES_ACTIONS)
        validate.choice(self, "zeros", ZEROS_ACTIONS)
        validate.choice(self, "weights", SOURCES)
        validate.flag(self, "rescale")

    def apply(self, network: nn.Module, *, seed: int) -> AppliedRestart:
        """Note the network's initial state; see ``TrainingMethod.apply``."""
        owner = type(self).__name__
        sampler = Sampler(owner, seed)
        return AppliedRestart(network, sampler, self, trainable_weights(network, owner), seed)


class AppliedRestart(Applied):
    """A network that is trained twice.

    Its initial state and its masks are buffers, so that checkpoints hold them.

    Args:
        network: Initialised network.
        sampler: Random streams; unused.
        method: What happens between the trainings.
        weights: The weights that may be masked.
        seed: Seed of ties, random criteria and permutations.
    """

    def __init__(
        self,
        network: nn.Module,
        sampler: Sampler,
        method: Restart,
        weights: list[Weight],
        seed: int,
    ) -> None:
        super().__init__(network, sampler)
        self.method = method
        self._seed = seed
        self._turn: int | None = None
        self._optimizer: Optimizer | None = None
        self._handles: list[RemovableHandle] = []
        self._names = [weight.name for weight in weights]
        # By names, not tensors: a Trainer may bring the network to another device or precision.
        self._initial = list(network.state_dict())
        for name, value in network.state_dict().items():
            _attach(network, f"{name}_initial", value.clone())
        for name in self._names:
            mask = torch.ones_like(network.get_parameter(name), dtype=torch.bool)
            _attach(network, f"{name}_alive", mask)

    def begin(self, epochs: int | None) -> None:
        """Place the restart; see ``Applied.begin``."""
        if epochs is None or epochs < self.method.least_epochs:
            raise ValueError(
                "Restart: half of the epochs are for each training; give the Trainer max_epochs, "
                f"at least {self.method.least_epochs}."
            )
        self._turn = epochs // 2

    def at(self, epoch: int, batch: int) -> None:
        """Restart where the second training begins; see ``Applied.at``."""
        super().at(epoch, batch)
        if self._turn is None or epoch < self._turn:
            return
        if (epoch, batch) == (self._turn, 0):
            self._restart()
        elif not self._handles:  # a checkpoint of the second training was continued
            self._hold()

    def build_optimizer(self, optimization: Optimization) -> Optimizer:
        """Build the optimiser of all parameters, and remember it."""
        self._optimizer = super().build_optimizer(optimization)
        return self._optimizer

    def metrics(self) -> dict[str, float]:
        """Return the share of weights that are not masked: 1 in the first training."""
        masks = [self._alive(name) for name in self._names]
        return {"alive": sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)}

    def report(self) -> dict[str, Any]:
        """Return per layer how many weights there are, and how many are not masked."""
        masks = {name.removesuffix(".weight"): self._alive(name) for name in self._names}
        return {
            "layers": {
                name: {"weights": mask.numel(), "alive": int(mask.sum())}
                for name, mask in masks.items()
            }
        }

    def release(self) -> None:
        """Let go of masked weights and forget the initial state."""
        self._let_go()
        kept = [f"{name}_initial" for name in self._initial]
        for name in [*kept, *(f"{name}_alive" for name in self._names)]:
            path, _, leaf = name.rpartition(".")
            delattr(self.network.get_submodule(path), leaf)

    @torch.no_grad()
    def _restart(self) -> None:
        """Choose the masks, set the network, and begin the second training."""
        method = self.method
        layers = Job.of("Restart", self.network, self._seed, None, None).layers
        contexts = [layer.context for layer in layers]
        state = self.network.state_dict()
        now = {name: state[name].clone() for name in self._initial}
        trained = [_values(layer.weight) for layer in layers]
        for name in self._initial:
            state[name].copy_(state[f"{name}_initial"])
        initial = [_values(layer.weight) for layer in layers]
        last = method.density if method.last_density is None else method.last_density
        masks = kept_masks(
            method.criterion,
            initial,
            trained,
            [torch.ones_like(values, dtype=torch.bool) for values in initial],
            [1.0 - (last if context.is_last else method.density) for context in contexts],
            "layer",
            [context.stream("mask") for context in contexts],
        )
        if method.weights == "trained":
            for name in self._initial:
                state[name].copy_(now[name])
        source = trained if method.weights == "trained" else initial
        for layer, values, final, mask in zip(layers, source, trained, masks, strict=True):
            generator = layer.context.stream("ones")
            how = (method.ones, method.zeros, generator)
            layer.weight.write(restart(values, final, mask, *how, rescale=method.rescale))
        chosen = dict(zip((context.name for context in contexts), masks, strict=True))
        for name, mask in masks_of_parameters(self.network, chosen).items():
            self._alive(name).copy_(mask)
        if self._optimizer is not None:
            self._optimizer.state.clear()
        self._let_go()
        self._hold()

    def _alive(self, name: str) -> Tensor:
        return self.network.get_buffer(f"{name}_alive")

    def _hold(self) -> None:
        parts = [(self.network.get_parameter(name), ~self._alive(name)) for name in self._names]
        self._handles = hold(parts, [self._optimizer] if self._optimizer is not None else [])

    def _let_go(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _attach(network: nn.Module, name: str, values: Tensor) -> None:
    """Register a buffer under a dotted name."""
    path, _, leaf = name.rpartition(".")
    network.get_submodule(path).register_buffer(leaf, values)


def _values(weight: Weight) -> Tensor:
    """Return a copy of a weight as the functions on masks take it."""
    return draw_buffer(weight.shape, weight.segments[0]).copy_(weight.read())
