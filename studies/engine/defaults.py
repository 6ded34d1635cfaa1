"""Recipe defaults per data set."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataDefaults:
    """What a study uses on a data set unless told otherwise.

    Args:
        network: name of the network.
        epochs, batch_size, lr: the recipe's length, batch and learning rate (Adam).
        seeds: confirmation seeds.
        trials: search trials per family.
        search_seeds: seeds per trial.
    """

    network: str = "lenet_300_100"
    epochs: int = 10
    batch_size: int = 60
    lr: float = 1.2e-3
    seeds: int = 10
    trials: int = 12
    search_seeds: int = 2


# MNIST-like: batch and rate of Zhou et al. 2019 (arXiv 1905.01067) for their 784-300-100-10
# network, in fewer epochs. CIFAR-10: their rate for Conv4.
DEFAULTS = {
    "digits": DataDefaults(batch_size=50, lr=1e-3, seeds=80, trials=16, search_seeds=3),
    "mnist": DataDefaults(),
    "fashion_mnist": DataDefaults(),
    "cifar10": DataDefaults(network="conv4", epochs=15, lr=3e-4),
}


def defaults_for(data: str) -> DataDefaults:
    """The defaults of a data set by name; general ones for a user's own."""
    return DEFAULTS.get(data, DataDefaults())
