"""Which initialisation of the catalogue carries over data sets and networks?

    python -m studies.atlas [--quick] [--data-root FOLDER] [options]

Every method of the catalogue that sets the weights of ordinary networks, at its default
hyperparameters, on several data sets and networks: average ranks with their critical difference.
What the initialisations themselves cost: `python benchmarks/catalogue_cost.py`.
"""

from __future__ import annotations

from studies.engine.compare import epochs_to
from studies.engine.run import Arm
from studies.engine.study import Study

METHODS = (
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "he_constant", "lecun_normal",
    "lecun_uniform", "orthogonal", "sparse", "torch_default", "random", "ternary",
    "ternary_glorot_twin", "ternary_he_twin", "ternary_lecun_twin", "sign_constant",
    "sign_permutation", "magnitude_permutation", "zero_hadamard", "lsuv", "rewired",
    "bayes_kalman", "bayes_kalman_data", "looks_linear", "gaussian_submatrix",
    "ternary_submatrix", "zeros",
)  # fmt: skip

LEFT_OUT = {
    "another name of he_normal": ("patel_he", "blog_he"),
    "another name of lecun_normal": ("patel_xavier", "blog_xavier", "variance_scaling"),
    "another name of glorot_normal": ("blog_xavier_both",),
    "another name of random": ("patel_random",),
    "another name of zeros": ("patel_zero", "blog_zero"),
    "another name of looks_linear": ("orthogonal_submatrix",),
    "seconds to minutes per network": ("metainit", "gradinit", "strength_stabilized"),
    "for networks of another structure": (
        "fixup", "skipinit", "mimetic", "residual", "weight_norm", "weight_norm_resnet",
        "weight_norm_data", "delta_orthogonal", "dirac",
    ),
    "for binary weights": ("two_point_means", "critical_means", "beta_means", "uniform_means"),
    "for fixed weights": ("asymmetric_binary", "asymmetric_constant", "asymmetric_log_normal"),
    "no weights of its own": ("masked", "pretrained", "per_layer"),
    "equal in law to its base": ("weight_permutation",),
    "changes the learning rates": ("mup",),
    "a demonstration of failure": ("constant", "blog_random"),
}  # fmt: skip
"""Why the rest of the catalogue is not ranked."""

REFERENCE = "glorot_normal"
_DEEP = "mlp:hidden=100-100-100-100-100-100-100-100"
_FEW = {"train_limit": 10_000, "epochs": 4}

STUDY = Study(
    name="atlas",
    title="The catalogue over data sets and networks",
    question=(
        "Which initialisation of the catalogue has the best average rank over data sets and "
        "networks, and which of them can be told apart?"
    ),
    claim="no single claim: the catalogue at its defaults, ranked",
    arms=tuple(Arm(name, {"name": name}) for name in METHODS),
    families=(),
    comparisons=tuple((name, REFERENCE) for name in METHODS if name != REFERENCE),
    primary=tuple((name, REFERENCE) for name in ("he_normal", "ternary", "ternary_glorot_twin")),
    also=(epochs_to(0.8),),
    data="all",
    recipes={name: {"seeds": 4} for name in ("digits", "mnist", "fashion_mnist", "cifar10")},
    places=(
        {"data": "digits", "network": "lenet_300_100"},
        {"data": "digits", "network": f"{_DEEP},activation=tanh"},
        {"data": "digits", "network": "conv2", "epochs": 4, "seeds": 3},
        {"data": "mnist", "network": "lenet_300_100", **_FEW},
        {"data": "mnist", "network": _DEEP, **_FEW},
        {"data": "fashion_mnist", "network": "lenet_300_100", **_FEW},
        {"data": "fashion_mnist", "network": f"{_DEEP},activation=tanh", **_FEW},
        {"data": "cifar10", "network": "mlp:hidden=300-100", **_FEW, "train_limit": 6000},
    ),
    quick={"seeds": 2, "epochs": 2, "train_limit": 1000},
    reduced=(
        "Default hyperparameters, nothing tuned; short trainings on 10,000 images of MNIST and "
        "Fashion-MNIST, 6,000 of CIFAR-10; perceptrons and one small convolutional network."
    ),
)

if __name__ == "__main__":
    from studies.engine.main import study_main

    study_main(STUDY)
