"""Rewiring: the exact law of a pass by enumeration, what it keeps, and what it evens out."""

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from initializers import HeNormal, Orthogonal, Rewired, Ternary, get_initializer, preferential
from initializers.preferential import attach_rows
from initializers.rewiring import rewire_
from initializers.strength import strength_variance


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def he(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=generator(seed)) * (2.0 / columns) ** 0.5


def odds(strength: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    return (strength + abs(strength.min()) + 1.0) ** (1.0 / temperature)


def orders(rates: np.ndarray) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every order of drawing all items one after the other, with its probability."""
    for order in itertools.permutations(range(len(rates))):
        chance, left = 1.0, float(rates.sum())
        for item in order:
            chance *= rates[item] / left
            left -= rates[item]
        yield order, chance


def law_of_pass(matrix: np.ndarray) -> dict[tuple[float, ...], float]:
    """All results of one pass with their probabilities, by the definition."""
    results = {tuple(matrix[0]): 1.0}
    for row in matrix[1:]:
        longer: Counter[tuple[float, ...]] = Counter()
        for above, chance in results.items():
            strength = np.array(above).reshape(-1, len(row)).sum(0)
            for order, probability in orders(odds(strength)):
                placed = np.empty(len(row))
                placed[list(order)] = np.sort(row)
                longer[(*above, *placed)] += chance * probability
        results = dict(longer)
    return results


def law(matrix: np.ndarray) -> dict[tuple[float, ...], float]:
    """All results of both passes with their probabilities."""
    total: Counter[tuple[float, ...]] = Counter()
    rows, columns = matrix.shape
    for first, chance in law_of_pass(matrix).items():
        turned = np.array(first).reshape(rows, columns).T
        for second, probability in law_of_pass(turned).items():
            back = np.array(second).reshape(columns, rows).T
            total[tuple(back.ravel())] += chance * probability
    return dict(total)


def p_value(seen: Counter[tuple[float, ...]], expected: dict[tuple[float, ...], float]) -> float:
    """Chi-squared of counts against probabilities; the rare outcomes count as one."""
    assert sum(expected.values()) == pytest.approx(1.0)
    assert set(seen) <= set(expected)
    count = sum(seen.values())
    common = [key for key, chance in expected.items() if chance * count >= 8]
    observed = [seen[key] for key in common]
    wanted = [expected[key] * count for key in common]
    observed.append(count - sum(observed))
    wanted.append(count - sum(wanted))
    if wanted[-1] < 1e-6:
        assert observed.pop() == 0
        wanted.pop()
    return float(stats.chisquare(observed, wanted).pvalue)


@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
@pytest.mark.parametrize("strength", [[0.3, -0.9, 1.7, 0.0], [0.5, 2.0, 1.0, 4.0]])
def test_the_order_has_the_law_of_a_sequential_draw(
    strength: list[float], temperature: float
) -> None:
    """40,000 draws, also where the lowest strength is positive and adds to the odds."""
    matrices = np.empty((2, 40_000, 4))
    matrices[0], matrices[1] = strength, np.arange(4.0)
    attach_rows(matrices, temperature, generator())
    seen = Counter(map(tuple, matrices[1].argsort(1).tolist()))
    assert np.array_equal(matrices[0], np.broadcast_to(strength, (40_000, 4)))
    expected = dict(orders(odds(np.array(strength), temperature)))
    assert p_value(seen, expected) > 1e-3


def test_both_passes_have_the_exact_law() -> None:
    """All arrangements of a 3x3 matrix against 60,000 draws: the groups of one convolution."""
    matrix = np.array([[0.5, -1.0, 2.0], [1.0, 0.25, -0.75], [-2.0, 3.0, 1.5]])
    count = 60_000
    weight = torch.from_numpy(np.tile(matrix, (count, 1)))
    rewire_(weight, generator(1), groups=count)
    expected = law(matrix)
    assert len(expected) > 500
    seen = Counter(map(tuple, weight.view(count, 9).tolist()))
    assert p_value(seen, expected) > 1e-3


def sequential(weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Both passes written down as published, with NumPy's draw without replacement."""
    weight = weight.astype(np.float64)
    for side in (weight, weight.T):
        strength = np.zeros(side.shape[1])
        for i in range(1, len(side)):
            strength += side[i - 1]
            rates = odds(strength)
            order = random.choice(len(rates), len(rates), replace=False, p=rates / rates.sum())
            side[i, order] = np.sort(side[i])
    return weight


def test_moments_equal_those_of_the_sequential_loop() -> None:
    """Mean and mean square of both residual variances, within 4 standard errors of 300 runs."""
    start, random = he(20, 14) * 2.0, np.random.default_rng(0)
    runs = [torch.from_numpy(sequential(start.numpy(), random)) for _ in range(300)]
    many = rewire_(start.repeat(3000, 1), generator(2), groups=3000).split(20)
    theirs, ours = (
        np.array([strength_variance(weight) for weight in weights]) for weights in (runs, many)
    )
    for power in (1, 2):
        one, two = theirs**power, ours**power
        error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two))
        assert (abs(one.mean(0) - two.mean(0)) < 4 * error).all()
    assert (4 * theirs.std(0) / np.sqrt(300) < 0.2 * theirs.mean(0)).all()  # that says something


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.0])
def test_prepared_rows_equal_the_naive_loop_with_the_same_noise(
    dtype: type, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = he(40, 33).numpy().astype(dtype)
    naive, stream, strength = start.copy(), generator(3), np.zeros(33)
    for i in range(1, 40):
        strength += naive[i - 1]
        noise = -torch.empty(33, dtype=torch.float64).uniform_(generator=stream).neg_().log1p_()
        keys = -strength if temperature == 0.0 else noise.numpy() / odds(strength, temperature)
        naive[i, keys.argsort()] = np.sort(naive[i])
    for block in (1, 200, 2**16):
        monkeypatch.setattr(preferential, "_BLOCK", block)
        fast = start.copy()
        attach_rows(fast[:, None], temperature, generator(3))
        assert np.array_equal(fast, naive)


def test_side_by_side_matrices_do_not_mix() -> None:
    matrices = np.random.default_rng(0).normal(size=(30, 5, 8))
    before = matrices.copy()
    attach_rows(matrices, 1.0, generator())
    assert np.array_equal(np.sort(matrices, axis=2), np.sort(before, axis=2))
    assert not np.array_equal(matrices, before)


def test_greedy_takes_equal_columns_in_random_order_and_cold_is_greedy() -> None:
    matrices = np.empty((2, 4000, 3))
    matrices[0], matrices[1] = [1.0, 2.0, 1.0], [5.0, 6.0, 7.0]
    cold = matrices.copy()
    for temperature, case in ((0.0, matrices), (1e-6, cold)):
        attach_rows(case, temperature, generator())
        assert (case[1, :, 1] == 5.0).all()  # the strongest column gets the smallest weight
        assert abs(int((case[1, :, 0] == 6.0).sum()) - 2000) <= 4 * np.sqrt(1000)


def test_hot_is_a_shuffle() -> None:
    matrices = np.empty((2, 12_000, 3))
    matrices[0], matrices[1] = [-5.0, 0.0, 9.0], [0.0, 1.0, 2.0]
    attach_rows(matrices, 1e9, generator())
    seen = Counter(map(tuple, matrices[1].tolist()))
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3
    assert len(seen) == 6


def test_what_each_pass_keeps() -> None:
    start = he(30, 50)
    first = start.clone()
    attach_rows(first.unsqueeze(1).numpy(), 1.0, generator(4))
    both = rewire_(start.clone(), generator(4))
    assert torch.equal(first.sort(1).values, start.sort(1).values)  # moved within rows only
    assert torch.equal(first[0], start[0])
    assert not torch.equal(first[1], start[1])
    assert torch.equal(both.sort(0).values, first.sort(0).values)  # then within columns only
    assert torch.equal(both[:, 0], first[:, 0])
    assert not torch.equal(both[:, 1], first[:, 1])
    assert both[0, 0] == start[0, 0]
    assert torch.allclose(first.sum(1), start.sum(1), atol=1e-6)
    assert torch.allclose(both.sum(0), first.sum(0), atol=1e-6)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3)
        self.grouped = nn.Conv2d(12, 8, 3, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 6, 2, groups=2)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.attention = nn.MultiheadAttention(6, 2)
        self.embedding = nn.Embedding(9, 6)
        self.narrow = nn.Linear(1, 7)
        self.single = nn.Linear(7, 1)


