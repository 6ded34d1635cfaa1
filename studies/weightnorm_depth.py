"""Do weight-normalised networks train at any depth if their row norms follow the depth?

    python -m studies.weightnorm_depth [--data-root FOLDER] [options]

Arpit, Campos & Bengio 2019, "How to Initialize your Network? Robust Initialization for WeightNorm &
ResNets" (arXiv 1906.02341), the experiment with perceptrons on MNIST. Read were poster and code.

One learning rate for all arms and depths: 1e-3 with momentum 0.9, in effect the middle of the
paper's grid of 1e-3 to 1e-1. The data-dependent baseline is given a tenth of it beside, at every
depth, in case its large gradients ask for that; it is judged at the better of the two.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from studies.engine.claims import Evidence, Finding
from studies.engine.run import Arm
from studies.engine.study import Study

DEPTHS = (2, 20, 50, 100, 200)  # weight layers
STARTED = 0.20  # accuracy; always answering with the most frequent digit has 0.1135
_DATA, _SLOW, _PROPOSED = "data-dependent", "data-dependent, rate 1e-4", "proposed"
_LINES: dict[str, dict[str, Any]] = {
    _PROPOSED: {"initializer": {"name": "weight_norm"}},
    _DATA: {"initializer": {"name": "weight_norm_data"}},
    _SLOW: {"initializer": {"name": "weight_norm_data"}, "lr": 1e-4},
    "He": {"initializer": {"name": "he_normal"}},
}


def _label(line: str, depth: int) -> str:
    return f"{line}, {depth} layers"


def _arm(line: str, depth: int) -> Arm:
    own = {"lr": _LINES[line]["lr"]} if "lr" in _LINES[line] else {}
    return Arm(
        _label(line, depth),
        _LINES[line]["initializer"],
        {"network": f"wn_mlp:hidden=64x{depth - 1}", **own},
        family=line,
        at={"depth": depth},
    )


def judge(evidence: Evidence) -> Finding:
    """A depth is trained if more than half of the seeds left guessing behind.

    Of the two rates of the data-dependent baseline counts the one with the higher mean validation
    accuracy at that depth.
    """

    def accuracies(line: str, depth: int) -> list[float]:
        return list(evidence.values(_label(line, depth), "test_accuracy").values())

    def trained(line: str) -> list[int]:
        found = {depth: accuracies(_best(evidence, line, depth), depth) for depth in DEPTHS}
        return [d for d, a in found.items() if sum(x >= STARTED for x in a) > len(a) / 2]

    ours, theirs = trained(_PROPOSED), trained(_DATA)
    told = "; ".join(
        f"{depth} layers: proposed {100 * fmean(accuracies(_PROPOSED, depth)):.1f} %, "
        f"data-dependent {100 * fmean(accuracies(_best(evidence, _DATA, depth), depth)):.1f} %, He "
        f"{100 * fmean(accuracies('He', depth)):.1f} %"
        for depth in DEPTHS
    )
    agrees = ours == [*DEPTHS] and 20 in theirs and not {100, 200} & {*theirs}
    return Finding(
        "reproduced" if agrees else "not reproduced",
        f"Over {100 * STARTED:.0f} % test accuracy in most seeds: proposed at depths "
        f"{_listed(ours)}, data-dependent at {_listed(theirs)}. Means: {told}.",
    )


def _best(evidence: Evidence, line: str, depth: int) -> str:
    lines = (_DATA, _SLOW) if line == _DATA else (line,)
    return max(lines, key=lambda name: evidence.mean(_label(name, depth), "val_accuracy"))


def _listed(depths: list[int]) -> str:
    return ", ".join(map(str, depths)) or "none"


STUDY = Study(
    name="weightnorm_depth",
    title="Weight-normalised networks over depth",
    question="How deep may a weight-normalised ReLU network be, by initialisation, to be trained?",
    claim=(
        "with the row norms sqrt(2 fan_in / fan_out) it trains at any depth from 2 to 200 layers, "
        "with data-dependent norms up to 20 layers, and not at 100 and 200 (Arpit et al. 2019)"
    ),
    arms=tuple(_arm(line, depth) for line in _LINES for depth in DEPTHS),
    families=(),
    comparisons=tuple((_label(_PROPOSED, d), _label(_DATA, d)) for d in DEPTHS),
    primary=tuple((_label(_PROPOSED, d), _label(_DATA, d)) for d in DEPTHS),
    margin=1.0,
    data="mnist",
    recipes={
        "mnist": {
            "network": "wn_mlp:hidden=64x49", "train_limit": 10_000, "epochs": 5, "batch_size": 100,
            "optimizer": "sgd", "lr": 1e-3, "seeds": 8, "stack": 1,
        }
    },
    quick={"train_limit": 2000, "epochs": 2, "seeds": 2},
    judge=judge,
    reduced="64 units, 10,000 examples and 500 steps at one learning rate, without a search",
    duration="2 min quick, 8 min full",
)  # fmt: skip

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
