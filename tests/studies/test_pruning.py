"""Pruning paired by seed."""

import math

import numpy as np
import pytest

from studies.engine.pruning import paired_noise, should_prune


def test_noise_is_recovered_and_blind_to_trial_and_seed_effects() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.01, (400, 5))
    table = noise + generator.normal(0, 0.3, (1, 5))
    # 200 better trials x 5 seeds leave about 800 degrees of freedom; selecting the better half
    # by its mean does not touch the residual, which is independent of the mean.
    estimate = paired_noise(table.tolist())
    assert abs(estimate / 0.01 - 1) < 4 / math.sqrt(2 * 199 * 4)


def test_noise_of_additive_values_is_zero() -> None:
    table = [[trial + seed for seed in (0.0, 0.1, 0.4)] for trial in (0.5, 0.6, 0.2, 0.1)]
    assert paired_noise(table) == pytest.approx(0.0, abs=1e-12)


# Noise among the better half [[.90,.92],[.88,.92]]: residuals +-.005, so sqrt(4*.005^2/1) = .01.
COMPLETED = [[0.90, 0.92], [0.88, 0.92], [0.5, 0.5], [0.4, 0.4]]


def test_threshold_is_two_standard_errors_on_the_same_seed() -> None:
    # One seed: 2 * sqrt(2) * 0.01 = 0.0283 below the best trial's 0.90 on that seed.
    assert not should_prune([0.8718], COMPLETED)
    assert should_prune([0.8716], COMPLETED)


def test_nothing_is_pruned_before_the_noise_is_known() -> None:
    assert not should_prune([0.0], COMPLETED[:3])
    assert not should_prune([0.0], [[0.9]] * 10)
