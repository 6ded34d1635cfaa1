"""What the studies over depth conclude from accuracies that are made up."""

from collections.abc import Mapping

import pytest

from studies import dynamical_isometry, weightnorm_depth
from studies.engine.claims import Evidence
from studies.engine.compare import compare_pairs

Accuracies = Mapping[tuple[str, int], float]


def evidence(accuracies: Accuracies) -> Evidence:
    """Three seeds of every (line, depth), a thousandth apart."""
    rows = [
        {
            "arm": f"{line}, {depth} layers",
            "seed": seed,
            "val_accuracy": value + 0.001 * seed,
            "test_accuracy": value + 0.001 * seed,
        }
        for (line, depth), value in accuracies.items()
        for seed in range(3)
    ]
    same = {0: 0.1, 1: 0.2}  # judged are the rows alone
    return Evidence(compare_pairs({"a": same, "b": same}, [("a", "b")], margin=1.0), rows)


def weight_norm(proposed: Accuracies, slow: Accuracies) -> Evidence:
    lines = ("proposed", "data-dependent", "data-dependent, rate 1e-4", "He")
    plain = {(line, depth): 0.1 for line in lines for depth in weightnorm_depth.DEPTHS}
    good = {("proposed", depth): 0.9 for depth in weightnorm_depth.DEPTHS}
    return evidence({**plain, **good, **proposed, **slow})


@pytest.mark.parametrize(
    ("proposed", "slow", "verdict"),
    [
        ({}, {2: 0.9, 20: 0.3}, "reproduced"),  # the smaller rate counts where it is better
        ({200: 0.15}, {2: 0.9, 20: 0.3}, "not reproduced"),
        ({}, {2: 0.9, 20: 0.15}, "not reproduced"),
        ({}, {2: 0.9, 20: 0.3, 100: 0.3}, "not reproduced"),
    ],
)
def test_weight_normalisation(
    proposed: Mapping[int, float], slow: Mapping[int, float], verdict: str
) -> None:
    finding = weightnorm_depth.judge(
        weight_norm(
            {("proposed", depth): value for depth, value in proposed.items()},
            {("data-dependent, rate 1e-4", depth): value for depth, value in slow.items()},
        )
    )
    assert finding.verdict == verdict


@pytest.mark.parametrize(
    ("gaussian", "orthogonal", "verdict"),
    [(50, 200, "reproduced"), (20, 200, "undecided"), (20, 10, "not reproduced")],
)
def test_dynamical_isometry(gaussian: int, orthogonal: int, verdict: str) -> None:
    """He trains to 20 layers, and only at the larger rate."""
    reached = {
        "He": 0,
        "He, rate 1e-2": 20,
        "Gaussian submatrix": gaussian,
        "orthogonal submatrix": orthogonal,
        "ternary submatrix": 10,
        "orthogonal, gain sqrt 2": 0,
    }
    finding = dynamical_isometry.judge(
        evidence(
            {
                (line, depth): 0.8 if depth <= last else 0.2
                for line, last in reached.items()
                for depth in dynamical_isometry.DEPTHS
            }
        )
    )
    assert finding.verdict == verdict
    assert "He 20 (80.1, 80.1, 20.1, 20.1, 20.1 %)" in finding.reason
