"""What rewiring costs, against the algorithm written down with NumPy's draw without replacement.

    python benchmarks/rewiring_cost.py [--repeats 5] [--shapes 1024x1024 ...] [--network resnet18]

Both rearrange the same He-normal weights, in turns, on one thread, in processor time, which other
work on the machine disturbs least; shown are the medians and the median of the ratios. The last
lines time whole calls on a torchvision network: the base alone, and rewired, with the record.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torchvision

from initializers import HeNormal, Initializer, Rewired
from initializers.rewiring import rewire_

SHAPES = ("128x128", "512x4608", "1024x1024", "2048x2048")


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def usual_way(weight: np.ndarray, random: np.random.Generator) -> None:
    """Both passes in place, as published."""
    for side in (weight, weight.T):
        strength = np.zeros(side.shape[1])
        for i in range(1, len(side)):
            strength += side[i - 1]
            odds = strength + abs(strength.min()) + 1.0
            order = random.choice(len(odds), len(odds), replace=False, p=odds / odds.sum())
            side[i, order] = np.sort(side[i])


def compare(rows: int, columns: int, repeats: int) -> tuple[float, float, float]:
    """Return median seconds of the usual way and of ours, and the median of their ratios."""
    generator, random = torch.Generator().manual_seed(0), np.random.default_rng(0)
    weight = torch.randn(rows, columns, generator=generator) * (2.0 / columns) ** 0.5
    pairs = []
    for repeat in range(repeats + 1):
        usual, own = weight.numpy().copy(), weight.clone()
        pair = (
            seconds(partial(usual_way, usual, random)),
            seconds(partial(rewire_, own, generator)),
        )
        if repeat:  # the first round warms up
            pairs.append(pair)
    usual_times, own_times = zip(*pairs, strict=True)
    ratio = statistics.median(one / two for one, two in pairs)
    return statistics.median(usual_times), statistics.median(own_times), ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--network", default="resnet18")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'shape':<12}{'usual way':>12}{'rewire_':>12}{'ratio':>8}")
    for shape in options.shapes:
        rows, columns = (int(side) for side in shape.split("x"))
        usual, own, ratio = compare(rows, columns, options.repeats)
        print(f"{shape:<12}{usual:>10.3f} s{own:>10.3f} s{ratio:>8.1f}", flush=True)
    network = torchvision.models.get_model(options.network, weights=None)
    initializers: tuple[Initializer, ...] = (HeNormal(), Rewired(HeNormal()))
    for initializer in initializers:
        call = partial(initializer, network, seed=0)
        times = [seconds(call) for _ in range(options.repeats)]
        print(f"{options.network}, {initializer}: {statistics.median(times):.2f} s", flush=True)


if __name__ == "__main__":
    main()
