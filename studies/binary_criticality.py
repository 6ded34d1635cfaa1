"""Do binary networks train deeper the closer the means of their weights start to +-1?

    python -m studies.binary_criticality [--data-root FOLDER] [options]

Stamatescu et al. 2020, "Critical initialisation in continuous approximations of binary neural
networks" (arXiv 1902.00177); abstract and introduction were available, surrogate and mean-field
theory are derived (`initializers.theory.binary_surrogate`). E M^2 is the means' second moment.
"""

from __future__ import annotations

from typing import Any

from initializers.theory import binary_surrogate, logistic
from studies.engine.claims import Evidence, Finding, expect
from studies.engine.compare import final
from studies.engine.run import Arm
from studies.engine.study import Study

_WIDTH, _TRAINED = 100, 0.5  # a network counts as trained from this test accuracy on
_NEAR = {f"E M^2 = {v:g}": v for v in (0.5, 0.9, 0.99, 0.999)}
_SECOND_MOMENTS = {"Glorot": 1.0 / _WIDTH, "uniform": 1.0 / 3.0, **_NEAR}  # of hidden layers
_SPECS: dict[str, dict[str, Any]] = {
    "Glorot": {"name": "glorot_normal"},
    "uniform": {"name": "uniform_means"},
    **{family: {"name": "two_point_means", "variance": v} for family, v in _NEAR.items()},
}
_DEPTHS = {
    family: (3, 10, 30, 100) if second >= 0.9 else (3, 10, 30)
    for family, second in _SECOND_MOMENTS.items()
}


def _label(family: str, depth: int) -> str:
    return f"{family}, {depth} layers"


def _arm(family: str, depth: int) -> Arm:
    widths = "-".join([str(_WIDTH)] * (depth - 1))
    return Arm(
        _label(family, depth),
        _SPECS[family],
        overrides={"network": f"mlp:hidden={widths},bias=false"},
        family=family,
        method={"name": "binary_surrogate"},
        at={"depth": depth},
    )


def trainable_depth(family: str) -> float:
    """Six depth scales of the mean-field theory without biases, in layers."""
    return 6.0 * binary_surrogate(logistic(), _SECOND_MOMENTS[family]).correlation_depth()


_EXPECTED = {
    (_label(near, depth), _label(far, depth)): ("better",)
    for near, far, depth in (
        ("E M^2 = 0.99", "Glorot", 30),
        ("E M^2 = 0.99", "uniform", 30),
        ("E M^2 = 0.9", "E M^2 = 0.5", 30),
        ("E M^2 = 0.99", "E M^2 = 0.9", 100),
    )
}


def judge(evidence: Evidence) -> Finding:
    """Of the four comparisons beyond the depth at which the theory gives up on the one side."""
    finding = expect(_EXPECTED)(evidence)
    told = []
    for family, depths in _DEPTHS.items():
        trained = [
            d for d in depths if evidence.mean(_label(family, d), "test_accuracy") >= _TRAINED
        ]
        told.append(
            f"{family}: {max(trained, default='none')} of {depths[-1]} (theory "
            f"{trainable_depth(family):.3g})"
        )
    return Finding(
        finding.verdict,
        f"{finding.reason} Deepest networks with at least {100 * _TRAINED:g} % test accuracy, in "
        f"layers, of the deepest tried, and the theory's six depth scales: {'; '.join(told)}.",
    )


STUDY = Study(
    name="binary_criticality",
    title="How deep binary networks train, by the means of their weights",
    question=(
        "Up to which depth does a network with random binary weights train through its "
        "deterministic surrogate, if the weights' means start close to +-1, or by usual rules?"
    ),
    claim=(
        "means near +-1 train deeper networks, and the usual initialisations of the means, uniform "
        "or Glorot's, fail (Stamatescu et al. 2020)"
    ),
    arms=tuple(_arm(family, depth) for family, depths in _DEPTHS.items() for depth in depths),
    families=(),
    comparisons=tuple(_EXPECTED),
    primary=tuple(_EXPECTED),
    also=(
        final("test_accuracy_sampled", "accuracy of one binary network"),
        final("test_accuracy_sign", "accuracy of the likelier signs"),
    ),
    margin=2.0,
    data="mnist",
    recipes={
        "mnist": {
            "network": f"mlp:hidden={_WIDTH}-{_WIDTH},bias=false", "epochs": 1, "batch_size": 64,
            "lr": 0.03, "train_limit": 12_800, "seeds": 8,
        },
    },
    quick={"train_limit": 3_200, "seeds": 2},
    judge=judge,
    reduced=(
        "Width 100, four depths up to 100 and one training of 200 steps on 12,800 examples, at one "
        "learning rate that was chosen on another seed; the families that the theory "
        "gives up before 10 layers are not tried at 100."
    ),
    duration="4 min quick, 8 min full",
)  # fmt: skip

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
