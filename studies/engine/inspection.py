"""A look at every part of a study before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules import TensorDataModule
from initializers import get_initializer
from lightning_modules import Optimization, build_network, get_method
from lightning_modules.first_batch import first_batch
from studies.engine.data import check_batches, describe, load_data
from studies.engine.run import Environment, Recipe
from studies.engine.trainer import make_trainer


def inspect(
    recipe: Recipe,
    environment: Environment,
    arms: Sequence[Mapping[str, Any]],
    methods: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Load the data and build every part once, so that a mistake shows before any training.

    Args:
        recipe: what will be trained.
        environment: where.
        arms: the initialisers, as plain data; each is applied to a fresh network.
        methods: the training methods, as plain data; each is applied to an initialised network.

    With several devices, every process looks at its own files.

    Returns:
        "data": description of the data set; "max_fan_in": the network's largest fan_in;
        "parameters": its number of trainable parameters; "accelerator": the device kind;
        "devices": the number that trains a run together.

    Raises:
        ValueError, DataError: what is wrong, in one sentence.
    """
    Optimization(**recipe.optimization())
    initializers = [get_initializer(dict(arm)) for arm in arms]
    data = load_data(recipe, environment)
    shape, classes = data.input_shape, data.num_classes
    check_batches(recipe.data, data)
    network = build_network(recipe.network, input_shape=shape, num_classes=classes)
    needy = any("data" in initializer.requirements() for initializer in initializers)
    batch = first_batch(data.train_dataloader()) if needy else None
    for initializer in initializers:
        initializer(network, seed=0, batch=batch)
    for each in methods:
        method = get_method(dict(each))
        method.apply(copy.deepcopy(network), seed=0)
        if recipe.epochs < method.least_epochs:
            raise ValueError(
                f"The training method {method!r} needs at least {method.least_epochs} epochs, and "
                f"the recipe has {recipe.epochs}; raise --epochs."
            )
    fan_ins = [layer.fan_in for layer in get_initializer("he_normal")(network, seed=0).layers]
    rest = describe(data)["n_train"] % recipe.batch_size
    if rest == 1 and any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        raise ValueError(
            f"The last batch of an epoch would hold one example, which batch normalisation cannot "
            f"train on: choose another batch size than {recipe.batch_size}."
        )
    try:
        trainer = make_trainer(recipe, environment)
    except (MisconfigurationException, ValueError) as error:
        raise ValueError(f"--accelerator {environment.accelerator}: {error}") from error
    description = describe(data)
    if environment.world_size > 1:
        _check_shared(recipe, data, network, trainer)
        _check_equal(recipe.data, description["fingerprint"])
    return {
        "data": description,
        "max_fan_in": int(max(fan_ins)),
        "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
        "devices": environment.world_size,
    }


def _check_shared(recipe: Recipe, data: Any, network: nn.Module, trainer: pl.Trainer) -> None:
    """See that several devices would give the results of one.

    Raises:
        ValueError: they would not.
    """
    if not isinstance(data, TensorDataModule):
        raise ValueError(
            f"The data set {recipe.data!r} cannot be shared among several devices: only a "
            "TensorDataModule can; use --devices 1."
        )
    normalized = any(isinstance(layer, _BatchNorm) for layer in network.modules())
    if normalized and isinstance(trainer.accelerator, CPUAccelerator):
        raise ValueError(
            f"The network {recipe.network!r} has batch normalisation, which CPUs cannot "
            "synchronise: several of them would train another network than one; use --devices 1, "
            "or GPUs."
        )


def _check_equal(name: str, fingerprint: str) -> None:
    """See that all processes have loaded the same data.

    Raises:
        ValueError: in every process, if they have not.
    """
    fingerprints: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(fingerprints, fingerprint)
    for rank, other in enumerate(fingerprints):
        if other != fingerprints[0]:
            raise ValueError(
                f"Process {rank} has loaded another data set {name!r} than process 0 (fingerprint "
                f"{other}, not {fingerprints[0]}): put the same files on every host."
            )
