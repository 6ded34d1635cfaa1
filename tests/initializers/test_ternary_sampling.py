"""Exact counts, and that every arrangement is equally likely."""

import itertools
import math
from collections import Counter

import pytest
import torch
from scipy import stats

from initializers import ternary_rows
from initializers import ternary_sampling as sampling


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counts(weight: torch.Tensor) -> tuple[int, int]:
    return int((weight > 0).sum()), int((weight < 0).sum())


LARGE = 2**16 + 4321  # beyond the size that is permuted


@pytest.mark.parametrize("size", [1, 2, 7, 1000, LARGE, 3 * LARGE])
@pytest.mark.parametrize("share", [0.0, 1e-4, 0.003, 0.1, 0.5, 0.97, 0.9999, 1.0])
@pytest.mark.parametrize("positive", [0.5, 0.0, 0.3, 1.0])
def test_exact_counts(size: int, share: float, positive: float) -> None:
    nonzeros = round(size * share)
    positives = round(nonzeros * positive)
    weight = torch.full((size,), torch.nan)
    sampling.fill_exact(weight, nonzeros, positives, 0.25, generator(size))
    assert counts(weight) == (positives, nonzeros - positives)
    assert set(weight.unique().tolist()) <= {-0.25, 0.0, 0.25}


@pytest.mark.parametrize(("nonzeros", "positives"), [(2, 1), (3, 1), (4, 2)])
@pytest.mark.parametrize("large", [False, True])
def test_all_arrangements_are_equally_likely(
    nonzeros: int, positives: int, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chi-squared over all arrangements of 4 weights, for both algorithms."""
    if large:
        monkeypatch.setattr(sampling, "_SMALL", 0)
    stream, weight = generator(), torch.empty(4)
    seen = Counter()
    for _ in range(3000):
        sampling.fill_exact(weight, nonzeros, positives, 1.0, stream)
        seen[tuple(weight.tolist())] += 1
    letters = [1.0] * positives + [-1.0] * (nonzeros - positives) + [0.0] * (4 - nonzeros)
    arrangements = set(itertools.permutations(letters))
    assert set(seen) == arrangements
    assert stats.chisquare([seen[a] for a in arrangements]).pvalue > 1e-3


def test_a_dense_draw_favours_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-squared of the place of the only zero, of the only 1, and of their distance."""
    monkeypatch.setattr(sampling, "_SMALL", 0)
    size, stream, weight = 32, generator(), torch.empty(32)
    zero, one, distance = Counter(), Counter(), Counter()
    for _ in range(2000):
        sampling.fill_exact(weight, size - 1, 1, 1.0, stream)
        assert counts(weight) == (1, size - 2)
        first, second = int((weight == 0).nonzero()), int(weight.argmax())
        zero[first] += 1
        one[second] += 1
        distance[(second - first) % size] += 1
    assert distance.pop(0, 0) == 0
    for seen, places in ((zero, size), (one, size), (distance, size - 1)):
        assert len(seen) == places
        assert stats.chisquare(list(seen.values())).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.002, 0.1, 0.5, 0.9, 0.97, 0.9995, 1.0])