@pytest.mark.parametrize("base", ["he_normal", "orthogonal", "ternary:density=0.3,scale=2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weights_are_those_of_the_base_in_another_order(base: str, dtype: torch.dtype) -> None:
    plain, rewired = Layers().to(dtype), Layers().to(dtype)
    get_initializer(base)(plain, seed=7)
    record = get_initializer(f"rewired:base=({base})")(rewired, seed=7)
    moved = set()
    for (name, one), two in zip(plain.named_parameters(), rewired.parameters(), strict=True):
        assert torch.equal(one.flatten().sort().values, two.flatten().sort().values), name
        if not torch.equal(one, two):
            moved.add(name)
    assert {"conv.weight", "grouped.weight", "transposed.weight"} <= moved
    assert {"attention.in_proj_weight", "attention.out_proj.weight"} <= moved
    assert not moved & {"depthwise.weight", "embedding.weight", "narrow.weight", "single.weight"}
    for group in range(2):  # no weight leaves its group: stored in front, or behind the inputs
        rows, inputs = slice(4 * group, 4 * group + 4), slice(4 * group, 4 * group + 4)
        for one, two in (
            (plain.grouped.weight[rows], rewired.grouped.weight[rows]),
            (plain.transposed.weight[inputs], rewired.transposed.weight[inputs]),
        ):
            assert torch.equal(one.flatten().sort().values, two.flatten().sort().values)
    notes = {layer.name: layer.note for layer in record.layers}
    assert notes["embedding.weight"] == "embedding: not rewired"
    assert notes["conv.weight"].startswith("strength variance of inputs")


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 9), (40, 1), (33, 17)])
def test_small_matrices(rows: int, columns: int) -> None:
    start = he(rows, columns)
    result = rewire_(start.clone(), generator())
    assert torch.equal(result.flatten().sort().values, start.flatten().sort().values)
    assert torch.equal(result, start) is (1 in (rows, columns))


