"""Random numbers of a training step, from the seed, the layer and the step alone.

Nothing depends on what else drew random numbers or on whether training was interrupted. Every
process of a distributed training samples the same masks and weights; only the noise of single
examples differs from process to process, because the examples do.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from initializers.seeding import Streams, check_seed


class Sampler:
    """Opens the random streams of a network's layers.

    In training a layer draws anew at every step; in evaluation it always draws the same numbers,
    so that one sampled network is evaluated, by validation, test and prediction alike.

    Args:
        owner: Who asks, for the messages.
        seed: Integer >= 0.

    Attributes:
        step: Epoch and batch of the training step, both from 0.

    Raises:
        TypeError: If the seed is no integer.
        ValueError: If it is negative.
    """

    def __init__(self, owner: str, seed: int) -> None:
        self._streams = Streams(check_seed(owner, seed))
        self.step = (0, 0)

    def start(self, name: str) -> torch.Generator:
        """Return a CPU generator for what a layer draws once, when the method is applied."""
        return self._streams.generator(f"{name}#start")

    def uniform(self, name: str, like: Tensor, training: bool) -> Tensor:
        """Draw U[0, 1) in the shape, dtype and on the device of ``like``, for a layer."""
        generator = self._generator(name, like.device, training)
        return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def normal(self, name: str, like: Tensor, training: bool) -> Tensor:
        """Draw N(0, 1) for the examples of this process; arguments as for ``uniform``."""
        generator = self._generator(f"{name}/{_rank()}", like.device, training)
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def _generator(self, name: str, device: torch.device, training: bool) -> torch.Generator:
        moment = f"train/{self.step[0]}/{self.step[1]}" if training else "evaluation"
        seed = self._streams.seed_of(f"{name}#{moment}")
        # Drawn where it is used: the numbers are those of one kind of device.
        return torch.Generator(device).manual_seed(seed)


def _rank() -> int:
    """This process's number in a distributed training; 0 in others."""
    alone = not (distributed.is_available() and distributed.is_initialized())
    return 0 if alone else distributed.get_rank()
