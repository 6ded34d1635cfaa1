"""How fast this processor multiplies: the library that PyTorch takes, and oneDNN.

    python benchmarks/product_speed.py

The products of a step and of validation of LeNet-300-100, of float32 on one thread. Shown are
thousand million additions and multiplications per second, from the fastest of many calls.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"

import time
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_modules.stacking.onednn import has_onednn

# What it is: examples, inputs, outputs of a layer.
LAYERS = {
    "digits, first layer": (50, 64, 300),
    "digits, second layer": (50, 300, 100),
    "Fashion-MNIST, first layer": (60, 784, 300),
    "Fashion-MNIST, second layer": (60, 300, 100),
    "Fashion-MNIST, first layer, validation": (500, 784, 300),
}


def fastest(function: Callable[[], Tensor], seconds: float = 0.3) -> float:
    """Seconds of the fastest call."""
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    multiply = torch.ops.mkldnn._linear_pointwise if has_onednn() else None
    print(f"{torch.backends.cpu.get_cpu_capability()}, PyTorch {torch.__version__}")
    print(f"{'':<40}{'PyTorch':>9}{'oneDNN':>9}   (10^9 operations per second)")
    for name, (n, inputs, outputs) in LAYERS.items():
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, inputs, generator=generator)
        weight = torch.randn(outputs, inputs, generator=generator)
        operations = 2e-9 * n * inputs * outputs
        usual = operations / fastest(lambda x=x, weight=weight: torch.mm(x, weight.t()))  # type: ignore[misc]
        other = "-"
        if multiply is not None:
            seconds = fastest(
                lambda x=x, weight=weight: multiply(x, weight, None, "none", [], "")  # type: ignore[misc]
            )
            other = f"{operations / seconds:.0f}"
        print(f"{name:<40}{usual:>9.0f}{other:>9}")


if __name__ == "__main__":
    main()