def test_large_draws_favour_no_position(share: float) -> None:
    """Summed over draws, each stretch of positions gets its share of non-zero weights and signs."""
    stretches, rounds = 16, 12
    size = stretches * 2**13
    nonzero, sign = torch.zeros(stretches), torch.zeros(stretches)
    weight, nonzeros = torch.empty(size), round(size * share)
    for seed in range(rounds):
        sampling.fill_exact(weight, nonzeros, nonzeros // 2, 1.0, generator(seed))
        nonzero += weight.abs().view(stretches, -1).sum(1)
        sign += weight.view(stretches, -1).sum(1)
    expected = rounds * nonzeros / stretches
    spread = math.sqrt(expected * (1 - share) * (1 - 1 / stretches))
    assert float((nonzero - expected).abs().max()) <= 4 * spread + 1e-6
    assert float(sign.abs().max()) <= 4 * math.sqrt(expected)


def test_neighbours_are_independent() -> None:
    """Four weights come from one 64-bit draw; they must not be correlated."""
    weight = torch.empty(2**18)
    sampling.fill_exact(weight, 2**17, 2**16, 1.0, generator())
    for lag in (1, 2, 3, 4, 2**16):
        product = float((weight[lag:] * weight[:-lag]).mean())
        both = float((weight[lag:] * weight[:-lag]).abs().mean())
        assert abs(product) <= 4 * 0.5 / math.sqrt(2**18)
        assert abs(both - 0.25) <= 4 * 0.5 / math.sqrt(2**18)


def test_signs() -> None:
    stream = generator()
    assert {sampling.count_positive(10, "balanced", stream) for _ in range(20)} == {5}
    odd = Counter(sampling.count_positive(11, "balanced", stream) for _ in range(400))
    assert set(odd) == {5, 6}
    assert abs(odd[5] - 200) <= 4 * 10
    heads = Counter(sampling.count_positive(6, "random", stream) for _ in range(2000))
    law = [2000 * stats.binom.pmf(k, 6, 0.5) for k in range(7)]
    assert stats.chisquare([heads[k] for k in range(7)], law).pvalue > 1e-3


def test_counts_of_independent_trials() -> None:
    stream = generator()
    drawn = torch.tensor([sampling.draw_count(65536, 0.1, stream) for _ in range(500)]).double()
    spread = math.sqrt(65536 * 0.09)
    assert float(drawn.mean()) == pytest.approx(6553.6, abs=4 * spread / math.sqrt(500))
    assert float(drawn.std()) == pytest.approx(spread, rel=4 / math.sqrt(1000))
    assert sampling.draw_count(10, 0.0, stream) == 0
    assert sampling.draw_count(10, 1.0, stream) == 10


def test_rounding_is_half_up_and_free_of_float_noise() -> None:
    assert [sampling.round_half_up(x) for x in (0.49, 0.5, 1.5, 2.5)] == [0, 1, 2, 3]
    assert sampling.round_half_up((1 - (1 - 0.1)) * 25) == sampling.round_half_up(0.1 * 25) == 3


@pytest.mark.parametrize(("rows", "columns", "per_row"), [(7, 5, 2), (300, 400, 37), (4, 6, 6)])
def test_rows(rows: int, columns: int, per_row: int) -> None:
    weight = torch.full((rows, columns), torch.nan)
    sampling.fill_rows(weight, per_row, "balanced", 0.5, generator())
    assert weight.count_nonzero(1).tolist() == [per_row] * rows
    positive, negative = counts(weight)
    assert positive + negative == rows * per_row
    assert abs(positive - negative) <= 1


ALGORITHMS = {
    "keys": {},
    "guesses": {"_SMALL": 0, "_FEW": 0},
    "guesses and the last rows one by one": {"_SMALL": 0},
    "one by one": {"_SMALL": 0, "_ROUNDS": 0},
    "small blocks": {"_SMALL": 0, "_FEW": 0, "_BLOCK": 8, "_SLOTS": 3},
}


@pytest.fixture(params=ALGORITHMS.values(), ids=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in request.param.items():
        for module in (sampling, ternary_rows):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, number)


@pytest.mark.usefixtures("algorithm")
@pytest.mark.parametrize("per_row", [1, 2, 3, 5])
def test_rows_choose_every_set_equally_often(per_row: int) -> None:
    """Chi-squared over the sets of columns; the rows of a matrix are independent draws."""
    weight, stream = torch.empty(300, 6), generator(per_row)
    seen = Counter()
    for _ in range(10):
        sampling.fill_rows(weight, per_row, "random", 1.0, stream)
        seen.update(map(tuple, weight.nonzero()[:, 1].view(-1, per_row).tolist()))
    sets = set(itertools.combinations(range(6), per_row))
    assert set(seen) == sets
    assert stats.chisquare([seen[s] for s in sets]).pvalue > 1e-3


@pytest.mark.usefixtures("algorithm")
@pytest.mark.parametrize("per_row", [1, 2])
def test_rows_and_signs_together_are_equally_likely(per_row: int) -> None:
    """Chi-squared over all arrangements of a 2x3 matrix with balanced signs."""
    letters = [1.0] * per_row + [-1.0] * per_row + [0.0] * (6 - 2 * per_row)
    arrangements = {
        a
        for a in itertools.permutations(letters)
        if a[:3].count(0.0) == a[3:].count(0.0) == 3 - per_row
    }
    weight, stream = torch.empty(2, 3), generator(per_row)
    seen = Counter()
    for _ in range(30 * len(arrangements)):
        sampling.fill_rows(weight, per_row, "balanced", 1.0, stream)
        seen[tuple(weight.view(-1).tolist())] += 1
    assert set(seen) == arrangements
    assert stats.chisquare([seen[a] for a in arrangements]).pvalue > 1e-3


@pytest.mark.usefixtures("algorithm")
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 9), (40, 1), (33, 17), (7, 300)])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.2, 0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_row_counts(rows: int, columns: int, share: float, dtype: torch.dtype) -> None:
    per_row = min(columns, max(1, round(share * columns)))
    for signs in sampling.SIGNS:
        weight = torch.full((rows, columns), torch.nan, dtype=dtype)
        sampling.fill_rows(weight, per_row, signs, 0.25, generator(rows))
        assert weight.count_nonzero(1).tolist() == [per_row] * rows
        assert set(weight.unique().tolist()) <= {-0.25, 0.0, 0.25}
        positive, negative = counts(weight)
        assert abs(positive - negative) <= (1 if signs == "balanced" else rows * columns)


