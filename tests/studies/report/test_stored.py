"""A study read back from its folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.engine.compare import Comparisons
from studies.engine.errors import UserError
from studies.engine.report.cost import costs
from studies.engine.report.stored import best_trial, load_study


def test_trials_are_those_that_the_results_page_tells(fashion: Path) -> None:
    study = load_study(fashion)
    assert {label: len(trials) for label, trials in study.families.items()} == {
        "ternary": 12,
        "Glorot": 12,
        "He": 12,
    }
    best = {label: best_trial(trials) for label, trials in study.families.items()}
    values = {label: dict(trial.values) for label, trial in best.items() if trial is not None}
    assert values["ternary"] == pytest.approx({"density": 0.81, "scale": 0.41}, abs=0.005)
    assert values["Glorot"] == pytest.approx({"scale": 0.30}, abs=0.005)
    assert values["He"] == pytest.approx({"scale": 0.50}, abs=0.005)


def test_cost_counts_what_was_trained_and_what_pruning_saved(fashion: Path) -> None:
    lines = {line.stage: line for line in costs(load_study(fashion))}
    searched = [line for stage, line in lines.items() if stage.startswith("search")]
    assert sum(line.trainings for line in searched) == 56
    assert sum(line.saved for line in searched) == 72 - 56
    assert lines["confirmation"].trainings == 80
    assert lines["total"].trainings == 136
    assert lines["total"].pruned == 16  # two seeds: a pruned trial lacks one
    assert lines["total"].seconds == pytest.approx(sum(line.seconds for line in searched)
        + lines["confirmation"].seconds)  # fmt: skip


def test_accuracies_give_the_stored_means(fashion: Path) -> None:
    study = load_study(fashion)
    for summary in study.comparisons.arms:
        values = study.accuracies[summary.arm].values()
        assert len(values) == summary.n == 10
        assert sum(values) / 10 == pytest.approx(summary.mean, abs=1e-12)


def test_comparisons_come_back_equal(fashion: Path) -> None:
    comparisons = load_study(fashion).comparisons
    again = Comparisons.from_dict(json.loads(json.dumps(comparisons.to_dict())))
    assert again == comparisons


def cut(file: str, text: str, other: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        assert text in path.read_text()
        path.write_text(path.read_text().replace(text, other))

    return change


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda f: shutil.rmtree(f), "does not exist; give the output folder of a study"),
        (lambda f: (f / "results.json").unlink(), "holds no finished study (results.json is miss"),
        (lambda f: (f / "results.json").write_text("{"), "is not a study's results"),
        (lambda f: (f / "results.json").write_text("[]"), "lacks study, question, answer"),
        (cut("results.json", '"margin"', '"margins"'), "lacks margin"),
        (cut("results.json", '"std"', '"sd"'), "is not a study's results"),
        (lambda f: (f / "runs.csv").unlink(), "runs.csv is missing"),
        (lambda f: (f / "runs.csv").write_text("a,b\n1,2\n"), "lacks the columns stage, arm"),
        (cut("runs.csv", ",confirm,torch default,", ",confirm,other,"), "fewer than two"),
        (cut("runs.csv", ",0.88", ",many"), "must be numbers"),
        (lambda f: (f / "curves.csv").write_text("a\n1\n"), "lacks the columns key, epoch"),
    ],
)
def test_a_damaged_folder_is_told_in_one_sentence(
    tmp_path: Path, fashion: Path, damage: Callable[[Path], None], expected: str
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(fashion, folder)
    damage(folder)
    with pytest.raises(UserError) as caught:
        _ = load_study(folder).curves
    message = str(caught.value)
    assert expected in message
    assert message.endswith(".")
    assert "\n" not in message
    assert str(folder) in message