def test_ternary_weights_stay_ternary_with_the_same_counts() -> None:
    layer = nn.Linear(100, 60)
    base = Ternary(density=0.2)
    base(layer, seed=3)
    before = layer.weight.unique(return_counts=True)
    Rewired(base)(layer, seed=3)
    after = layer.weight.unique(return_counts=True)
    assert len(before[0]) == 3
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def remaining(rows: int, columns: int, temperature: float, seeds: int = 5) -> np.ndarray:
    """Mean shares of the variances of input and output strengths that rewiring leaves."""
    shares = []
    for seed in range(seeds):
        weight = he(rows, columns, seed)
        before = strength_variance(weight)
        after = strength_variance(rewire_(weight, generator(seed), temperature=temperature))
        shares.append(np.array(after) / np.array(before))
    return np.mean(shares, axis=0)


def test_strengths_even_out() -> None:
    """The figures of five seeds: 0.04 and 0.045 for a square, 0.24 and 0.026 for a wide kernel."""
    square, wide = remaining(256, 256, 1.0), remaining(64, 576, 1.0)
    assert square == pytest.approx([0.04, 0.045], rel=0.25)
    assert wide == pytest.approx([0.24, 0.026], rel=0.25)
    assert (remaining(128, 128, 0.0) < 1e-2).all()
    shares = [remaining(128, 128, temperature) for temperature in (0.0, 0.5, 1.0, 4.0)]
    assert all((cold < hot).all() for cold, hot in itertools.pairwise(shares))


def test_orthogonality_is_lost() -> None:
    layer = nn.Linear(128, 128)
    Rewired(Orthogonal())(layer, seed=0)
    values = torch.linalg.svdvals(layer.weight.detach().double())
    assert float(values.square().sum()) == pytest.approx(128.0, rel=1e-5)
    assert values[0] > 1.5
    assert values[-1] < 0.05


def test_a_value_that_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Rewired: temperature must be in \[0, inf\), got -1"):
        Rewired(temperature=-1)
    with pytest.raises(ValueError, match="Unknown initialiser 'he_norml'"):
        Rewired("he_norml")  # type: ignore[arg-type]
    assert Rewired(HeNormal()) == get_initializer("rewired:base=he_normal")
    assert repr(Rewired()) == "Rewired()"
    assert not Rewired("zeros:", temperature=0).base.stochastic  # type: ignore[arg-type]
