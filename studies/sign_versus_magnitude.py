"""Are the signs of a winning ticket's initial weights enough, and do they matter more than sizes?

    python -m studies.sign_versus_magnitude [--data-root FOLDER] [options]

Zhou, Lan, Liu and Yosinski 2019, "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask"
(arXiv 1905.01067): a network is trained and pruned, and what survives restarts from its initial
weights, or from what keeps their signs or their sizes (magnitudes) alone. George et al. 2023 take
up from such studies that a weight's polarity may matter more than its magnitude: without pruning,
the arms "trained" restart from trained weights of which only signs, sizes or neither keep their
place. A label says first what is kept, then what became of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.engine.claims import expect
from studies.engine.compare import TRAIN_ACCURACY, final
from studies.engine.run import Arm
from studies.engine.study import Study

# What the paper's iterative pruning leaves after 10 and 15 rounds: it takes 20 % of the living
# weights in each round, 10 % in the output layer. Here one pruning does it.
DENSITIES = {f"{100 * 0.8**n:.2g} %": (0.8**n, 0.9**n) for n in (10, 15)}
RESTARTS: Mapping[str, Mapping[str, Any]] = {
    "rewound": {"ones": "rewind"},
    "signs, sizes equal": {"ones": "signed_constant"},
    "signs, sizes shuffled": {"ones": "signed_reshuffle"},
    "neither, sizes equal": {"ones": "rand_signed_constant"},
    "sizes, signs shuffled": {"ones": "reshuffled_signs"},
    "random mask": {"ones": "rewind", "criterion": "random"},
}
TRAINED: Mapping[str, str] = {
    "trained signs": "signed_reshuffle",
    "trained sizes": "reshuffled_signs",
    "trained, all shuffled": "random_reshuffle",
}
_WEIGHTS = {"name": "glorot_normal"}
_WHOLE = {"name": "restart", "density": 1.0}
_SIGNS, _SIZES, _NEITHER = TRAINED


def _pruned(family: str, how: Mapping[str, Any], text: str) -> Arm:
    density, last = DENSITIES[text]
    method = {"name": "restart", "density": density, "last_density": last, **how}
    at = {"density": round(density, 3)}
    return Arm(f"{family} {text}", _WEIGHTS, family=family, method=method, at=at)


def _pairs(first: str, second: str) -> list[tuple[str, str]]:
    return [(f"{first} {text}", f"{second} {text}") for text in DENSITIES]


ENOUGH = [
    *_pairs("signs, sizes equal", "rewound"),
    *_pairs("signs, sizes shuffled", "rewound"),
]
MATTERS = [
    *_pairs("signs, sizes equal", "neither, sizes equal"),
    *_pairs("signs, sizes shuffled", "sizes, signs shuffled"),
    (_SIGNS, _SIZES),
]

STUDY = Study(
    name="sign_versus_magnitude",
    title="Signs against magnitudes of lottery tickets",
    question=(
        "If a pruned network restarts with the signs of its initial weights, but not with their "
        "magnitudes, does it become as good as with both, and better than with the magnitudes?"
    ),
    claim=(
        "the signs of the surviving initial weights are enough, whatever their magnitudes (Zhou "
        "et al. 2019); polarity matters more than magnitude (taken up by George et al. 2023)"
    ),
    arms=(
        Arm("not pruned", _WEIGHTS, family="rewound", method=_WHOLE, at={"density": 1.0}),
        *(_pruned(family, how, text) for text in DENSITIES for family, how in RESTARTS.items()),
        *(
            Arm(label, _WEIGHTS, method={**_WHOLE, "ones": ones, "weights": "trained"})
            for label, ones in TRAINED.items()
        ),
    ),
    families=(),
    comparisons=(
        *ENOUGH,
        *MATTERS,
        *_pairs("rewound", "random mask"),
        (_SIZES, _NEITHER),
    ),
    primary=(*ENOUGH, *MATTERS),
    also=(TRAIN_ACCURACY, final("alive", "share of weights kept")),
    data="mnist",
    recipes={"mnist": {"epochs": 8, "seeds": 10, "train_limit": 12000}},
    quick={"epochs": 4, "seeds": 4, "train_limit": 3000},
    judge=expect(
        dict.fromkeys(ENOUGH, ("better", "equivalent")) | dict.fromkeys(MATTERS, ("better",))
    ),
    reduced=(
        "12,000 training examples and two trainings of 4 epochs instead of 55,000 and 55 epochs; "
        "one pruning instead of 24 rounds; the fully connected network alone"
    ),
    duration="2 min quick, 7 min full",
)

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
