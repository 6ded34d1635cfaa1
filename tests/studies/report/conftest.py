"""Finished studies as folders: 136 real runs on Fashion-MNIST, kept beside this file."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studies.engine.compare import compare_pairs
from studies.engine.options import StudyOptions
from studies.engine.plan import recipe_from
from studies.report import report
from studies.ternary_sparsity import STUDY

StudyMaker = Callable[..., Path]
CURRENT = "<h2>Answer</h2><p>Of a report that is newer than its results.</p>\n"
RUNS = Path(__file__).with_name("fashion_mnist.csv")


def write_study(folder: Path, data: str = "fashion_mnist", *, lift: float = 0.0) -> Path:
    """The 136 trainings of the Fashion-MNIST study as an output folder, with made-up curves.

    Args:
        folder: where to write.
        data: what the data set is called.
        lift: added to the test accuracies of "Glorot".
    """
    folder.mkdir(parents=True, exist_ok=True)
    with RUNS.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    accuracies: dict[str, dict[int, float]] = {label: {} for label in STUDY.labels}
    for row in rows:
        if row["stage"] == "confirm":
            if row["arm"] == "Glorot":
                row["test_accuracy"] = float(row["test_accuracy"]) + lift
            accuracies[row["arm"]][int(row["seed"])] = float(row["test_accuracy"])
    with (folder / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with (folder / "curves.csv").open("w", newline="") as file:
        file.write("key,epoch,val_accuracy\n")
        for row in rows:
            for epoch in range(1, 11):
                value = float(row["val_accuracy"]) - 0.3 / epoch
                file.write(f"{row['key']},{epoch},{value:.6g}\n")
    recipe = dataclasses.asdict(recipe_from(StudyOptions(data="fashion_mnist")))
    results = {
        "study": STUDY.name,
        "title": STUDY.title,
        "question": STUDY.question,
        "claim": STUDY.claim,
        "answer": f"On {data}, all is <well> & equivalent.",
        "command": f"python -m studies.ternary_sparsity --data {data}",
        "recipe": {**recipe, "data": data},
        "trials_per_family": 12,
        "search_seeds": [500000, 500001],
        "seeds": list(range(10)),
        "facts": {"max_fan_in": 784, "parameters": 266_610, "accelerator": "cpu"},
        "versions": {"git_commit": "6545419a1b2c3d4e", "git_dirty": "false", "torch_version": "2"},
        **compare_pairs(accuracies, STUDY.comparisons, margin=0.5).to_dict(),
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="session")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder; not to be written to."""
    return write_study(tmp_path_factory.mktemp("stored") / "fashion")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies "one", "two" and "three", and "all" that compares them.

    Only "one" had no report yet and got it: those of the others are there, and stand for one.
    """
    home = tmp_path_factory.mktemp("reported")
    lifts = {"one": 0.0, "two": 0.02, "three": 0.02}
    folders = [write_study(home / name, name, lift=lift) for name, lift in lifts.items()]
    for folder in folders[1:]:
        (folder / "report.html").write_text(CURRENT)
    report(folders, home / "all")
    return home


@pytest.fixture(scope="session")
def make_study() -> StudyMaker:
    """`write_study`, for tests that need several or change them."""
    return write_study
