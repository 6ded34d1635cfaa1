"""A look at every part of a study before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.nn.modules.batchnorm import _BatchNorm

from initializers import get_initializer
from lightning_modules import Optimization, build_network, get_method
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

    Returns:
        "data": description of the data set; "max_fan_in": the network's largest fan_in;
        "parameters": its number of trainable parameters; "accelerator": the device kind.

    Raises:
        ValueError, DataError: what is wrong, in one sentence.
    """
    Optimization(**recipe.optimization())
    initializers = [get_initializer(dict(arm)) for arm in arms]
    data = load_data(recipe, environment)
    shape, classes = data.input_shape, data.num_classes
    check_batches(recipe.data, data)
    network = build_network(recipe.network, input_shape=shape, num_classes=classes)
    for initializer in initializers:
        initializer(network, seed=0)
    for method in methods:
        get_method(dict(method)).apply(copy.deepcopy(network), seed=0)
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
    return {
        "data": describe(data),
        "max_fan_in": int(max(fan_ins)),
        "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
    }
