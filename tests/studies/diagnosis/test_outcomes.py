import numpy as np
import pytest
from scipy.stats import spearmanr

from studies.engine.diagnosis.figures import outcome_figure
from studies.engine.diagnosis.outcomes import outcomes, read_runs, spearman
from studies.engine.diagnosis.table import outcome_table
from studies.engine.errors import UserError


def rows(values: list[float], accuracies: list[float], seeds: int = 1) -> list[dict[str, str]]:
    return [
        {
            "stage": "confirm", "arm": f"arm {arm}", "trial": "", "val_accuracy": str(accuracy),
            "diagnostics.slope": str(value), "diagnostics.constant": "1.0",
            "diagnostics.rare": str(value) if arm < 2 else "",
        }
        for arm, (value, accuracy) in enumerate(zip(values, accuracies, strict=True))
        for _ in range(seeds)
    ]  # fmt: skip


def test_spearman_is_scipys_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 40).astype(float), rng.normal(size=40)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-14)
    assert np.isnan(spearman(np.ones(4), y[:4]))


def test_a_monotone_relation_is_found_and_the_rest_is_not_listed():
    (found,) = outcomes(rows([1.0, 2.0, 30.0, 4e9], [0.9, 0.8, 0.7, 0.1], seeds=2))
    assert (found.name, found.correlation, found.runs, found.arms) == ("slope", -1.0, 8, 4)
    assert found.low == -1.0
    assert "slope" in outcome_table([found])


def test_runs_of_one_arm_are_no_independent_evidence():
    """Ten seeds of each arm leave the interval as wide as one: arms are drawn."""
    rng = np.random.default_rng(1)
    values, accuracies = rng.normal(size=12).tolist(), rng.uniform(size=12).tolist()
    (one,) = outcomes(rows(values, accuracies))
    (ten,) = outcomes(rows(values, accuracies, seeds=10))
    assert ten.correlation == pytest.approx(one.correlation)
    assert ten.high - ten.low == pytest.approx(one.high - one.low, abs=0.03)
    assert one.low < 0.0 < one.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    truth, covered = 6 / np.pi * np.arcsin(0.6 / 2), 0
    for seed in range(40):
        x = rng.normal(size=40)
        y = 0.6 * x + 0.8 * rng.normal(size=40)
        (found,) = outcomes(rows(x.tolist(), y.tolist()), seed=seed)
        covered += found.low <= truth <= found.high
    assert covered >= 33  # of 95 %: 38 expected, 33 at four standard errors below 38


def test_files(tmp_path):
    with pytest.raises(UserError, match=r"runs\.csv cannot be read \(no such file"):
        read_runs(tmp_path)
    (tmp_path / "runs.csv").write_text("arm,val_accuracy\na,0.5\n")
    with pytest.raises(UserError, match=r"has no columns val_accuracy and diagnostics\.\*"):
        read_runs(tmp_path)
    (tmp_path / "runs.csv").write_text("arm,val_accuracy,diagnostics.loss\na,0.5,2.0\n")
    assert read_runs(tmp_path / "runs.csv")[0]["diagnostics.loss"] == "2.0"
    found = outcomes(rows([1.0, 2.0, 30.0, 4e3], [0.9, 0.8, 0.7, 0.1]))
    assert outcome_figure(found, tmp_path / "f.png").stat().st_size > 10_000
