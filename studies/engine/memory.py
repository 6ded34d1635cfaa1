"""How much memory a training step takes, and how much there is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


def step_memory(step: Callable[[], Tensor], network: nn.Module) -> int:
    """Bytes that one network needs in training: activations kept for the backward pass, and
    parameters with their gradients and optimiser state.

    Args:
        step: one training step of the network; it is carried out once.
        network: a network with the same parameters.
    """
    kept: dict[int, int] = {}

    def count(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        step()
    parameters = sum(p.numel() * p.element_size() for p in network.parameters())
    # Twice the activations: gradients of the same shapes come on top.
    return 4 * parameters + 2 * sum(kept.values())


def available_memory(device: torch.device) -> int:
    """Bytes that can be taken on a device without harming others."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_limit(Path("/sys/fs/cgroup"))]
    try:
        text = Path("/proc/meminfo").read_text()
        limits.append(1024 * int(text.partition("MemAvailable:")[2].split()[0]))
    except (OSError, IndexError):  # not Linux
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return min(limit for limit in limits if limit is not None)


def _limit(folder: Path) -> int | None:
    """What a container's control group has left; None where there is no limit."""
    try:
        most, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if most.strip() == "max" else int(most) - int(used)
