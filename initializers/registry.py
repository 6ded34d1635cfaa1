"""The explicit list of all initialisers under their names in spec strings."""

from __future__ import annotations

from initializers.catalogue import Factory, register_initializer
from initializers.classical import (
    GlorotNormal,
    GlorotUniform,
    HeConstant,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
)
from initializers.delta_orthogonal import DeltaOrthogonal
from initializers.isometry import (
    LooksLinear,
    gaussian_submatrix,
    orthogonal_submatrix,
    ternary_submatrix,
)
from initializers.orthogonal import Orthogonal
from initializers.residual import ResidualScaling
from initializers.simple import Constant, Random, SparseNormal, Zeros
from initializers.ternary import Ternary
from initializers.torch_default import TorchDefault
from initializers.variance_scaling import VarianceScaling
from initializers.weight_norm import WeightNormForward, WeightNormResNet
from initializers.weight_norm_data import WeightNormData

ENTRIES: tuple[tuple[str, Factory], ...] = (
    ("ternary", Ternary),
    ("ternary_glorot_twin", Ternary.glorot_twin),
    ("ternary_he_twin", Ternary.he_twin),
    ("ternary_lecun_twin", Ternary.lecun_twin),
    ("glorot_normal", GlorotNormal),
    ("glorot_uniform", GlorotUniform),
    ("he_normal", HeNormal),
    ("he_uniform", HeUniform),
    ("he_constant", HeConstant),
    ("lecun_normal", LeCunNormal),
    ("lecun_uniform", LeCunUniform),
    ("variance_scaling", VarianceScaling),
    ("orthogonal", Orthogonal),
    ("sparse", SparseNormal),
    ("torch_default", TorchDefault),
    ("zeros", Zeros),
    ("constant", Constant),
    ("random", Random),
    ("weight_norm", WeightNormForward),
    ("weight_norm_resnet", WeightNormResNet),
    ("weight_norm_data", WeightNormData),
    ("residual", ResidualScaling),
    ("looks_linear", LooksLinear),
    ("gaussian_submatrix", gaussian_submatrix),
    ("orthogonal_submatrix", orthogonal_submatrix),
    ("ternary_submatrix", ternary_submatrix),
    ("delta_orthogonal", DeltaOrthogonal),
)

for _name, _factory in ENTRIES:
    register_initializer(_name, _factory)
