"""Do weights estimated by a Kalman filter from random samplings learn in fewer epochs?

    python -m studies.bayesian_start [--data-root FOLDER] [options]

Murru and Rossini 2016, "A Bayesian approach for initialization of weights in backpropagation neural
net with application to character recognition" (Neurocomputing; arXiv 2004.01875). Only its abstract
and a summary were available to us: the equations, the covariances and the width h of the random
samplings are a reconstruction (see `initializers.bayesian`). The samplings are uniform in (-h, h),
once with Glorot's h in each layer and once with one four times as large.
"""

from __future__ import annotations

from studies.engine.claims import Evidence, Finding
from studies.engine.compare.outcome import TEST_ACCURACY, epochs_to
from studies.engine.run import Arm
from studies.engine.study import Study

WIDE = 4.0

# The claim: the arm needs fewer epochs than random weights from the law that it samples.
CLAIMED = (
    ("Bayes", "random"),
    ("Bayes, data", "random"),
    ("Bayes, wide", "random, wide"),
)


def judge(evidence: Evidence) -> Finding:
    """Reproduced if it holds whatever h is, not if it never does; else h would have to be known."""
    pairs = [evidence.comparisons.between(*pair) for pair in CLAIMED]
    told = "; ".join(
        f"{c.arm} against {c.reference} {c.verdict} ({c.mean_difference:+.2f} epochs)"
        for c in pairs
    )
    fewer = [c.verdict == "better" for c in pairs]
    if all(fewer):
        return Finding("reproduced", f"Fewer epochs in every comparison: {told}.")
    if any(fewer) or any(c.verdict == "undecided" for c in pairs):
        return Finding("undecided", f"It depends on the law that is sampled: {told}.")
    return Finding("not reproduced", f"Fewer epochs in no comparison: {told}.")


STUDY = Study(
    name="bayesian_start",
    title="Bayesian weights against random ones: epochs to an accuracy",
    question=(
        "Does a sigmoid network that starts from a Bayesian estimate over random samplings of its "
        "weights need fewer epochs than one that starts from a single sampling?"
    ),
    claim=(
        "faster convergence of backpropagation than with random weights (Murru, Rossini 2016; "
        "equations reconstructed)"
    ),
    arms=(
        Arm("Bayes", {"name": "bayes_kalman"}),
        Arm("Bayes, data", {"name": "bayes_kalman_data"}),
        Arm("Bayes, calibrated", {"name": "bayes_kalman", "calibrated": True}),
        Arm("random", {"name": "glorot_uniform"}),
        Arm("Glorot", {"name": "glorot_normal"}),
        Arm("Bayes, wide", {"name": "bayes_kalman", "scale": WIDE}),
        Arm("random, wide", {"name": "glorot_uniform", "scale": WIDE}),
    ),
    families=(),
    comparisons=(
        *CLAIMED,
        ("Bayes, calibrated", "random"),
        ("Bayes", "Glorot"),
        ("random, wide", "random"),
    ),
    primary=CLAIMED,
    outcome=epochs_to(0.92),
    also=(TEST_ACCURACY,),
    margin=0.5,
    data="mnist",
    recipes={
        "mnist": {
            "network": "mlp:hidden=100,activation=sigmoid",
            "optimizer": "sgd",
            "momentum": 0.0,
            "lr": 0.05,
            "batch_size": 60,
            "epochs": 50,
            "seeds": 12,
            "train_limit": 10_000,
        }
    },
    quick={"seeds": 3},
    judge=judge,
    reduced=(
        "One network, 784-100-10, on 10,000 training images, trained on the cross-entropy; the "
        "paper trains several sizes, and on squared errors as far as we know."
    ),
    duration="2 min quick, 6 min full",
)

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
