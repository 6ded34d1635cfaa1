import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from studies.engine.compare import compare, compare_pairs, judge, seeds_needed
from studies.engine.compare.judgement import OPPOSED, SMALL_BUT_REAL
from studies.engine.compare.multiplicity import holm
from studies.engine.compare.signed_rank import signed_rank_test

SEEDS = range(100, 120)


def study() -> dict[str, dict[int, float]]:
    """Five arms whose truth against "base" is known, on a test set of 10,000."""
    rng = np.random.default_rng(0)
    common = rng.normal(0.95, 0.004, size=20)  # shared by all arms: what pairing removes

    def arm(shift: float, spread: float) -> dict[int, float]:
        values = np.rint((common + rng.normal(shift, spread, size=20)) * 10_000) / 10_000
        return dict(zip(SEEDS, values.tolist(), strict=True))

    return {
        "base": arm(0, 0.001),
        "same": arm(0, 0.001),
        "good": arm(0.02, 0.002),
        "bad": arm(-0.02, 0.002),
        "small": arm(0.002, 0.0005),
        "noisy": arm(0.006, 0.03),
    }


def test_verdicts_where_the_truth_is_known() -> None:
    result = compare(study(), "base")
    verdicts = {c.arm: c.verdict for c in result.comparisons}
    assert verdicts == {
        "same": "equivalent",
        "good": "better",
        "bad": "worse",
        "small": "equivalent",
        "noisy": "undecided",
    }
    assert result.between("small", "base").note == SMALL_BUT_REAL
    assert result.between("same", "base").note == ""
    assert [s.arm for s in result.arms] == list(study())


def test_numbers_of_a_comparison() -> None:
    results = study()
    result = compare(results, "base")
    noisy = result.between("noisy", "base")
    d = np.array([results["noisy"][s] - results["base"][s] for s in SEEDS])
    assert noisy.n == 20
    assert noisy.mean_difference == pytest.approx(100 * d.mean(), abs=1e-9)
    assert noisy.std_difference == pytest.approx(100 * d.std(ddof=1), abs=1e-9)
    assert noisy.low < noisy.mean_difference < noisy.high
    assert noisy.high - noisy.low == pytest.approx(2 * 2.093 * 3 / np.sqrt(20), rel=0.35)
    assert noisy.seeds_needed == seeds_needed(
        float(d.mean()), float(d.std(ddof=1)), 0.005, comparisons=5, more_than=20
    )
    assert all(c.seeds_needed is None for c in result.comparisons if c.verdict != "undecided")
    raw = [c.p_value for c in result.comparisons]
    assert [c.p_adjusted for c in result.comparisons] == holm(raw).tolist()
    equivalences = [c.p_equivalence for c in result.comparisons]
    assert [c.p_equivalence_adjusted for c in result.comparisons] == holm(equivalences).tolist()
    assert raw[1] == raw[2] == 2.0**-19  # every seed on one side


def test_summary_of_an_arm() -> None:
    results = study()
    summary = compare(results, "base", diverged={"bad": 3}).arm("bad")
    values = np.array(list(results["bad"].values()))
    assert (summary.n, summary.diverged) == (20, 3)
    assert summary.mean == pytest.approx(values.mean(), abs=1e-12)
    assert summary.std == pytest.approx(values.std(ddof=1), abs=1e-12)
    half = 2.093 * summary.std / np.sqrt(20)
    assert summary.low == pytest.approx(summary.mean - half, abs=0.3 * half)
    assert summary.high == pytest.approx(summary.mean + half, abs=0.3 * half)
    assert compare(results, "base", diverged={"bad": 3}).arm("good").diverged == 0
    assert compare(results, "base").arm("good").diverged is None


def test_t_interval_of_a_summary_stays_a_fraction() -> None:
    results = {"a": {1: 1.0, 2: 0.5}, "b": {1: 0.0, 2: 0.5}}
    result = compare(results, "b")
    assert (result.arm("a").low, result.arm("a").high) == (0, 1)
    assert result.arm("a").interval_method == "t"


def test_pairs_are_the_family() -> None:
    results = study()
    one = compare_pairs(results, [("good", "base")])
    assert one.comparisons[0].p_adjusted == one.comparisons[0].p_value
    two = compare_pairs(results, [("good", "base"), ("good", "bad")])
    assert two.comparisons[0].p_adjusted == 2 * two.comparisons[0].p_value
    # What else is compared moves neither the interval nor the raw p-values.
    assert (one.comparisons[0].low, one.comparisons[0].high) == (
        two.comparisons[0].low,
        two.comparisons[0].high,
    )
    assert two.between("good", "bad").mean_difference == pytest.approx(4, abs=0.3)


def test_swapped_arms_give_the_mirrored_answer() -> None:
    there = compare_pairs(study(), [("noisy", "good")]).comparisons[0]
    back = compare_pairs(study(), [("good", "noisy")]).comparisons[0]
    assert back.mean_difference == pytest.approx(-there.mean_difference)
    assert back.low == pytest.approx(-there.high)
    assert back.p_value == there.p_value
    assert back.p_equivalence == there.p_equivalence
    assert {there.verdict, back.verdict} == {"better", "worse"} or there.verdict == back.verdict


