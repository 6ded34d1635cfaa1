"""The verdict table and the answer."""

import csv
from pathlib import Path

from studies.engine.compare import compare_pairs
from studies.engine.options import StudyOptions
from studies.engine.plan import make_plan
from studies.engine.report import answer, comparison_table, write_results
from studies.engine.report.table import points
from studies.ternary_sparsity import STUDY

SEEDS = range(20)


def accuracies() -> dict[str, dict[int, float]]:
    """Known truth: tuned ternary as tuned Glorot, the Glorot twin three points lower."""
    base = {seed: 0.95 + 0.002 * (seed % 5) for seed in SEEDS}
    shift = {"unscaled ternary, Glorot twin": -0.03, "torch default": 0.002}
    return {
        label: {
            seed: base[seed] + shift.get(label, 0.0) + 0.0005 * ((seed * 7 + i) % 3 - 1)
            for seed in SEEDS
        }
        for i, label in enumerate(STUDY.labels)
    }


def test_table_and_answer_say_what_the_numbers_say() -> None:
    comparisons = compare_pairs(accuracies(), STUDY.comparisons, margin=0.5)
    table = comparison_table(comparisons)
    row = next(line for line in table.splitlines() if line.startswith("unscaled ternary, Glorot"))
    assert "-3.00" in row or "-2.9" in row or "-3.0" in row
    assert row.rstrip().endswith("worse")
    plan = make_plan(STUDY, StudyOptions())
    sentence = answer(plan, comparisons)
    assert sentence.startswith("On digits with lenet_300_100, ternary (tuned) is equivalent to ")
    assert "unscaled ternary, Glorot twin is worse than Glorot (-" in sentence
    assert "80 seeds" in sentence


def test_rows_are_in_the_order_of_their_means() -> None:
    table = comparison_table(compare_pairs(accuracies(), STUDY.comparisons, margin=0.5))
    lines = [line for line in table.splitlines()[2:] if line and line[0] not in " ["]
    assert lines[-1].startswith("unscaled ternary, Glorot twin")
    assert lines[0].startswith("torch default")


def test_what_a_reader_should_know_stands_below_the_table() -> None:
    results = accuracies()
    results["torch default"] = {s: v + 0.002 for s, v in results["Glorot"].items()}
    comparisons = compare_pairs(results, STUDY.comparisons, margin=0.5)
    noted = comparisons.between("torch default", "Glorot")
    assert noted.verdict == "equivalent"
    assert noted.note
    table = comparison_table(comparisons)
    assert f"[1] {noted.note}" in table
    assert "equivalent [1]" in table


def test_points_have_a_sign_but_zero_has_none() -> None:
    assert [points(v) for v in (0.104, -0.104, 0.004, -0.004)] == ["+0.10", "-0.10", "0.00", "0.00"]


def test_rows_with_different_columns_share_one_header(tmp_path: Path) -> None:
    rows = [{"arm": "a", "initializer.density": 0.1}, {"arm": "b", "initializer.scale": 2.0}]
    paths = write_results(tmp_path, rows, {"x": 1}, "table")
    with paths[0].open() as file:
        read = list(csv.DictReader(file))
    assert read == [
        {"arm": "a", "initializer.density": "0.1", "initializer.scale": ""},
        {"arm": "b", "initializer.density": "", "initializer.scale": "2.0"},
    ]
    assert not list(tmp_path.glob("*.part"))
