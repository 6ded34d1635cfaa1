"""Strength variances, and the draw that has the smallest."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from initializers import HeNormal, Initializer, LayerContext, Rewired, StrengthStabilized
from initializers.job import Job
from initializers.strength import strength_variance


def test_variances_of_strengths() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 4.0, 0.0]])
    inputs, outputs = strength_variance(weight)
    assert inputs == pytest.approx((9 + 9 + 0) / 3)  # 0, 6, 3 around their mean 3
    assert inputs == pytest.approx(strength_variance(weight.T).outputs)
    assert outputs == pytest.approx(1.5**2)  # 6 and 3
    assert strength_variance(weight).mean == pytest.approx((inputs + outputs) / 2)


def test_inputs_of_different_groups_are_different_inputs() -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert strength_variance(weight, groups=2).inputs == pytest.approx(1.25)  # 1, 2, 3, 4
    assert strength_variance(weight).inputs == pytest.approx(1.0)  # 4 and 6
    assert strength_variance(weight.view(2, 2, 1, 1)) == strength_variance(weight)


def mean_variance(layer: nn.Linear) -> float:
    return strength_variance(layer.weight.detach()).mean


def test_one_try_is_the_base_and_more_are_never_worse() -> None:
    layer, seeds = nn.Linear(12, 9), range(8)
    means = []
    for tries in (1, 2, 10, 100):
        found = []
        for seed in seeds:
            StrengthStabilized(HeNormal(), tries=tries)(layer, seed=seed)
            found.append(mean_variance(layer))
            if tries == 1:
                kept = layer.weight.clone()
                HeNormal()(layer, seed=seed)
                assert torch.equal(layer.weight, kept)
        means.append(found)
    for fewer, more in itertools.pairwise(means):
        assert all(two <= one for one, two in zip(fewer, more, strict=True))
    ratio = torch.tensor(means[-1]).mean() / torch.tensor(means[0]).mean()
    assert float(ratio) < 0.6


@dataclass(frozen=True)
class Recorder(HeNormal):
    drawn: ClassVar[list[Tensor]] = []

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        super().fill(weight, context)
        self.drawn.append(weight.clone())


def test_the_best_of_all_draws_is_kept() -> None:
    layer, drawn = nn.Linear(7, 5), Recorder.drawn
    drawn.clear()
    record = StrengthStabilized(Recorder(), tries=20)(layer, seed=1)
    assert len(drawn) == 20
    assert len({tuple(weight.flatten().tolist()) for weight in drawn}) == 20
    best = min(drawn, key=lambda weight: strength_variance(weight).mean)
    assert torch.equal(layer.weight, best)
    first, last = (strength_variance(weight).mean for weight in (drawn[0], best))
    assert record.layers[0].note == f"strength variance {first:.4g} to {last:.4g} (20 draws)"


def test_embeddings_keep_the_first_draw() -> None:
    one, two = nn.Embedding(9, 4), nn.Embedding(9, 4)
    HeNormal()(one, seed=0)
    record = StrengthStabilized(HeNormal())(two, seed=0)
    assert torch.equal(one.weight, two.weight)
    assert record.layers[0].note == "embedding: the first draw is kept"


def test_rewiring_follows() -> None:
    stable, rewired = nn.Linear(64, 64), nn.Linear(64, 64)
    base = StrengthStabilized(HeNormal(), tries=5)
    base(stable, seed=2)
    Rewired(base)(rewired, seed=2)
    assert torch.equal(
        stable.weight.flatten().sort().values, rewired.weight.flatten().sort().values
    )
    assert mean_variance(rewired) < 0.2 * mean_variance(stable)


@dataclass(frozen=True)
class Whole(Initializer):
    def fill(self, weight: Tensor, context: LayerContext) -> None:
        weight.fill_(1.0)

    def run(self, job: Job) -> None:
        super().run(job)


@dataclass(frozen=True)
class Together(Rewired):
    def rewrite_all(self, weights: object, contexts: object) -> None:
        raise AssertionError


@pytest.mark.parametrize("base", [Whole(), Rewired(Whole()), Together(HeNormal())])
def test_a_base_that_treats_the_module_as_a_whole_is_refused(base: Initializer) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(ValueError, match="StrengthStabilized draws each weight anew, but"):
        StrengthStabilized(base)(layer, seed=0)
    assert torch.equal(before, layer.weight)


def test_a_value_that_is_refused() -> None:
    with pytest.raises(ValueError, match=r"StrengthStabilized: tries must be in \[1, inf\), got 0"):
        StrengthStabilized(tries=0)
