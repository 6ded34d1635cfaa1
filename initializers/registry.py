"""The explicit list of all initialisers under their names in spec strings."""

from __future__ import annotations

from initializers.asymmetric import AsymmetricBinary, AsymmetricConstant, AsymmetricLogNormal
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
from initializers.means import BetaMeans, TwoPointMeans
from initializers.orthogonal import Orthogonal
from initializers.simple import Constant, Random, SparseNormal, Zeros
from initializers.ternary import Ternary
from initializers.torch_default import TorchDefault
from initializers.variance_scaling import VarianceScaling

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
    ("asymmetric_binary", AsymmetricBinary),
    ("asymmetric_constant", AsymmetricConstant),
    ("asymmetric_log_normal", AsymmetricLogNormal),
    ("two_point_means", TwoPointMeans),
    ("critical_means", TwoPointMeans.critical),
    ("beta_means", BetaMeans),
    ("uniform_means", BetaMeans.uniform),
)

for _name, _factory in ENTRIES:
    register_initializer(_name, _factory)
