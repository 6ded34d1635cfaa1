"""One random stream per parameter, derived from a seed and the parameter's qualified name.

Neither the order of the layers, nor what else drew random numbers, nor an added layer changes the
numbers a parameter gets; the global generators of torch, NumPy and Python are never touched.
"""

from __future__ import annotations

import hashlib
import operator

import torch


class Streams:
    """The random streams of one initialisation.

    Args:
        seed: Base seed, an integer >= 0 of any size.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @classmethod
    def of(
        cls, owner: str, seed: int | None = None, generator: torch.Generator | None = None
    ) -> Streams:
        """Build the streams from exactly one of ``seed`` and ``generator``.

        A generator gives one 63-bit number that serves as the base seed, whatever the number of
        parameters, so that the generator advances by the same amount for every network.

        Args:
            owner: Who asks, for the messages.
            seed: Non-negative integer.
            generator: Generator on any device.

        Raises:
            TypeError: If ``seed`` is no integer or ``generator`` no ``torch.Generator``.
            ValueError: If both or neither are given, or the seed is negative.
        """
        if (seed is None) == (generator is None):
            got = "neither" if seed is None else "both"
            raise ValueError(
                f"{owner}: give exactly one of seed and generator, for instance seed=0, got {got}."
            )
        if generator is not None:
            if not isinstance(generator, torch.Generator):
                raise TypeError(f"{owner}: generator must be a torch.Generator, got {generator!r}.")
            drawn = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
            return cls(int(drawn))
        return cls(check_seed(owner, seed))

    def seed_of(self, name: str) -> int:
        """Return the 64-bit seed of the stream ``name``: SHA-256 of the base seed and the name."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return int.from_bytes(digest[:8], "little")

    def generator(self, name: str) -> torch.Generator:
        """Return a fresh CPU generator at the start of the stream ``name``.

        torch's CPU engine keeps 32 bits of a seed, so there are 2**32 distinct streams.
        """
        return torch.Generator().manual_seed(self.seed_of(name))


def check_seed(owner: str, seed: object) -> int:
    """Return ``seed`` as a plain ``int``.

    Raises:
        TypeError: If it is no integer (a ``bool`` is none).
        ValueError: If it is negative.
    """
    try:
        if isinstance(seed, bool):
            raise TypeError
        value = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{owner}: seed must be an integer >= 0, got {seed!r}.") from None
    if value < 0:
        raise ValueError(f"{owner}: seed must be an integer >= 0, got {value}.")
    return value
