"""Does evening out the neurons' strengths, by rewiring, help a network to learn?

    python -m studies.neuronal_rewiring [--data mnist --data-root FOLDER] [options]

Scabini, De Baets and Bruno 2022, "Improving Deep Neural Network Random Initialization Through
Neuronal Rewiring" (arXiv 2207.08148). The strength of a neuron is the signed sum of its weights;
rewiring by preferential attachment moves the weights within a layer so that strengths even out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from studies.engine.claims import Evidence, Finding, expect
from studies.engine.compare import TEST_ACCURACY, Outcome, after_epoch
from studies.engine.run import Arm
from studies.engine.study import Study

BASES: Mapping[str, Mapping[str, Any]] = {
    "He": {"name": "he_normal"},
    "Glorot": {"name": "glorot_normal"},
    "orthogonal": {"name": "orthogonal"},
    "ternary": {"name": "ternary"},
}
RATIO = Outcome(
    "strength_ratio", "variance of strengths", "diagnostics.strength_ratio", unit="",
    difference="", scale=1.0, low=0.0, high=math.inf, higher_is_better=False,
)  # fmt: skip
_PAIRS = tuple((f"{base} rewired", base) for base in BASES)
_STABLE = ("orthogonal stabilised", "orthogonal")
# The paper's table: a gain at epoch 1 on orthogonal weights, nothing lost on Kaiming-normal ones.
_learning = expect(
    {
        ("orthogonal rewired", "orthogonal"): ("better",),
        ("He rewired", "He"): ("better", "equivalent"),
    }
)


def judge(evidence: Evidence) -> Finding:
    """Reproduced if rewiring evens out strengths on every base, and helps as the paper's table."""
    shares = {
        base: evidence.mean(rewired, RATIO.name) / evidence.mean(base, RATIO.name)
        for rewired, base in _PAIRS
    }
    told = ", ".join(f"{base} {share:.3f}" for base, share in shares.items())
    learning = _learning(evidence)
    reason = f"Rewiring multiplies the variance of strengths by: {told}. {learning.reason}"
    verdict = learning.verdict if max(shares.values()) < 1 else "not reproduced"
    return Finding(verdict, reason)


STUDY = Study(
    name="neuronal_rewiring",
    title="Neuronal rewiring against its base initialisations",
    question=(
        "Does rewiring an initialisation, so that the strengths of neurons even out, make a "
        "network better after its first epoch?"
    ),
    claim=(
        "preferential-attachment rewiring lowers the variance of strengths and helps early "
        "training, on orthogonal weights above all (Scabini, De Baets and Bruno 2022)"
    ),
    arms=(
        *(Arm(label, base) for label, base in BASES.items()),
        *(Arm(f"{label} rewired", {"name": "rewired", "base": b}) for label, b in BASES.items()),
        Arm(_STABLE[0], {"name": "strength_stabilized", "base": BASES["orthogonal"]}),
    ),
    families=(),
    comparisons=(*_PAIRS, _STABLE),
    primary=_PAIRS,
    outcome=after_epoch(1),
    also=(RATIO, after_epoch(1, "train_accuracy", "training accuracy"), TEST_ACCURACY),
    data="all",
    recipes={
        "mnist": {"epochs": 3, "seeds": 60, "train_limit": 6000},
        "cifar10": {"epochs": 2, "seeds": 40, "train_limit": 6000, "batch_size": 100, "lr": 1e-3},
    },
    quick={"epochs": 2, "seeds": 5, "train_limit": 3000},
    places=({"data": "mnist"}, {"data": "cifar10", "network": "mlp:hidden=100-100-100-100"}),
    judge=judge,
    reduced=(
        "fully connected networks and 6,000 training examples instead of ResNet50, a vision "
        "transformer and ConvMixer on all of CIFAR-10; 60 and 40 seeds instead of 100"
    ),
    duration="2 min quick, 11 min full",
)

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
