"""Does asking Optuna for several trials at once cost search quality?

    python benchmarks/sampler_batches.py [--replicates 200] [--trials 16] [--search-seeds 3]

The engine's own `search`, pruning included, tunes simulated families; a replicate has its own study
seed and its own noise, the same for all settings. Two error surfaces are fitted to trainings, two
are harder inventions. Fitted are `ternary` and `Glorot`, on digits with lenet_300_100:

    python -m studies.ternary_sparsity --output A --trials 24
    python -m studies.ternary_sparsity --output B --trials 24 --study-seed 1 --seeds 2
    python benchmarks/sampler_batches.py --fit A/runs.csv B/runs.csv

Errors, accuracies and regrets are in percentage points of validation accuracy; u is log2(density),
0 for families without one, and x is log2(scale).
"""

from __future__ import annotations

import argparse
import csv
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import InMemoryStorage
from scipy import optimize, stats

from studies.engine import search as engine
from studies.engine.plan import Plan
from studies.engine.run import Recipe, Result, Run
from studies.engine.study import Family, Parameter, Study

Array = NDArray[np.float64]
Setting = tuple[int, int]  # batch, start-up trials

BATCHES, STARTUPS = (1, 2, 4, 8, 16), (4, 6, 8)
REFERENCE, TOLERANCE = (1, 8), 0.1
MAX_FAN_IN = 300
EXAMPLES = 297  # validation examples of digits

# From --fit: log of the error over `powers`.
TERNARY = (0.54, 0.347, 0.292, -0.005, -0.203, 0.018, 0.037, 0.771, -0.034, -0.662)
GLOROT = (0.343, -0.203, 0.341, 0.155)
# Noise, from the trial x seed tables of the same runs without their trial means: variance over that
# of a binomial count, and standard deviation of a seed's effect on all trials.
DISPERSION, SEED_SD = 0.7, 0.25
# Runs of one seed at neighbouring points err alike: share of the variance that does, and its reach
# in octaves (the variogram is at 0.05, 0.25 and 0.35 of 0.8 at 0.05, 0.17 and 0.37 octaves).
SMOOTH_SHARE, SMOOTH_LENGTH = 0.9, 0.3
WAVES = 40


def powers(u: Array, x: Array, two: bool) -> Array:
    """Monomials up to the third degree in u/4 + 1 and x, or in x alone: [points, 10 or 4]."""
    exponents = itertools.product(range(4 if two else 1), range(4))
    return np.stack([(u / 4 + 1) ** i * x**j for i, j in exponents if i + j <= 3], axis=-1)


def fitted(coefficients: Sequence[float], u: Array, x: Array) -> Array:
    """Error surface from fitted coefficients; at most that of guessing among ten classes."""
    logarithm: Array = powers(u, x, len(coefficients) == 10) @ np.asarray(coefficients)
    return np.minimum(np.exp(logarithm), 90.0)


def ridge(u: Array, x: Array) -> Array:
    """Good only where density x scale^2 is 0.05, within half an octave; best at scale 2."""
    miss = (u + 2 * x - math.log2(0.05)) / 0.5
    return 1.2 + 6.0 * (1 - np.exp(-(miss**2) / 2)) + 0.15 * (x - 1) ** 2


def border(u: Array, x: Array) -> Array:
    """Best at density 1/200 and scale 3.2, next to a corner and far from the start."""
    return 1.2 + 0.12 * (u + math.log2(200)) ** 2 + 0.8 * (x - math.log2(3.2)) ** 2


SURFACES: dict[str, Callable[[Array, Array], Array]] = {
    "ternary": functools.partial(fitted, TERNARY),
    "Glorot": functools.partial(fitted, GLOROT),
    "ridge": ridge,
    "border": border,
}
_DENSITY = Parameter("density", low="1/fan_in", high=1.0, start=0.5)
_SCALE = Parameter("scale", low=0.25, high=4.0, start=1.0)
FAMILIES = tuple(
    Family(name, {"name": name}, (_SCALE,) if name == "Glorot" else (_DENSITY, _SCALE))
    for name in SURFACES
)


