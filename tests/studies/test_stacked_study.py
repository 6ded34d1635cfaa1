"""Whole studies from the shell whose networks are trained in stacks."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.studies.conftest import SMALL, Shell
from tests.studies.test_study import STUDY

Rows = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one study measured is what the next one of the same test reads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TERNARY_STUDIES_DATA", raising=False)


def results(folder: Path) -> tuple[Rows, dict[str, Any]]:
    """Trainings without their times, by stage and key; and the form of training."""
    with (folder / "runs.csv").open() as file:
        rows = [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]
    table = {(row["stage"] + row["arm"] + row["trial"], row["seed"]): row for row in rows}
    assert len(table) == len(rows)
    return table, json.loads((folder / "results.json").read_text())["facts"]["form"]


def test_workers_and_size_of_the_stacks_change_no_digit(
    shell: Shell, tmp_path: Path, template: Path
) -> None:
    """With tuned learning rates, so that members of a stack differ in theirs."""
    shutil.copy(template, tmp_path / "mlflow.db")
    options = {
        "one": ["--workers", "1"],
        "pairs": ["--workers", "2", "--stack", "2"],
    }
    outputs = {}
    for name, chosen in options.items():
        done = shell(STUDY, *SMALL, "--tune-lr", *chosen, "--output", name)
        assert done.returncode == 0, done.stderr
        outputs[name] = done.stdout
        assert "22 trainings in" in done.stdout
        (line,) = (x for x in done.stdout.splitlines() if x.startswith("  trained "))
        assert line.startswith("  trained up to ")
        assert "as batched matrix products" in line
    assert "  trained up to 2 networks in a stack" in outputs["pairs"]

    (one, form), (pairs, bounded) = (results(tmp_path / name) for name in options)
    assert bounded == {**form, "size": 2, "blocks": 1}
    assert form["mixed_seeds"]
    confirmed = [row for row in one.values() if row["stage"] == "confirm"]
    assert len(confirmed) == 16
    assert len({row["lr"] for row in one.values()}) >= 3
    assert all(row["status"] == "finished" for row in confirmed)
    assert pairs == one
    assert len(list((tmp_path / "cache" / "ternary-studies" / "calibration").iterdir())) == 1


def test_a_dry_run_tells_how_would_be_trained(prepared: Shell, tmp_path: Path) -> None:
    done = prepared(STUDY, *SMALL, "--dry-run", "--stack", "1")
    assert done.returncode == 0, done.stderr
    assert "\ntrained  one by one, fused optimiser (--stack 1)\n" in done.stdout
    assert not (tmp_path / "outputs").exists()


def test_a_stack_of_none_is_refused_in_one_sentence(prepared: Shell) -> None:
    done = prepared(STUDY, *SMALL, "--stack", "0")
    assert done.returncode == 2
    assert done.stderr == "error: --stack must be at least 1, got 0.\n"
    assert done.stdout == ""
