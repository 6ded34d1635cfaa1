"""The data of the usual way: torchvision-style data sets with the project's splits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from torch.utils.data import Dataset, Subset
from torchvision import datasets, transforms

from datamodules import get_datamodule
from studies.engine.run import Recipe


class DigitsDataset(Dataset[tuple[Any, int]]):
    """scikit-learn's digits in the style of torchvision's data sets.

    Args:
        transform: applied to an image, a float32 array (8, 8) in [0, 1].
    """

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        self.images = (digits.images / 16).astype("float32")
        self.targets = digits.target.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), self.targets[index]


class Splits(NamedTuple):
    """Data sets of the three splits, and what a network and the loaders need to know of them."""

    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any]
    input_shape: tuple[int, ...]
    num_classes: int
    eval_batch_size: int


@functools.lru_cache(maxsize=2)
def load_splits(
    data: str,
    data_root: str | None = None,
    split_seed: int = 0,
    train_limit: int | None = None,
    augment: str = "none",
) -> Splits:
    """The project's splits and normalisation of a data set, over torchvision-style data sets.

    Args:
        data: "digits", "mnist", "fashion_mnist" or "cifar10".
        data_root: folder that holds the files, as torchvision expects them; unused for digits.
        split_seed, train_limit: as in `Recipe`.
        augment: "none" or "crop_flip", which pads with black before the normalisation.

    Raises:
        KeyError: another data set.
    """
    project: Any = get_datamodule(
        data, root=data_root, split_seed=split_seed, train_limit=train_limit, download=False
    )
    facts = project.describe()
    to_tensor = [transforms.ToTensor(), transforms.Normalize(facts["mean"], facts["std"])]
    plain = transforms.Compose(to_tensor)
    if data == "digits":
        train = test = held_out = DigitsDataset(plain)
    else:
        names = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}
        open_files = functools.partial(getattr(datasets, names[data]), str(project.root))
        train = held_out = open_files(train=True, transform=plain)
        test = open_files(train=False, transform=plain)
        if augment == "crop_flip":
            changes = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
            train = open_files(train=True, transform=transforms.Compose([*changes, *to_tensor]))
    return Splits(
        train=Subset(train, project.indices("train").tolist()),
        val=Subset(held_out, project.indices("val").tolist()),
        test=Subset(test, project.indices("test").tolist()),
        input_shape=project.input_shape,
        num_classes=project.num_classes,
        eval_batch_size=project.options.eval_batch_size,
    )


def splits_of(recipe: Recipe, data_root: str | None = None) -> Splits:
    """The splits of a recipe; loaded once per process."""
    return load_splits(
        recipe.data, data_root, recipe.split_seed, recipe.train_limit, recipe.augment
    )


def steps_in(recipe: Recipe, data_root: str | None = None) -> int:
    """Optimiser steps of one training."""
    examples = len(splits_of(recipe, data_root).train)  # type: ignore[arg-type]
    return recipe.epochs * -(-examples // recipe.batch_size)
