"""Mean-field theory of initialisation: what wide random networks do to signals and gradients.

>>> round(gain("gelu"), 6)
1.53353
>>> maps = mean_field("tanh", sigma_w2=1.5)
>>> round(maps.fixed_variance(), 4), round(maps.chi(0.0), 6)
(0.2869, 1.5)

``predict`` puts the theory beside measurements: one row per layer and quantity of a network.
"""

from initializers.theory.activations import ACTIVATION_NAMES, Activation, activation, logistic
from initializers.theory.binary import binary_surrogate, lrt_surrogate
from initializers.theory.criticality import EdgeOfChaos, edge_of_chaos
from initializers.theory.maps import TRAINABLE_DEPTH, Maps, depth_scale, mean_field
from initializers.theory.moments import (
    gain,
    kurtosis,
    overlap,
    response,
    response_overlap,
    second_moment,
    second_moment_slope,
)
from initializers.theory.predict import QUANTITIES, Prediction, predict
from initializers.theory.sparse import (
    critical_degree,
    empty_rows,
    empty_rows_exact,
    kurtosis_limit,
    kurtosis_path,
    kurtosis_ratio,
    norm_spread,
    preactivation_kurtosis,
    weight_kurtosis,
    zero_singular_values,
)

__all__ = [
    "ACTIVATION_NAMES",
    "QUANTITIES",
    "TRAINABLE_DEPTH",
    "Activation",
    "EdgeOfChaos",
    "Maps",
    "Prediction",
    "activation",
    "binary_surrogate",
    "critical_degree",
    "depth_scale",
    "edge_of_chaos",
    "empty_rows",
    "empty_rows_exact",
    "gain",
    "kurtosis",
    "kurtosis_limit",
    "kurtosis_path",
    "kurtosis_ratio",
    "logistic",
    "lrt_surrogate",
    "mean_field",
    "norm_spread",
    "overlap",
    "preactivation_kurtosis",
    "predict",
    "response",
    "response_overlap",
    "second_moment",
    "second_moment_slope",
    "weight_kurtosis",
    "zero_singular_values",
]
