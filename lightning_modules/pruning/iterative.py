"""Iterative pruning: train, mask, rewind, train again.

    plan = PruningPlan.of_paper("fc", rounds=10)
    rounds = prune_iteratively(
        plan,
        "glorot_normal",
        model=lambda start: Classifier("lenet_300_100", start, lr=1.2e-3),
        trainer=lambda callbacks: Trainer(max_epochs=3, callbacks=callbacks),
        data=MNIST(),
    )
    for each in rounds:
        print(each.number, each.density, each.model.history[-1])

After Zhou, Lan, Liu and Yosinski 2019, "Deconstructing Lottery Tickets".
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from initializers import FromState, Initializer, get_initializer
from initializers.job import Job, draw_buffer
from initializers.layers import Weight, plan_module
from initializers.mask_actions import restart
from initializers.mask_layers import kept_masks, masks_of_parameters
from initializers.seeding import check_seed
from lightning_modules.classifier import Classifier
from lightning_modules.pruning.frozen import FrozenWeights
from lightning_modules.pruning.plan import PruningPlan


@dataclass(frozen=True, eq=False)
class PruningRound:
    """One training of an iteratively pruned network.

    Attributes:
        number: Prunings so far; 0 is the training of the whole network.
        masks: Bool tensor of every weight, under its name and output units first; True for living
            weights.
        start: The weights that the training started from.
        model: The trained model.
        trainer: The Trainer that trained it, for instance to test it.
    """

    number: int
    masks: dict[str, Tensor]
    start: FromState
    model: Classifier
    trainer: pl.Trainer

    @property
    def density(self) -> float:
        """Share of the network's weights that live."""
        total = sum(mask.numel() for mask in self.masks.values())
        return sum(int(mask.sum()) for mask in self.masks.values()) / total


def prune_iteratively(
    plan: PruningPlan,
    initializer: str | Initializer,
    *,
    model: Callable[[Initializer], Classifier],
    trainer: Callable[[list[pl.Callback]], pl.Trainer],
    data: pl.LightningDataModule,
    seed: int = 0,
) -> Iterator[PruningRound]:
    """Yield ``plan.rounds + 1`` trainings: of the whole network, then of what pruning left.

    Every training starts from the initial weights of the first one, rewritten as the plan says;
    biases and norm layers are rewound. Pruned weights keep their values throughout, and never come
    back. Training goes on only while the rounds are asked for.

    Args:
        plan: Rates, criterion and actions.
        initializer: Sets the initial weights; object, name or spec.
        model: Builds an untrained model whose weights the given initialiser sets.
        trainer: Builds a Trainer with the given callbacks among its own.
        data: The DataModule, used in every round.
        seed: Seed of ties, random criteria and permutations, an integer >= 0.

    Raises:
        TypeError: If the initialiser or the seed has the wrong type.
        ValueError: If the initialiser is unknown, the seed is negative, the Trainer lacks the
            callbacks, or a training ended with weights that are not finite.
    """
    first: Initializer = get_initializer(initializer)
    check_seed("prune_iteratively", seed)
    masks: dict[str, Tensor] = {}
    initial: FromState | None = None
    frozen = FrozenWeights({})
    for number in range(plan.rounds + 1):
        current, begin = model(first), _Start()
        run = trainer([frozen, begin])
        callbacks: list[pl.Callback] = run.callbacks  # type: ignore[attr-defined]
        if begin not in callbacks or frozen not in callbacks:
            raise ValueError("prune_iteratively: trainer(callbacks) must pass its callbacks on.")
        run.fit(current, data)
        network, start = _network(current), begin.state()
        if initial is None:
            initial = start
            masks = {
                weight.name: torch.ones(weight.shape, dtype=torch.bool)
                for weight in plan_module(network).weights
            }
        yield PruningRound(number, masks, start, current, run)
        if number < plan.rounds:
            masks, first = _prune(plan, number, network, initial, start, masks, seed)
            frozen = FrozenWeights(masks_of_parameters(network, masks))


def _prune(
    plan: PruningPlan,
    number: int,
    network: nn.Module,
    initial: FromState,
    start: FromState,
    masks: Mapping[str, Tensor],
    seed: int,
) -> tuple[dict[str, Tensor], FromState]:
    """Return the masks after one more pruning, and the state to train from."""
    rewound = copy.deepcopy(network)
    rewound.load_state_dict(dict(initial.state()))
    job = Job.of("prune_iteratively", rewound, seed, None, None)
    contexts = [layer.context for layer in job.layers]
    alive = [masks[context.name] for context in contexts]
    before = [_plain(layer.weight) for layer in job.layers]
    trained = [_plain(weight) for weight in plan_module(network).weights]
    kept = kept_masks(
        plan.criterion,
        before,
        trained,
        alive,
        [plan.rate_of(context) for context in contexts],
        plan.scope,
        [context.stream(f"mask/{number}") for context in contexts],
    )
    for layer, first, last, mask, living in zip(
        job.layers, before, trained, kept, alive, strict=True
    ):
        generator = layer.context.stream(f"ones/{number}")
        values = restart(first, last, mask, plan.ones, plan.zeros, generator, rescale=plan.rescale)
        # a weight that was dead already keeps the value that it was frozen at
        values = torch.where(living, values, start.weight(layer.context).to(values))
        with torch.no_grad():
            layer.weight.write(values)
    names = [context.name for context in contexts]
    return dict(zip(names, kept, strict=True)), FromState(rewound.state_dict())


class _Start(pl.Callback):
    """Keeps the state from which a network is trained."""

    _state: FromState | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network = _network(pl_module)
        self._state = FromState(network.state_dict())
        # what could not be rewound is refused before the training, not after it
        self._state.check(Job.of("prune_iteratively", network, 0, None, None))

    def state(self) -> FromState:
        if self._state is None:
            raise ValueError("prune_iteratively: the Trainer trained nothing; give it max_epochs.")
        return self._state


def _network(model: pl.LightningModule) -> nn.Module:
    network = getattr(model, "network", None)
    if not isinstance(network, nn.Module):
        raise ValueError(f"prune_iteratively: {type(model).__name__} has no attribute 'network'.")
    return network


def _plain(weight: Weight) -> Tensor:
    """Return a copy of a weight as the functions on masks take it."""
    return draw_buffer(weight.shape, weight.segments[0]).copy_(weight.read())
