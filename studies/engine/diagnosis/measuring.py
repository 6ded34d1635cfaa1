"""Measure a network under several initialisers, and ask the theory about the same networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from initializers import Initializer, get_initializer
from initializers.theory import Prediction, predict
from lightning_modules import build_network
from lightning_modules.diagnostics import Diagnosis, diagnose, summarise
from studies.engine.data import load_data
from studies.engine.diagnosis.batches import first_examples
from studies.engine.diagnosis.options import SYNTHETIC, DiagnoseOptions
from studies.engine.run import Environment, Recipe


@dataclasses.dataclass(frozen=True)
class Batch:
    """Examples to measure on: inputs (n, *shape), labels (n,) and the number of classes."""

    inputs: Tensor
    labels: Tensor
    num_classes: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """One initialiser on one network.

    Attributes:
        label: the initialiser as the user wrote it.
        initializer: the same as a value.
        diagnoses: one per seed, from 0.
        predictions: what the theory says, empty where it says nothing.
        reason: why the theory says nothing; empty where it does.
    """

    label: str
    initializer: Initializer
    diagnoses: tuple[Diagnosis, ...]
    predictions: tuple[Prediction, ...]
    reason: str

    @property
    def everything(self) -> Diagnosis:
        """All seeds together."""
        return sum(self.diagnoses[1:], self.diagnoses[0])

    def summary(self) -> dict[str, float]:
        """`summarise`, averaged over the seeds in which a number was measured."""
        each = [summarise(diagnosis) for diagnosis in self.diagnoses]
        names = dict.fromkeys(name for one in each for name in one)
        return {
            name: sum(values) / len(values)
            for name in names
            if (values := [one[name] for one in each if name in one])
        }


def batch_of(options: DiagnoseOptions) -> Batch:
    """The batch that the options ask for.

    Raises:
        ValueError, DataError: data that are unknown or not there.
    """
    if options.data != SYNTHETIC:
        recipe = Recipe(options.data, options.network, 1, options.batch_size)
        data = load_data(recipe, Environment(options.data_root))
        return Batch(*first_examples(data, options.batch_size), data.num_classes)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((options.batch_size, *options.shape()), generator=generator)
    y = torch.randint(options.num_classes, (options.batch_size,), generator=generator)
    return Batch(x, y, options.num_classes)


def measure_all(
    network: str, specs: Sequence[str], batch: Batch, seeds: int
) -> tuple[list[Measured], dict[str, str]]:
    """Measure a network under each initialiser and seed.

    Returns:
        What was measured, and by label the reasons of initialisers that cannot handle the network.

    Raises:
        ValueError, TypeError: a network or initialiser that cannot be built, or not one initialiser
            that can handle the network.
    """
    initializers = [get_initializer(spec) for spec in specs]
    shape = tuple(batch.inputs.shape[1:])
    found: list[Measured] = []
    refused: dict[str, str] = {}
    for spec, initializer in zip(specs, initializers, strict=True):
        net = build_network(network, input_shape=shape, num_classes=batch.num_classes)
        diagnoses = []
        for seed in range(seeds):
            try:
                initializer(net, seed=seed, batch=(batch.inputs, batch.labels))
            except ValueError as error:
                refused[spec] = str(error)
                break
            diagnoses.append(diagnose(net, batch.inputs, batch.labels, seed=seed))
        else:
            predictions, reason = _predictions(net, initializer, batch.inputs)
            found.append(Measured(spec, initializer, tuple(diagnoses), predictions, reason))
    if not found:
        raise ValueError(next(iter(refused.values())))
    return found, refused


def _predictions(
    network: nn.Module, initializer: Initializer, inputs: Tensor
) -> tuple[tuple[Prediction, ...], str]:
    """What the theory says about a network, as far as it is a chain; else why it says nothing."""
    second = float(inputs.double().square().mean())
    try:
        return tuple(predict(network, initializer, second, partial=True)), ""
    except ValueError as error:
        return (), str(error)