def least_errors() -> list[float]:
    """The smallest true error of every surface, on a grid."""
    u, x = np.meshgrid(np.linspace(-math.log2(MAX_FAN_IN), 0, 801), np.linspace(-2, 2, 801))
    return [
        float(surface(0 * u if n == "Glorot" else u, x).min()) for n, surface in SURFACES.items()
    ]


class Simulation:
    """Trainings of one replicate; the same run always gives the same accuracy.

    Args:
        replicate: seeds the noise.
        level: factor on the standard deviation of all noise.
    """

    def __init__(self, replicate: int, level: float) -> None:
        self.replicate, self.level = replicate, level
        self.trained = dict.fromkeys(SURFACES, 0)
        self._fields: dict[tuple[str, int], tuple[float, Array, Array]] = {}

    def _field(self, family: str, seed: int) -> tuple[float, Array, Array]:
        # A seed's effect, and its smooth noise as waves [2, WAVES] and phases [WAVES].
        if (family, seed) not in self._fields:
            effect = np.random.default_rng([self.replicate, seed]).normal(0, SEED_SD)
            own = np.random.default_rng([self.replicate, seed, list(SURFACES).index(family) + 1])
            waves = own.normal(0, 1 / SMOOTH_LENGTH, (2, WAVES))
            self._fields[family, seed] = effect, waves, own.uniform(0, 2 * math.pi, WAVES)
        return self._fields[family, seed]

    @staticmethod
    def place(run: Run) -> tuple[Array, float]:
        """Where a run stands, [u, x], and its true error."""
        initializer = run.arm.initializer
        where = np.log2([initializer.get("density", 1.0), initializer["scale"]])
        return where, float(SURFACES[run.arm.family](where[0], where[1]))

    def train(self, runs: Sequence[Run]) -> list[Result]:
        """The engine's `train`."""
        return [
            Result("", "finished", (), self.accuracy(run), None, None, 0.0, 0.0, {}, {})
            for run in runs
        ]

    def accuracy(self, run: Run) -> float:
        """Simulated validation accuracy, a fraction in steps of one example."""
        self.trained[run.arm.family] += 1
        where, error = self.place(run)
        effect, waves, phases = self._field(run.arm.family, run.seed)
        smooth = math.sqrt(2 / WAVES) * float(np.cos(where @ waves + phases).sum())
        rough = np.random.default_rng([self.replicate, int(run.key, 16)]).normal()
        noise = math.sqrt(SMOOTH_SHARE) * smooth + math.sqrt(1 - SMOOTH_SHARE) * rough
        spread = math.sqrt(DISPERSION * error * (100 - error) / EXAMPLES)
        right = (100 - error + self.level * (effect + spread * noise)) / 100
        return min(max(round(right * EXAMPLES) / EXAMPLES, 0.0), 1.0)


def replicate_errors(
    setting: Setting, replicate: int, trials: int, seeds: int, level: float
) -> tuple[list[float], list[int]]:
    """Per surface, the true error of the arm that the search picks, and its trainings."""
    study = Study("simulation", "", "", "", (), FAMILIES, (), ())
    recipe = Recipe("digits", "lenet_300_100", 10, 50)
    numbers = tuple(range(seeds))
    plan = Plan(study, recipe, FAMILIES, trials, numbers, (), 0.5, replicate, Path())
    simulation = Simulation(replicate, level)
    with mock.patch.multiple(engine, BATCH=setting[0], STARTUP_TRIALS=setting[1]):
        arms = engine.search(
            plan, InMemoryStorage(), "simulation", MAX_FAN_IN,
            simulation.train, lambda _: None, lambda *_: None,
        )  # fmt: skip
    errors = [simulation.place(plan.search_run(arm, 0))[1] for arm in arms]
    return errors, list(simulation.trained.values())


def distinct(trials: int) -> dict[Setting, str]:
    """Settings that differ, each with the start-up values that it stands for.

    Optuna counts finished trials only: proposals stay random to the end of the batch in which the
    start-up ends.
    """
    groups: dict[Setting, list[int]] = {}
    for batch, startup in itertools.product(BATCHES, STARTUPS):
        effective = min(math.ceil(startup / batch) * batch, trials)
        groups.setdefault((batch, effective), []).append(startup)
    return {(batch, s[-1]): "/".join(map(str, s)) for (batch, _), s in groups.items()}


