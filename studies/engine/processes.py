"""Settings of the processes that train, made before they load torch."""

from __future__ import annotations

import os

_SETTINGS = {
    # Small batches lose far more to threads than they gain.
    "OMP_NUM_THREADS": "1",
    # MKL then gives equal results for equal operands wherever in memory they lie, at no
    # measurable cost: a network's numbers do not depend on its place in a stack.
    "MKL_CBWR": "AUTO",
    # glibc gives large blocks back to the system at once and asks for them again in the next
    # step; clearing their pages took up to a third of a small network's training.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
    # Processes that lose each other would write the stacks of torch's sockets over the sentence
    # that says so.
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def prepare_environment() -> None:
    """Set what this process, if it has not loaded torch yet, and its children should train with.

    The user's own settings win.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
