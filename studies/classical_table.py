"""The table of Patel, Nandu and Raut: zero, random, Xavier's and He's initialisation on three sets.

    python -m studies.classical_table [--data mnist:val_size=500 --data-root FOLDER] [options]

Patel, Nandu, Raut 2019, "Initialization of Weights in Neural Networks", Tables 1 and 2: accuracy
and loss of four initialisations on MNIST, CIFAR-10 and Fashion-MNIST. The paper names no network,
optimiser or length of training. Its row of zeros can only be a training metric: 11.24 % is the
share of the digit 1 in MNIST's training images and 2.3012 the entropy of their labels, while a
constant answer has 11.35 % on the test images, and exactly 10 % on those of the other two sets.
So the running training accuracy is compared here, and the test accuracy stands beside it.
"""

from __future__ import annotations

import math

from studies.engine.claims import Evidence, Finding, expect
from studies.engine.compare.outcome import TEST_ACCURACY, TRAIN_ACCURACY, Outcome
from studies.engine.run import Arm
from studies.engine.study import Study

# All training images but 500, which are left for validation.
PLACES = ("mnist:val_size=500", "cifar10:val_size=500", "fashion_mnist:val_size=500")
RECIPE = {
    "network": "mnist_mlp:narrow=4", "optimizer": "rmsprop", "lr": 1e-3, "batch_size": 128,
    "epochs": 2, "seeds": 8,
}  # fmt: skip

TRAIN_LOSS = Outcome(
    "train_loss", "training loss", "train_loss", unit="nats", difference="nats", scale=1.0,
    high=math.inf, higher_is_better=False,
)  # fmt: skip

BALANCED = (9.5, 10.2, 2.3026)
ZERO = dict(zip(PLACES, ((11.19, 11.29, 2.301), BALANCED, BALANCED), strict=True))
"""Lowest and highest running accuracy in % of a network that learns its output bias alone, and its
loss within 0.001. Where classes are equally frequent, the one that it answers is drawn a little
less often in the rest of an epoch, so that it may stay below 10 %."""

_order = expect(
    {
        ("He", "Xavier"): ("better", "equivalent"),
        ("Xavier", "random"): ("better", "equivalent"),
        ("random", "zero"): ("better",),
    }
)


def judge(evidence: Evidence) -> Finding:
    """He >= Xavier >= random >> zero on the training accuracy, and zeros as predicted."""
    order = _order(evidence)
    accuracy = 100 * evidence.mean("zero", "train_accuracy")
    loss = evidence.mean("zero", "train_loss")
    zeros = f"The zero network has {accuracy:.2f} % and a loss of {loss:.4f}"
    data = evidence.rows[0]["data"]
    if data not in ZERO:
        return Finding(order.verdict, f"{order.reason} {zeros}; nothing is predicted for {data}.")
    low, high, entropy = ZERO[data]
    agrees = low <= accuracy <= high and abs(loss - entropy) <= 0.001
    told = f"{zeros}, {'as' if agrees else 'not as'} predicted ({low} to {high} %, {entropy})."
    return Finding(order.verdict if agrees else "not reproduced", f"{order.reason} {told}")


STUDY = Study(
    name="classical_table",
    title="Zero, random, Xavier and He: a published table",
    question=(
        "Do He's, Xavier's, small random and zero weights come out in this order of training "
        "accuracy, with zeros at the share of the most frequent class?"
    ),
    claim="He >= Xavier >= random >> zero (Patel, Nandu, Raut 2019, Tables 1 and 2)",
    arms=(
        Arm("He", {"name": "patel_he"}),
        Arm("Xavier", {"name": "patel_xavier"}),
        Arm("random", {"name": "patel_random"}),
        Arm("zero", {"name": "patel_zero"}),
    ),
    families=(),
    comparisons=(("He", "Xavier"), ("Xavier", "random"), ("random", "zero")),
    primary=(("He", "Xavier"), ("Xavier", "random"), ("random", "zero")),
    outcome=TRAIN_ACCURACY,
    also=(TRAIN_LOSS, TEST_ACCURACY),
    margin=0.1,
    data="all",
    places=tuple({"data": place} for place in PLACES),
    recipes={name: RECIPE for place in PLACES for name in (place, place.partition(":")[0])},
    quick={"network": "mnist_mlp:narrow=8", "seeds": 3},
    judge=judge,
    reduced=(
        "The paper's networks are unknown: Keras's examples mnist_mlp (two hidden layers, dropout "
        "0.2) and mnist_cnn at a fraction of their width, for 2 epochs on standardised inputs, "
        "instead of full-size convolutional networks for tens of epochs."
    ),
    duration="1 min quick, 3 min full",
)

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
