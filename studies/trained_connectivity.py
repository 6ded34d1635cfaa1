"""Is it enough to train which connections exist, and leave the weights as they were drawn?

    python -m studies.trained_connectivity [--data-root FOLDER] [options]

Ivan & Florian 2020, "Training highly effective connectivities within neural networks with randomly
initialized, fixed weights" (arXiv 2006.16627): connections are removed or their signs flipped. Of
the paper the abstract was available, of the method the authors' code.
"""

from __future__ import annotations

from typing import Any

from studies.engine.claims import Evidence, Finding
from studies.engine.compare import final
from studies.engine.run import Arm
from studies.engine.study import Study

_SHARE, _RATIO = 0.10, 0.90  # of the claim: under so many changed, over so much of the accuracy
_ODD = "asymmetric"
_KERNELS: dict[str, dict[str, Any]] = {
    "He": {"name": "he_normal"},
    "constant": {"name": "asymmetric_constant"},
    _ODD: {"name": "asymmetric_constant", "positive": 0.75},
}
_MINIMAL, _FREE = ("min_pruning", "min_flipping"), ("free_pruning", "free_flipping")
_TRAINED = [(m, k) for m in (*_MINIMAL, *_FREE) for k in _KERNELS if m in _MINIMAL or k != _ODD]


def _label(mode: str, kernel: str) -> str:
    return f"{mode.replace('_', ' ')}, {kernel}"


def judge(evidence: Evidence) -> Finding:
    """Of the minimal modes with He and constant weights, against trained He weights by seed.

    Asymmetric weights are told beside it: the claim's figures do not speak of them.
    """
    base = evidence.values("weights, He", "test_accuracy")
    agree, told = [], dict[str, str]()
    for kernel in _KERNELS:
        for arm in (_label(mode, kernel) for mode in _MINIMAL):
            accuracy = evidence.values(arm, "test_accuracy")
            ratio = min(accuracy[seed] / base[seed] for seed in base)
            changed = max(evidence.values(arm, "changed").values())
            if kernel != _ODD:
                agree.append(ratio > _RATIO and changed < _SHARE)
            told[arm] = f"{arm} {100 * ratio:.1f} % with {100 * changed:.1f} % changed"
    odd = [told.pop(_label(mode, _ODD)) for mode in _MINIMAL]
    return Finding(
        "reproduced" if all(agree) else "undecided" if any(agree) else "not reproduced",
        f"{sum(agree)} of {len(agree)} arms agree in every seed (smallest share of the accuracy of "
        f"trained He weights, largest share of connections): {'; '.join(told.values())}. Beyond "
        f"the claim: {'; '.join(odd)}.",
    )


STUDY = Study(
    name="trained_connectivity",
    title="Training the connections of fixed random weights",
    question=(
        "How much of the accuracy of ordinary training is reached if the weights stay as drawn and "
        "only few connections are removed or change their sign?"
    ),
    claim=(
        "where few changes are asked for, under 10 % of the connections changed reach over 90 % of "
        "the accuracy of standard training, and weights of constant magnitude do well too (Ivan & "
        "Florian 2020)"
    ),
    arms=(
        *(Arm(f"weights, {kernel}", spec) for kernel, spec in _KERNELS.items()),
        *(Arm(_label(m, k), _KERNELS[k], method={"name": m}) for m, k in _TRAINED),
    ),
    families=(),
    comparisons=tuple((_label(mode, kernel), f"weights, {kernel}") for mode, kernel in _TRAINED),
    primary=tuple((_label(mode, "He"), "weights, He") for mode in (*_MINIMAL, *_FREE)),
    also=(final("changed", "connections changed"),),
    data="mnist",
    recipes={
        "mnist": {
            "network": "lenet_300_100:bias=false", "epochs": 2, "batch_size": 60, "lr": 1e-3,
            "seeds": 9,
        },
    },
    quick={"train_limit": 10_000, "seeds": 2},
    judge=judge,
    reduced=(
        "Complete MNIST, but 2 epochs of batches of 60 instead of 20 of 25; Conv2 to Conv6 and "
        "ResNet-20 on CIFAR-10 are left out: they are too slow for two cores."
    ),
    duration="1 min quick, 5 min full",
)  # fmt: skip

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
