"""What ternary weights cost: time and peak memory of one call, against kaiming_normal_.

    python benchmarks/initializer_cost.py [--repeats 9] [--size 4096] [--sampling exact ...]

Timed is the whole call on a square float32 Linear layer, with the record that it measures, on one
thread, in processor time, which other work on the machine disturbs least; each call is paired with
a kaiming_normal_ of the same weight right before it, and the median of the ratios is shown with the
lowest and the highest. Peak memory is the weight and all
that the call holds beside it at its worst, over the weight's own bytes (1 is the weight alone); it
is read from the kernel in a fresh process for each case, on Linux only.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from initializers import Ternary

SAMPLINGS = ("exact", "exact_row", "bernoulli")
PROPORTIONS = (0.0, 0.0005, 0.01, 0.1, 0.3, 0.5, 2 / 3, 0.9, 0.96, 0.97, 0.99, 0.999)
STATUS = Path("/proc/self/status")


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def ratios(initializer: Ternary, layer: nn.Linear, repeats: int) -> list[float]:
    result = []
    for repeat in range(repeats + 1):
        base = seconds(lambda: nn.init.kaiming_normal_(layer.weight))
        own = seconds(lambda: initializer(layer, seed=0))
        if repeat:  # the first round warms up
            result.append(own / base)
    return sorted(result)


def peak(initializer: Ternary, size: int) -> float:
    """Return the peak memory of a call over the weight's bytes; runs in a process of its own."""
    initializer(nn.Linear(300, 300, bias=False), seed=0)  # loads all code
    layer = nn.Linear(size, size, bias=False)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew at what is held now
    before = _status("VmRSS")
    initializer(layer, seed=0)
    weight = size * size * layer.weight.element_size()
    return 1.0 + max(0, _status("VmHWM") - before) / weight


def peak_in_child(sampling: str, zeros: float, size: int) -> float:
    if not STATUS.exists():
        return float("nan")
    command = [sys.executable, __file__, "--sampling", sampling, "--size", str(size)]
    child = subprocess.run(
        [*command, "--peak", str(zeros)], capture_output=True, text=True, check=True
    )
    return float(child.stdout)


def _status(field: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--sampling", nargs="+", default=SAMPLINGS)
    parser.add_argument("--zeros", nargs="+", type=float, default=PROPORTIONS)
    parser.add_argument("--peak", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak is not None:
        print(peak(Ternary(options.peak, sampling=options.sampling[0]), options.size))
        return
    layer = nn.Linear(options.size, options.size, bias=False)
    print(f"{'sampling':<14}{'zeros':>8}{'time ratio':>12}{'lowest':>8}{'highest':>9}{'peak':>7}")
    for sampling in options.sampling:
        for zeros in options.zeros:
            times = ratios(Ternary(zeros, sampling=sampling), layer, options.repeats)
            memory = peak_in_child(sampling, zeros, options.size)
            print(
                f"{sampling:<14}{zeros:>8.4f}{statistics.median(times):>12.2f}{times[0]:>8.2f}"
                f"{times[-1]:>9.2f}{memory:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