@pytest.mark.parametrize("per_row", [1, 8, 40, 200, 512, 900, 1023])
def test_large_rows_favour_no_column_and_no_sign(per_row: int) -> None:
    """Sums over columns and rows scatter as independent draws do: within 4.5 standard errors.

    ``sum((count - mean)^2) / variance`` over n columns is chi-squared with n - 1 degrees of
    freedom, whose standard deviation is sqrt(2 (n - 1)).
    """
    rows, columns = 600, 1024
    weight = torch.empty(rows, columns)
    sampling.fill_rows(weight, per_row, "balanced", 1.0, generator(per_row))
    assert weight.count_nonzero(1).tolist() == [per_row] * rows
    assert counts(weight) == (rows * per_row // 2, rows * per_row // 2)
    share = per_row / columns
    checks = [
        (weight.abs().sum(0) - rows * share, rows * share * (1 - share) * columns / (columns - 1)),
        (weight.sum(0), rows * share),
        (weight.sum(1), per_row),
    ]
    for deviation, variance in checks:
        freedom = len(deviation) - 1
        scatter = float(deviation.double().square().sum()) / variance
        assert abs(scatter - freedom) <= 4.5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("per_row", [5, 90, 310])
def test_rows_are_reproducible(per_row: int) -> None:
    """The same bits whatever the number of threads, and where torch must be deterministic."""
    threads, drawn = torch.get_num_threads(), []
    for number in (1, 2):
        weight = torch.empty(1000, 320)
        try:
            torch.set_num_threads(number)
            torch.use_deterministic_algorithms(True)
            sampling.fill_rows(weight, per_row, "random", 1.0, generator())
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)
        drawn.append(weight)
    assert torch.equal(*drawn)


def test_long_rows_are_drawn_in_pieces() -> None:
    weight = torch.empty(3, 2**16 + 500)
    for per_row in (100, 30_000, 66_000):
        sampling.fill_rows(weight, per_row, "balanced", 1.0, generator())
        assert weight.count_nonzero(1).tolist() == [per_row] * 3
        assert counts(weight) == (3 * per_row // 2, 3 * per_row // 2)


def test_settling_adds_and_removes() -> None:
    weight = torch.ones(50, 40)
    weight[::2] = 0.0
    need = torch.arange(50) % 40
    wanted = torch.where(torch.arange(50) % 2 == 0, need, 40 - need)
    need[1::2] *= -1
    ternary_rows.settle_rows(weight, need, lambda count: -torch.ones(count), generator())
    assert torch.equal(weight.count_nonzero(1), wanted)
    assert not need.any()
    assert (weight[::2] <= 0).all()
    assert (weight[1::2] >= 0).all()


@pytest.mark.parametrize(
    ("rows", "columns", "per_row", "groups"),
    [(12, 8, 3, 1), (12, 8, 2, 2), (50, 7, 5, 1), (30, 100, 1, 3), (9, 4, 4, 1), (6, 40, 39, 2)],
)
def test_rows_and_columns(rows: int, columns: int, per_row: int, groups: int) -> None:
    for seed in range(5):
        weight = torch.full((rows, columns), torch.nan)
        sampling.fill_rows_and_columns(weight, per_row, groups, "balanced", 0.5, generator(seed))
        assert weight.count_nonzero(1).tolist() == [per_row] * rows
        for block in weight.chunk(groups):
            mean = len(block) * per_row / columns
            held = set(block.count_nonzero(0).tolist())
            assert held <= {math.floor(mean), math.ceil(mean)}
        positive, negative = counts(weight)
        assert abs(positive - negative) <= 1


def test_rows_and_columns_choose_columns_evenly() -> None:
    total = torch.zeros(5, 7)
    for seed in range(600):
        weight = torch.empty(5, 7)
        sampling.fill_rows_and_columns(weight, 3, 1, "random", 1.0, generator(seed))
        total += weight.abs()
    expected = 600 * 3 / 7
    assert float((total - expected).abs().max()) <= 4.5 * math.sqrt(expected * 4 / 7)