def interval(values: Array) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % t interval."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean, mean - half, mean + half


def show(settings: dict[Setting, str], errors: Array, trained: Array) -> None:
    """Print a table per surface, and which settings are safe.

    Args:
        settings: as from `distinct`.
        errors: true error of the picks, [settings, replicates, surfaces].
        trained: mean trainings per search, [settings, surfaces].
    """
    base, names = list(settings).index(REFERENCE), list(settings.values())
    for k, (surface, least) in enumerate(zip(SURFACES, least_errors(), strict=True)):
        print(f"\n{surface}, at best {100 - least:.2f} %")
        print("batch  start-up  accuracy  regret                against one by one      trainings")
        safe = []
        for i, (batch, _) in enumerate(settings):
            regret = interval(errors[i, :, k] - least)
            gain = interval(errors[base, :, k] - errors[i, :, k])
            against = "reference" if i == base else "{:+.2f} ({:+.2f} to {:+.2f})".format(*gain)
            safe += [f"{batch} ({names[i]})"] if i == base or gain[1] >= -TOLERANCE else []
            spread = "{:.2f} ({:.2f} to {:.2f})".format(*regret)
            print(
                f"{batch:>5}  {names[i]:>8}  {100 - errors[i, :, k].mean():>8.2f}  "
                f"{spread:<22}{against:<26}{trained[i, k]:>7.1f}"
            )
        print(f"surely at most {TOLERANCE:g} worse than one by one:", ", ".join(safe))


def fit(files: Sequence[Path]) -> None:
    """Print the surfaces' coefficients: a Poisson fit of errors, with an effect of every seed."""
    rows = [row for file in files for row in csv.DictReader(file.open())]
    for name in ("ternary", "Glorot"):
        own = [row for row in rows if row["family"] == name and row["stage"] == "search"]
        density = np.array([float(row["initializer.density"] or 1) for row in own])
        scale = np.array([float(row["initializer.scale"]) for row in own])
        errors = np.array([100 * (1 - float(row["val_accuracy"])) for row in own])
        design = powers(np.log2(density), np.log2(scale), name == "ternary")
        seeds = sorted({row["seed"] for row in own})
        effects = np.array([[float(row["seed"] == seed) for seed in seeds] for row in own])
        table, terms = np.hstack([design, effects]), design.shape[1]
        # Weak pulls to zero bound corners without trainings, and the seeds' sum.
        pull = np.r_[0.0, np.full(terms - 1, 0.1), np.full(len(seeds), 10.0)]

        def loss(b: Array, table: Array = table, y: Array = errors, pull: Array = pull) -> float:
            return float((np.exp(table @ b) - y * (table @ b)).sum() + (pull * b**2).sum())

        found = optimize.minimize(loss, np.zeros(table.shape[1]), method="BFGS").x
        print(name, tuple(round(float(value), 3) for value in found[:terms]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Search quality against trials asked at once.")
    parser.add_argument("--replicates", type=int, default=200, help="searches per row, >= 2")
    parser.add_argument("--trials", type=int, default=16, help="per family")
    parser.add_argument("--search-seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=1.0, help="factor on the measured noise")
    parser.add_argument("--fit", type=Path, nargs="+", help="runs.csv files; print coefficients")
    options = parser.parse_args()
    if options.fit:
        return fit(options.fit)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = distinct(options.trials)
    shape = (len(settings), options.replicates, len(SURFACES))
    errors, trained = np.empty(shape), np.empty(shape)
    for r, (i, setting) in itertools.product(range(options.replicates), enumerate(settings)):
        errors[i, r], trained[i, r] = replicate_errors(
            setting, r, options.trials, options.search_seeds, options.noise
        )
    print(
        f"{options.replicates} searches of {options.trials} trials x {options.search_seeds} seeds"
    )
    show(settings, errors, trained.mean(axis=1))


if __name__ == "__main__":
    main()
