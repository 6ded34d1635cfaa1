"""Does sharing parameters at the start, so that a ReLU network is linear, let it be deeper?

    python -m studies.dynamical_isometry [--data-root FOLDER] [options]

Burkholz & Dubatovka 2019, "Initialization of ReLUs for Dynamical Isometry" (arXiv 1806.06362): of
the paper abstract and reviews were available. Weights [[U, -U], [-U, U]] with Gaussian or
orthogonal U; ternary U (ours, a fifth of the weights set) and plain orthogonal weights beside.

One learning rate for all, 1e-3 with momentum 0.9; the He baseline has ten times of it too, at every
depth, and is judged at the better of the two (a tenth left it at guessing within so few steps).
"""

from __future__ import annotations

from typing import Any

from studies.engine.claims import Evidence, Finding
from studies.engine.run import Arm
from studies.engine.study import Study

DEPTHS = (10, 20, 50, 100, 200)  # weight layers
TRAINED = 0.5  # mean test accuracy at which a depth counts as trained
_HE = ("He", "He, rate 1e-2")
_OURS = ("Gaussian submatrix", "orthogonal submatrix")
_TERNARY, _PLAIN = "ternary submatrix", "orthogonal, gain sqrt 2"
_LINES: dict[str, dict[str, Any]] = {
    _OURS[0]: {"name": "gaussian_submatrix"},
    _OURS[1]: {"name": "orthogonal_submatrix"},
    _TERNARY: {"name": "ternary_submatrix", "density": 0.2},
    _PLAIN: {"name": "orthogonal", "gain": "relu"},
    **{line: {"name": "he_normal"} for line in _HE},
}
_RATES = {_HE[1]: 1e-2}


def _label(line: str, depth: int) -> str:
    return f"{line}, {depth} layers"


def _arm(line: str, depth: int) -> Arm:
    own = {"lr": _RATES[line]} if line in _RATES else {}
    return Arm(
        _label(line, depth),
        _LINES[line],
        {"network": f"mlp:hidden=64x{depth - 1}", **own},
        family=line,
        at={"depth": depth},
    )


def judge(evidence: Evidence) -> Finding:
    """The deepest network that trained, as did all shallower ones, by initialisation.

    Of the rates of He counts the one with the higher mean validation accuracy at each depth.
    """

    def accuracy(lines: tuple[str, ...], depth: int) -> float:
        best = max(lines, key=lambda name: evidence.mean(_label(name, depth), "val_accuracy"))
        return evidence.mean(_label(best, depth), "test_accuracy")

    reached, told = {}, []
    for lines in (_HE, *((line,) for line in (*_OURS, _TERNARY, _PLAIN))):
        found = {depth: accuracy(lines, depth) for depth in DEPTHS}
        failed = [i for i, depth in enumerate(DEPTHS) if found[depth] < TRAINED]
        reached[lines[0]] = ([0, *DEPTHS])[min(failed, default=len(DEPTHS))]
        shown = ", ".join(f"{100 * value:.1f}" for value in found.values())
        told.append(f"{lines[0]} {reached[lines[0]]} ({shown} %)")
    deeper = [reached[line] > reached[_HE[0]] for line in _OURS]
    return Finding(
        "reproduced" if all(deeper) else "undecided" if any(deeper) else "not reproduced",
        f"Greatest depth up to which mean test accuracy is at least {100 * TRAINED:.0f} % "
        f"(accuracies at {', '.join(map(str, DEPTHS))} layers): {'; '.join(told)}.",
    )


STUDY = Study(
    name="dynamical_isometry",
    title="Initialisations that make ReLU networks linear, over depth",
    question="Does the submatrix initialisation train deeper ReLU networks than He's?",
    claim=(
        "Gaussian and orthogonal submatrix initialisation train deeper ReLU networks than the "
        "standard initialisation does (Burkholz & Dubatovka 2019)"
    ),
    arms=tuple(_arm(line, depth) for line in _LINES for depth in DEPTHS),
    families=(),
    comparisons=tuple(
        (_label(line, depth), _label(_HE[0], depth))
        for line in (*_OURS, _TERNARY, _PLAIN)
        for depth in DEPTHS
    ),
    primary=tuple((_label(line, d), _label(_HE[0], d)) for line in _OURS for d in DEPTHS[-2:]),
    margin=1.0,
    data="mnist",
    recipes={
        "mnist": {
            "network": "mlp:hidden=64x99", "train_limit": 10_000, "epochs": 3, "batch_size": 100,
            "optimizer": "sgd", "lr": 1e-3, "seeds": 10,
        }
    },
    quick={"train_limit": 2000, "epochs": 2, "seeds": 2},
    judge=judge,
    reduced=(
        "64 units, 10,000 examples and 300 steps of SGD at one learning rate; the paper's own "
        "numbers could not be read"
    ),
    duration="2 min quick",
)  # fmt: skip

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
