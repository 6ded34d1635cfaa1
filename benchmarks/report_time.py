"""How long it takes to make the report of a study of 2,000 runs again, from its files alone.

    python benchmarks/report_time.py [--runs 2000] [--repeats 5]

The study is made up: three families with 100 trials of two seeds each, the rest confirmation runs
of eight arms, ten epochs each. Timed is the whole command `python -m studies.report FOLDER`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from studies.engine.compare import compare_pairs
from studies.engine.options import StudyOptions
from studies.engine.plan import recipe_from
from studies.engine.report.files import HISTORY, write_results
from studies.ternary_sparsity import STUDY

TRIALS, SEARCH_SEEDS, EPOCHS = 100, 2, 10


def make_study(folder: Path, runs: int) -> int:
    """Write a made-up finished study; returns its number of runs."""
    rng = np.random.default_rng(0)
    rows = _search(rng)
    seeds = max(2, (runs - len(rows)) // len(STUDY.labels))
    values: dict[str, dict[int, float]] = {label: {} for label in STUDY.labels}
    for seed in range(seeds):
        for place, label in enumerate(STUDY.labels):
            value = float(0.95 - 0.004 * place + 0.004 * rng.standard_normal())
            values[label][seed] = value
            rows.append(_row(rng, stage="confirm", arm=label, seed=seed, test_accuracy=value))
    results = {
        "study": STUDY.name,
        "title": STUDY.title,
        "question": STUDY.question,
        "claim": STUDY.claim,
        "answer": "Made up.",
        "recipe": dataclasses.asdict(recipe_from(StudyOptions())),
        "trials_per_family": TRIALS,
        "search_seeds": list(range(SEARCH_SEEDS)),
        "seeds": list(range(seeds)),
        **compare_pairs(values, STUDY.comparisons, margin=0.5).to_dict(),
    }
    write_results(folder, rows, json.loads(json.dumps(results)), "")
    return len(rows)


def _search(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for family in STUDY.families:
        for trial in range(TRIALS):
            chosen = {
                f"initializer.{p.name}": float(10 ** rng.uniform(-1, 0)) for p in family.space
            }
            rows += [
                _row(
                    rng, stage="search", arm=f"{family.label} {trial}", family=family.label,
                    trial=trial, seed=seed, test_accuracy="",
                    initializer=family.initializer["name"], **chosen,
                )
                for seed in range(SEARCH_SEEDS)
            ]  # fmt: skip
    return rows


def _row(rng: np.random.Generator, **own: Any) -> dict[str, Any]:
    curve = 0.95 - 0.4 / np.arange(1, EPOCHS + 1) + 0.01 * rng.standard_normal(EPOCHS)
    row = {
        "family": "",
        "trial": "",
        "status": "finished",
        "seconds": 0.1,
        "initializer": "",
        **own,
    }
    row["val_accuracy"] = float(curve[-1])
    row["key"] = f"{rng.integers(2**62):016x}"
    row["diagnostics.gradient_norm"] = float(rng.lognormal())
    row[HISTORY] = [{"val_accuracy": float(value)} for value in curve]
    return row


def main() -> None:
    """Print median and range of the command's wall and processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        runs = make_study(folder, options.runs)
        wall, cpu = [], []
        for _ in range(options.repeats):
            before, start = os.times(), time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "studies.report", str(folder)],
                check=True,
                capture_output=True,
            )
            wall.append(time.perf_counter() - start)
            after = os.times()
            cpu.append(
                after.children_user + after.children_system
                - before.children_user - before.children_system
            )  # fmt: skip
    for name, values in (("wall", wall), ("processor", cpu)):
        print(
            f"{runs} runs, {name} time: median {statistics.median(values):.1f} s "
            f"({min(values):.1f} to {max(values):.1f}, {options.repeats} times)"
        )


if __name__ == "__main__":
    main()