def test_same_input_same_answer_whatever_the_order_of_seeds() -> None:
    results = study()
    backwards = {arm: dict(reversed(per_seed.items())) for arm, per_seed in results.items()}
    assert compare(results, "base", seed=4) == compare(backwards, "base", seed=4)
    assert compare(results, "base", seed=4) != compare(results, "base", seed=5)


def test_identical_arms_are_equivalent_with_enough_seeds() -> None:
    for n, verdict in ((4, "undecided"), (5, "equivalent")):  # 2**-4 > .05 > 2**-5
        results = {arm: dict.fromkeys(range(n), 0.9) for arm in ("a", "b")}
        (c,) = compare(results, "b").comparisons
        assert (c.mean_difference, c.low, c.high, c.interval_method) == (0, 0, 0, "constant")
        assert (c.p_value, c.p_equivalence, c.verdict) == (1, 2.0**-n, verdict)
        assert c.seeds_needed == (5 if n == 4 else None)


def test_a_diverged_seed_does_not_turn_wins_into_a_loss() -> None:
    # Nineteen wins of .3 to .48 points and one diverged run: the mean says worse, the ranks better.
    d = np.append(np.linspace(0.003, 0.0048, 19), -0.85)
    assert signed_rank_test(d).p_value < 0.01
    assert d.mean() < 0
    (judgement,) = judge([d], 0.005)
    assert (judgement.verdict, judgement.note, judgement.opposed) == ("undecided", OPPOSED, True)
    results = {
        "a": {i: 0.9 + float(x) for i, x in enumerate(d)},
        "b": dict.fromkeys(range(20), 0.9),
    }
    assert compare(results, "b").comparisons[0].seeds_needed is None


def test_precedence_and_correction_of_the_rules() -> None:
    rng = np.random.default_rng(1)
    sure = rng.normal(0.002, 0.0005, size=20)  # significant and inside the margin
    weak = rng.normal(0.010, 0.015, size=20)
    weak += 0.0085 - weak.mean()  # about p = .03 alone
    alone = judge([weak], 0.005)[0]
    assert 0.01 < alone.p_value <= 0.05
    assert alone.verdict == "better"
    noise = [rng.normal(0, 0.05, size=20) for _ in range(4)]
    assert judge([weak, *noise], 0.005)[0].verdict == "undecided"
    assert judge([-weak], 0.005)[0].verdict == "worse"
    assert judge([sure], 0.005)[0].verdict == "equivalent"
    assert judge([sure], 0.0015)[0].verdict == "better"


def test_common_seeds_only_on_request() -> None:
    results = study()
    del results["noisy"][119]
    with pytest.raises(ValueError, match="'noisy' has no result for seeds 119 of 'base'"):
        compare(results, "base")
    result = compare(results, "base", common_only=True)
    assert (result.between("noisy", "base").n, result.between("good", "base").n) == (19, 20)
    # Pairs that do not touch the incomplete arm are not held up by it.
    assert compare_pairs(results, [("good", "base")]).comparisons[0].verdict == "better"


def test_plain_data_and_frozen() -> None:
    result = compare(study(), "base", diverged={})
    data = json.loads(json.dumps(result.to_dict()))
    assert data["units"] == {"accuracy": "fraction", "difference": "percentage points"}
    assert data["comparisons"][1]["verdict"] == "better"
    assert data["comparisons"][1] == result.comparisons[1].to_dict()
    assert data["arms"][0]["arm"] == "base"
    with pytest.raises(FrozenInstanceError):
        result.margin = 1  # type: ignore[misc]
    with pytest.raises(KeyError, match="no arm 'x'"):
        result.arm("x")
    with pytest.raises(KeyError, match="'base' was not compared with 'good'"):
        result.between("base", "good")


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([], {}, "list at least one"),
        ([("good", "base"), ("base", "good")], {}, "'base' and 'good' are compared twice"),
        ([("good", "good")], {}, "cannot be compared with itself"),
        ([("god", "base")], {}, "unknown arm 'god': nearest names are good"),
        ([("good", "base")], {"margin": 0}, "margin 0 must be above 0"),
        ([("good", "base")], {"margin": 101}, "margin 101 must be above 0 and at most 100"),
        ([("good", "base")], {"margin": float("nan")}, "margin nan"),
        ([("good", "base")], {"alpha": 0}, "alpha 0 must be above 0"),
        ([("good", "base")], {"alpha": 0.95}, "alpha 0.95 must be above 0 and at most 0.5"),
        ([("good", "base")], {"resamples": 5}, "resamples 5 must be at least 100"),
    ],
)
def test_bad_input(pairs: list[tuple[str, str]], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_pairs(study(), pairs, **options)  # type: ignore[arg-type]


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="nothing to compare with 'a'"):
        compare({"a": {1: 0.5, 2: 0.5}}, "a")
    with pytest.raises(ValueError, match="unknown arm 'c'"):
        compare({"a": {1: 0.5, 2: 0.5}, "b": {1: 0.5, 2: 0.5}}, "c")


def test_needs_neither_torch_nor_lightning() -> None:
    code = (
        "import sys, studies.engine.compare;"
        "print(*(name in sys.modules for name in ('torch', 'lightning', 'mlflow', 'optuna')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"] * 4
