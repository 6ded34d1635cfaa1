"""Peak memory of a stack against the sum of what its members need alone.

    python benchmarks/stack_memory.py [--only CASE] [--data-root FOLDER]

Every figure comes from a fresh process with the settings in which the engine trains; those for
glibc's malloc keep freed memory, so that a peak holds some fragmentation as well. A process loads
the data, gives freed memory back to the system, resets the kernel's peak, trains, and reports its
peak (ru_maxrss) less what it held before. Linux only.

What the libraries load at the first training of a process belongs to it, not to a network, and
would count once per member in the sum. "after a small one" therefore trains a network of one hidden
unit before the peak is reset; "first training" does not. The goal is a ratio of at most 1.2.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import NamedTuple

from studies.engine.processes import prepare_environment  # no heavy import: see `measure`


class Case(NamedTuple):
    """What is trained.

    Args:
        data, network, epochs, batch_size, train_limit: as in `Recipe`.
        kind: form of the stack.
        members: networks in the stack, each with its own seed.
    """

    data: str
    network: str
    epochs: int
    batch_size: int
    train_limit: int | None
    kind: str
    members: int


CASES = {
    "digits, lenet_300_100": Case("digits", "lenet_300_100", 2, 50, None, "dense", 16),
    "fashion_mnist, lenet_300_100": Case(
        "fashion_mnist", "lenet_300_100", 1, 60, 3000, "onednn", 4
    ),
    "cifar10, conv2": Case("cifar10", "conv2", 1, 60, 600, "layers", 4),
}


def measure(case: Case, data_root: str | None, *, stacked: bool, warm: bool) -> float:
    """Megabytes that a training takes in this process at its worst, above what was there before."""
    import ctypes
    import gc
    import resource
    from pathlib import Path

    from studies.engine import calibration, worker  # the worker processes load both
    from studies.engine.forms import Form
    from studies.engine.run import Arm, Environment, Recipe, Run

    assert calibration
    worker.use_one_thread()
    environment = Environment(data_root, "cpu")
    recipe = Recipe(
        case.data, case.network, case.epochs, case.batch_size, train_limit=case.train_limit
    )
    small = Recipe(case.data, "mlp:hidden=1", 1, case.batch_size, train_limit=case.train_limit)
    arm = Arm("ternary", {"name": "ternary", "density": 0.1})
    worker.load_data(recipe, environment)
    if warm:
        worker.run_group(
            [Run(small, arm, 0)], environment, Form("dense" if stacked else "alone", 1)
        )
    form = Form(case.kind, case.members, mixed_seeds=True) if stacked else Form()
    runs = [Run(recipe, arm, seed) for seed in range(case.members if stacked else 1)]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker.run_group(runs, environment, form)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def in_fresh_process(name: str, side: str, data_root: str | None) -> float:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", side, "--only", name]
    if data_root is not None:
        command += ["--data-root", data_root]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the table, or measure one side of one case in this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="the cases whose name contains this")
    parser.add_argument("--data-root", help="folder of the data files; unused for digits")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        stacked, warm = (word in options.measure.split("-") for word in ("stacked", "warm"))
        print(measure(CASES[options.only], options.data_root, stacked=stacked, warm=warm))
        return
    prepare_environment()
    print(f"{'case':<30}{'form':<8}{'members':>8}  {'':<19}{'alone MB':>9}", end="")
    print(f"{'sum MB':>8}{'stack MB':>10}{'ratio':>7}")
    for name, case in CASES.items():
        if options.only not in name:
            continue
        for label, suffix in (("first training", ""), ("after a small one", "-warm")):
            alone, stack = (
                in_fresh_process(name, side + suffix, options.data_root)
                for side in ("alone", "stacked")
            )
            total = case.members * alone
            print(f"{name:<30}{case.kind:<8}{case.members:>8}  {label:<19}{alone:>9.1f}", end="")
            print(f"{total:>8.1f}{stack:>10.1f}{stack / total:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
