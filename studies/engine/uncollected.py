"""Importing and drawing without garbage collection, which would look at everything in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not collect garbage in this process within the block, and pass over what it built.

    Loading torch and Lightning makes a million objects of which nearly all stay. Collecting
    meanwhile took a fifth of the time; and later collections need not look at them either.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
