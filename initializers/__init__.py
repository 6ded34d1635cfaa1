"""Weight initialisers for any ``nn.Module``: immutable, seeded per parameter, and recorded.

>>> from torch import nn
>>> network = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
>>> record = Ternary(density=0.1)(network, seed=0)
>>> [layer.zero_fraction for layer in record.layers]
[0.9, 0.9]
>>> get_initializer("ternary:density=0.1") == Ternary(density=0.1)
True
"""

from initializers import registry as _registry  # noqa: F401  (fills the catalogue)
from initializers.asymmetric import AsymmetricBinary, AsymmetricConstant, AsymmetricLogNormal
from initializers.base import Initializer
from initializers.catalogue import initializer_names, register_initializer
from initializers.classical import (
    GlorotNormal,
    GlorotUniform,
    HeConstant,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
)
from initializers.context import LayerContext
from initializers.fans import Fans, fans
from initializers.functional import (
    glorot_normal_,
    glorot_uniform_,
    he_constant_,
    he_normal_,
    he_uniform_,
    initialize_,
    lecun_normal_,
    lecun_uniform_,
    orthogonal_,
    sparse_normal_,
    ternary_,
    variance_scaling_,
)
from initializers.gains import GAIN_NAMES, gain_value
from initializers.lookup import get_initializer
from initializers.means import BetaMeans, TwoPointMeans
from initializers.orthogonal import Orthogonal
from initializers.record import InitRecord, LayerRecord, Skipped
from initializers.simple import Constant, Random, SparseNormal, Zeros
from initializers.spec import parse_spec
from initializers.ternary import Ternary
from initializers.torch_default import TorchDefault
from initializers.variance_scaling import VarianceScaling

__all__ = [
    "GAIN_NAMES",
    "AsymmetricBinary",
    "AsymmetricConstant",
    "AsymmetricLogNormal",
    "BetaMeans",
    "Constant",
    "Fans",
    "GlorotNormal",
    "GlorotUniform",
    "HeConstant",
    "HeNormal",
    "HeUniform",
    "InitRecord",
    "Initializer",
    "LayerContext",
    "LayerRecord",
    "LeCunNormal",
    "LeCunUniform",
    "Orthogonal",
    "Random",
    "Skipped",
    "SparseNormal",
    "Ternary",
    "TorchDefault",
    "TwoPointMeans",
    "VarianceScaling",
    "Zeros",
    "fans",
    "gain_value",
    "get_initializer",
    "glorot_normal_",
    "glorot_uniform_",
    "he_constant_",
    "he_normal_",
    "he_uniform_",
    "initialize_",
    "initializer_names",
    "lecun_normal_",
    "lecun_uniform_",
    "orthogonal_",
    "parse_spec",
    "register_initializer",
    "sparse_normal_",
    "ternary_",
    "variance_scaling_",
]
