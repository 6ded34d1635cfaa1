"""What every initialisation of the catalogue costs: processor time of one call on whole networks.

    python benchmarks/catalogue_cost.py [--repeats 5] [--slowest 20]

LeNet-300-100 on 28x28 images, a perceptron of eight hidden layers of 100 units, and Conv-2 on 8x8
images. One torch thread; median over the repeats after one call that warms up; a method that takes
more than a second is measured once, one that takes more than --slowest seconds is given up.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from initializers import get_initializer
from initializers.catalogue import initializer_names
from lightning_modules import build_network

NETWORKS = {
    "lenet_300_100": ("lenet_300_100", (1, 28, 28)),
    "mlp, 8 x 100": ("mlp:hidden=100-100-100-100-100-100-100-100", (1, 28, 28)),
    "conv2, 8x8": ("conv2", (1, 8, 8)),
}
BATCH = 60


class TooSlowError(Exception):
    """A call has used up its time."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Give up after so many seconds."""

    def stop(number: int, frame: Any) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def milliseconds(name: str, network: str, shape: tuple[int, ...], repeats: int, most: int) -> str:
    """Median processor time of a call, as text; "-" where the network is none of the method's."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, *shape, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    module = build_network(network, input_shape=shape, num_classes=10)
    times: list[float] = []
    try:
        for repeat in range(repeats + 1):
            start = time.process_time()
            with at_most(most):
                get_initializer(name)(module, seed=repeat, batch=(images, labels))
            spent = time.process_time() - start
            if repeat or spent > 1:
                times.append(spent)
            if spent > 1:
                break
    except TooSlowError:
        return f"over {1000 * most:,}"
    except ValueError:
        return "-"
    return f"{1000 * statistics.median(times):,.1f}"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slowest", type=int, default=20, help="seconds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| milliseconds | " + " | ".join(NETWORKS) + " |")
    print("| --- |" + " ---: |" * len(NETWORKS))
    for name in initializer_names():
        cells = [
            milliseconds(name, network, shape, options.repeats, options.slowest)
            for network, shape in NETWORKS.values()
        ]
        if any(cell != "-" for cell in cells):
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
