import numpy as np
import pytest

from studies.engine.compare.pairing import paired_differences, settle, values_of


def test_equal_counts_tie_whatever_the_float_noise() -> None:
    # 0.958 - 0.956 and 0.956 - 0.954 differ in the last bits, also as float32.
    for name in ("float64", "float32"):
        a, b = (
            {seed: float(np.asarray(value, dtype=name)) for seed, value in enumerate(row)}
            for row in ([0.956, 0.958, 0.950, 0.9, 0.7], [0.954, 0.956, 0.952, 0.9, 0.6])
        )
        d = paired_differences({"a": a, "b": b}, "a", "b")
        assert d[0] == d[1] == -d[2] != 0
        assert d[3] == 0
        assert not np.signbit(d[3])
        np.testing.assert_allclose(d, [0.002, 0.002, -0.002, 0, 0.1], atol=2e-7)


@pytest.mark.parametrize("size", [360, 5120, 10_000, 50_000, 1_000_000])
def test_settle_finds_the_true_ties_for_every_test_set_size(size: int) -> None:
    rng = np.random.default_rng(size)
    ours, theirs = rng.integers(size // 2, size // 2 + 12, size=(2, 400))
    exact = ours - theirs
    noisy = (ours / size).astype(np.float32).astype(float) - (theirs / size).astype(np.float32)
    settled = settle(noisy)
    assert np.array_equal(np.sign(settled), np.sign(exact))
    counted = np.unique(np.abs(exact), return_inverse=True)[1]
    assert np.array_equal(np.unique(np.abs(settled), return_inverse=True)[1], counted)


def test_settle_keeps_what_is_apart() -> None:
    values = np.array([0.3, -0.1, 0.0, 2e-6, -4e-6])
    assert np.array_equal(settle(values), values)
    assert settle([]).size == 0


def test_order_is_that_of_the_seeds() -> None:
    results = {"a": {7: 0.5, 1: 0.25}, "b": {1: 0.125, 7: 0.0}}
    assert paired_differences(results, "a", "b").tolist() == [0.125, 0.5]
    assert values_of(results, "a").tolist() == [0.25, 0.5]


def test_missing_seeds_are_named() -> None:
    results = {"a": {1: 0.5, 2: 0.5, 3: 0.5}, "b": {2: 0.25, 3: 0.25, 9: 0.25}}
    with pytest.raises(ValueError, match=r"'a' has no result for seeds 9 of 'b'"):
        paired_differences(results, "a", "b")
    with pytest.raises(ValueError, match=r"'b' has no result for seeds 1 of 'a'"):
        paired_differences(results, "b", "a")
    assert paired_differences(results, "a", "b", common_only=True).tolist() == [0.25, 0.25]
    many = {"a": {1: 0.5, 2: 0.5}, "b": dict.fromkeys(range(1, 20), 0.5)}
    with pytest.raises(ValueError, match=r"seeds 3, 4, .*, 12 and 7 more of 'b'"):
        paired_differences(many, "a", "b")


@pytest.mark.parametrize(
    ("arm", "reference", "message"),
    [
        ("a", "a", "cannot be compared with itself"),
        ("ternari", "a", "unknown arm 'ternari': nearest names are ternary"),
        ("a", "one", "at least 2 seeds, but arm 'one' has 1"),
        ("a", "other", "have 1 in common"),
        ("a", "percent", "seed 2: test accuracy 95.0 must be a fraction"),
        ("a", "nan", "test accuracy nan must be a fraction"),
    ],
)
def test_bad_input_is_one_clear_sentence(arm: str, reference: str, message: str) -> None:
    results = {
        "a": {1: 0.5, 2: 0.5},
        "ternary": {1: 0.5, 2: 0.5},
        "one": {1: 0.5},
        "other": {2: 0.5, 3: 0.5},
        "percent": {1: 0.5, 2: 95.0},
        "nan": {1: 0.5, 2: float("nan")},
    }
    with pytest.raises(ValueError, match=message):
        paired_differences(results, arm, reference, common_only=True)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="seed '1' must be an integer"):
        values_of({"a": {"1": 0.5, "2": 0.5}}, "a")  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="accuracy None must be a number"):
        values_of({"a": {1: 0.5, 2: None}}, "a")  # type: ignore[dict-item]
