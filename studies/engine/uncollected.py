"""Importing and drawing without garbage collection, which would look at everything in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not collect garbage in this process within the block.

    Loading torch and Lightning makes a million objects of which nearly all stay. Collecting
    meanwhile took a fifth of the time. Where they stay for the life of the process, follow it with
    `gc.freeze`: later collections need not look at them either.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
