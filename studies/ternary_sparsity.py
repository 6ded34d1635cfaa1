"""Does sparse ternary initialisation train networks as well as Glorot's and He's?

    python -m studies.ternary_sparsity [--quick] [--data mnist --data-root FOLDER] [options]

Our reading of George et al. 2023, "Binary Weight Initialization Scheme with Normalized Outputs"
(only its abstract was available): weights -1, 0 and +1, in a proportion that normalises each
layer's output, train networks as well as Glorot's initialisation or slightly worse.
"""

from __future__ import annotations

from studies.engine.claims import expect
from studies.engine.run import Arm
from studies.engine.study import Family, Parameter, Study

_TWIN = ("unscaled ternary, Glorot twin", "Glorot")
_SCALE = Parameter("scale", low=0.25, high=4.0, start=1.0)

STUDY = Study(
    name="ternary_sparsity",
    title="Ternary initialisation against Glorot and He",
    question=(
        "Does ternary initialisation, every weight -s, 0 or +s, train a network to the same test "
        "accuracy as Glorot's and He's initialisation?"
    ),
    claim="unscaled ternary is equal to or just below Glorot (our reading of George et al. 2023)",
    arms=(
        Arm("unscaled ternary, Glorot twin", {"name": "ternary_glorot_twin"}),
        Arm("unscaled ternary, He twin", {"name": "ternary_he_twin"}),
        Arm("Glorot", {"name": "glorot_normal"}),
        Arm("He", {"name": "he_normal"}),
        Arm("torch default", {"name": "torch_default"}),
    ),
    families=(
        Family(
            "ternary",
            {"name": "ternary"},
            (Parameter("density", low="1/fan_in", high=1.0, start=0.5), _SCALE),
        ),
        Family("Glorot", {"name": "glorot_normal"}, (_SCALE,)),
        Family("He", {"name": "he_normal"}, (_SCALE,)),
    ),
    # Tuned arms meet arms with the same tuning budget, textbook arms meet textbook arms.
    comparisons=(
        ("ternary (tuned)", "Glorot (tuned)"),
        ("ternary (tuned)", "He (tuned)"),
        _TWIN,
        ("unscaled ternary, He twin", "He"),
        ("Glorot (tuned)", "Glorot"),
        ("He (tuned)", "He"),
        ("torch default", "Glorot"),
    ),
    primary=(
        ("ternary (tuned)", "Glorot (tuned)"),
        ("ternary (tuned)", "He (tuned)"),
        _TWIN,
        ("unscaled ternary, He twin", "He"),
    ),
    recipes={
        "mnist": {"epochs": 5, "trials": 8, "seeds": 24},
        "fashion_mnist": {"epochs": 5, "trials": 8},
    },
    quick={"trials": 4, "search_seeds": 2, "seeds": 10},
    # "Equal or just below": a mean difference of at most a point may count as just below.
    judge=expect({_TWIN: ("equivalent", "better")}, at_most=1.0),
    reduced="The paper's networks, optimiser and length are unknown to us; few epochs.",
    duration="15 s quick, 30 s full on digits",
)

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
