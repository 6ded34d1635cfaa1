"""A recipe's data: loaded once per process, handed out per seed."""

from __future__ import annotations

import functools
from inspect import signature
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from datamodules import TensorDataModule, get_datamodule
from studies.engine.run import Environment, Recipe


@functools.lru_cache(maxsize=2)
def _loaded(data: str, root: str | None, split_seed: int, train_limit: int | None) -> Any:
    return get_datamodule(data, root=root, split_seed=split_seed, train_limit=train_limit)


def load_data(recipe: Recipe, environment: Environment, seed: int = 0) -> Any:
    """The recipe's DataModule, ready to use; the tensors of ours are loaded once per process.

    A user's own LightningDataModule is built anew for every run; `seed` and `batch_size` reach it
    if its constructor takes them.

    Raises:
        ValueError, DataError: it is unknown, incomplete, or its files are not there.
    """
    module = _loaded(recipe.data, environment.data_root, recipe.split_seed, recipe.train_limit)
    augment = None if recipe.augment == "none" else recipe.augment
    if isinstance(module, TensorDataModule):
        module.describe()  # load before it is copied: copies share the tensors
        return module.with_options(
            batch_size=recipe.batch_size, seed=seed, augment=augment, uneven=True
        )
    if augment is not None:
        raise ValueError(f"augment={augment!r} is not offered by the data set {recipe.data!r}.")
    takes = signature(type(module)).parameters
    module = get_datamodule(
        recipe.data,
        seed=seed,
        split_seed=recipe.split_seed,
        root=environment.data_root,
        train_limit=recipe.train_limit,
        batch_size=recipe.batch_size if "batch_size" in takes else None,
    )
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    return module


def describe(data: Any) -> dict[str, Any]:
    """Name, sizes and fingerprint of a DataModule; of a user's own, what its loaders tell."""
    if isinstance(data, TensorDataModule):
        return data.describe()
    loaders = {"n_train": data.train_dataloader(), "n_val": data.val_dataloader()}
    loaders["n_test"] = data.test_dataloader()
    return {
        "name": type(data).__name__,
        **{name: len(loader.dataset) for name, loader in loaders.items()},
        "input_shape": list(data.input_shape),
        "num_classes": data.num_classes,
        "fingerprint": "unknown",
    }


def check_batches(name: str, data: Any) -> None:
    """See that each loader gives a batch of (inputs, labels).

    Raises:
        ValueError: which one does not.
    """
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        try:
            batch = next(iter(getattr(data, loader)()))
        except (MisconfigurationException, NotImplementedError, TypeError, StopIteration) as error:
            raise ValueError(
                f"The data set {name!r} must give batches from {loader}() ({error})."
            ) from error
        pair = isinstance(batch, list | tuple) and len(batch) == 2
        if not (pair and all(isinstance(part, torch.Tensor) for part in batch)):
            raise ValueError(
                f"The data set {name!r} must give batches (inputs, labels) of two tensors from "
                f"{loader}(), not {type(batch).__name__}."
            )
