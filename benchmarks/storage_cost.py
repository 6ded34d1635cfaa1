"""What a trial costs in the storage, with nothing in it and with a thousand finished trials.

    python benchmarks/storage_cost.py [--storage postgresql://USER:PASSWORD@HOST/DATABASE]
        [--sizes 0 1000] [--batches 10] [--only memory journal sqlite] [--folder FOLDER]

Measured are the engine's own `FamilySearch` and `Ledger`, without training: per trial of the
family `ternary`, the time to propose it (a batch of four, divided by four), to report and tell it,
and to add the results of its three seeds to the ledger; once per start, the time to open the
ledger. Before, the family has `finished` trials and the ledger as many results of digits with
lenet_300_100. "elsewhere" has them in another study of the same storage, and none of its own.

In memory there is no storage to speak of: what grows there is the cost of Optuna's TPE sampler, and
`beside TPE` is what grows more than that. Shown are medians in milliseconds over the batches; the
last columns are the growth of a whole trial from the first size on, against the `--trial` seconds
that a trial of the default study takes.

`--clock cpu` takes this process's processor time, which other work on the machine hardly disturbs,
but which leaves out the disk and the server. With `--storage` the named database is measured too;
studies named `benchmark...` in it are deleted.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import torch
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import create_trial

from initializers import Ternary
from studies.engine.options import StudyOptions
from studies.engine.plan import make_plan
from studies.engine.run import Result
from studies.engine.search import BATCH, FamilySearch
from studies.engine.storage import Ledger, delete_studies, open_storage
from studies.ternary_sparsity import STUDY

NAME = "benchmark"
MAX_FAN_IN = 300
SEEDS = 3
PHASES = ("ask", "tell", "ledger")


@dataclasses.dataclass
class Cost:
    """Milliseconds: `open` per start, the others per trial."""

    open: float
    ask: float
    tell: float
    ledger: float

    @property
    def trial(self) -> float:
        return self.ask + self.tell + self.ledger


def example_result() -> Result:
    layers = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 300), torch.nn.ReLU(),
        torch.nn.Linear(300, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10),
    )  # fmt: skip
    epoch = {
        "train_loss": 0.512345678,
        "train_accuracy": 0.91,
        "val_loss": 0.4,
        "val_accuracy": 0.9,
    }
    return Result(
        key="",
        status="finished",
        history=(epoch,) * 10,
        val_accuracy=0.9,
        test_accuracy=0.9,
        test_loss=0.3,
        started=1.7e9,
        seconds=0.1,
        initialization=Ternary(density=0.1)(layers, seed=0).to_dict(),
        data={"name": "digits", "fingerprint": "0" * 16},
    )


def fresh(result: Result) -> Result:
    return dataclasses.replace(result, key=uuid.uuid4().hex[:16])


def fill(storage: BaseStorage, name: str, size: int, result: Result) -> None:
    family = search_in(storage, name)
    generator = torch.Generator().manual_seed(0)
    for number, uniform in enumerate(torch.rand(size, 3, generator=generator).tolist()):
        density, scale = MAX_FAN_IN ** -uniform[0], 4 ** (2 * uniform[1] - 1)
        family._study.add_trial(
            create_trial(
                value=uniform[2],
                params={"density": density, "scale": scale},
                distributions=family._space,
                user_attrs={"batch_start": number // BATCH * BATCH},
                intermediate_values=dict.fromkeys(range(SEEDS), uniform[2]),
            )
        )
    ledger = Ledger(storage, name)
    for _ in range(size):
        ledger.add(fresh(result))


def search_in(storage: BaseStorage, name: str) -> FamilySearch:
    plan = make_plan(STUDY, StudyOptions(trials=10**6, search_seeds=SEEDS))
    family = next(f for f in STUDY.families if f.label == "ternary")
    return FamilySearch(family, plan, storage, name, MAX_FAN_IN)


def measure(
    open_it: Callable[[], BaseStorage], batches: int, result: Result, clock: Callable[[], float]
) -> Cost:
    started = clock()
    storage = open_it()
    ledger = Ledger(storage, NAME)
    opened = clock() - started
    family = search_in(storage, NAME)
    times: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for number in range(batches + 2):
        ticks = [clock()]
        batch = family.next_batch()
        family.completed_accuracies(batch[0].batch)
        ticks.append(clock())
        for trial in batch:
            trial.results = [fresh(result) for _ in range(SEEDS)]
            trial.state = "complete"
            family.report(trial)
        for trial in batch:
            family.tell(trial)
        ticks.append(clock())
        for trial in batch:
            for one in trial.results:
                ledger.add(one)
        ticks.append(clock())
        if number >= 2:  # one warms up, the next is the last of random proposals
            for phase, start, end in zip(PHASES, ticks, ticks[1:], strict=False):
                times[phase].append(1000 * (end - start) / len(batch))
    return Cost(1000 * opened, *(statistics.median(times[phase]) for phase in PHASES))


@contextmanager
def filled(
    kind: str, size: int, where: str, options: argparse.Namespace, result: Result
) -> Iterator[Callable[[], BaseStorage]]:
    """A way to open a storage that holds `size` trials and results."""
    name = NAME if where == "own" else f"{NAME} elsewhere"
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if kind == "memory":
            storage = InMemoryStorage()
            fill(storage, name, size, result)
            yield lambda: storage
            return
        address = {
            "journal": f"{folder}/study.journal",
            "sqlite": f"sqlite:///{folder}/study.db",
            "server": options.storage,
        }[kind]
        if kind != "server" and size:
            # Written where syncing costs nothing, then copied.
            with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
                quick = address.replace(folder, memory)
                fill(open_storage(quick, Path(memory)), name, size, result)
                for file in Path(memory).iterdir():
                    (Path(folder) / file.name).write_bytes(file.read_bytes())
        if kind == "server":
            storage = open_storage(address, Path(folder))
            clear(storage)
            fill(storage, name, size, result)
        yield lambda: open_storage(address, Path(folder))
        if kind == "server":
            clear(open_storage(address, Path(folder)))


def clear(storage: BaseStorage) -> None:
    for name in (NAME, f"{NAME} elsewhere"):
        delete_studies(storage, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", help="a database server to measure too")
    parser.add_argument("--sizes", nargs="+", type=int, default=[0, 1000])
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=["memory", "journal", "sqlite"])
    parser.add_argument("--folder", help="where files are measured (default: the system's)")
    parser.add_argument("--trial", type=float, default=0.1, help="seconds of a whole trial")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    result = example_result()
    print(f"{'storage':<10}{'finished':>9} {'where':<10}{'open':>8}{'ask':>8}{'tell':>8}"
          f"{'ledger':>8}{'trial':>8}{'growth':>8}{'beside TPE':>11}{'%':>7}")  # fmt: skip
    sampler: dict[tuple[int, str], float] = {}
    for kind in [*options.only, *(["server"] if options.storage else [])]:
        base: Cost | None = None
        cases = [(n, w) for n in options.sizes for w in (("own", "elsewhere") if n else ("own",))]
        for size, where in cases:
            with filled(kind, size, where, options, result) as open_it:
                cost = measure(open_it, options.batches, result, clock)
            base = base or cost
            growth = cost.trial - base.trial
            if kind == "memory":
                sampler[size, where] = growth
            beside = growth - sampler.get((size, where), 0.0)
            print(f"{kind:<10}{size:>9} {where:<10}{cost.open:>8.1f}{cost.ask:>8.2f}"
                  f"{cost.tell:>8.2f}{cost.ledger:>8.2f}{cost.trial:>8.2f}{growth:>8.2f}"
                  f"{beside:>11.2f}{0.1 * growth / options.trial:>7.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
