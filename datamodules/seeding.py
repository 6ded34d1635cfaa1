"""Random streams that depend on a key and on nothing else."""

import hashlib

import torch


def stable_seed(*key: int | str) -> int:
    """Return a seed in [0, 2**63) for a key, equal on every machine and in every process.

    The first 8 bytes of the SHA-256 of the parts' ``repr`` (derived; Python's own ``hash`` of a
    string changes from process to process).
    """
    digest = hashlib.sha256("\x1f".join(repr(part) for part in key).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(*key: int | str) -> torch.Generator:
    """Return a fresh CPU generator seeded with :func:`stable_seed` of the key."""
    return torch.Generator().manual_seed(stable_seed(*key))
