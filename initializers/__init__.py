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
from initializers.batch import Batch
from initializers.bayesian import BayesKalman
from initializers.bayesian_data import DataBayesKalman
from initializers.branches import Branch, residual_branches
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
from initializers.data_driven import DataDriven
from initializers.delta_orthogonal import DeltaOrthogonal
from initializers.fans import Fans, fans
from initializers.fixup import Fixup
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
from initializers.gradinit import GradInit
from initializers.identity import Dirac, ZerO
from initializers.isometry import (
    LooksLinear,
    gaussian_submatrix,
    orthogonal_submatrix,
    ternary_submatrix,
)
from initializers.lookup import get_initializer
from initializers.lsuv import LSUV
from initializers.masks import Masked
from initializers.means import BetaMeans, TwoPointMeans
from initializers.metainit import MetaInit
from initializers.mimetic import Mimetic
from initializers.mup import MuP
from initializers.orthogonal import Orthogonal
from initializers.pretrained import FromState, Pretrained
from initializers.record import InitRecord, LayerRecord, Skipped
from initializers.residual import ResidualScaling
from initializers.rewiring import Rewired
from initializers.selection import PerLayer
from initializers.signs import (
    MagnitudePermutation,
    SignConstant,
    SignPermutation,
    WeightPermutation,
)
from initializers.simple import Constant, Random, SparseNormal, Zeros
from initializers.skipinit import SkipInit
from initializers.spec import parse_spec
from initializers.strength import StrengthStabilized
from initializers.ternary import Ternary
from initializers.torch_default import TorchDefault
from initializers.transform import Transform
from initializers.variance_scaling import VarianceScaling
from initializers.weight_norm import WeightNormForward, WeightNormResNet
from initializers.weight_norm_data import WeightNormData

__all__ = [
    "GAIN_NAMES",
    "LSUV",
    "AsymmetricBinary",
    "AsymmetricConstant",
    "AsymmetricLogNormal",
    "Batch",
    "BayesKalman",
    "BetaMeans",
    "Branch",
    "Constant",
    "DataBayesKalman",
    "DataDriven",
    "DeltaOrthogonal",
    "Dirac",
    "Fans",
    "Fixup",
    "FromState",
    "GlorotNormal",
    "GlorotUniform",
    "GradInit",
    "HeConstant",
    "HeNormal",
    "HeUniform",
    "InitRecord",
    "Initializer",
    "LayerContext",
    "LayerRecord",
    "LeCunNormal",
    "LeCunUniform",
    "LooksLinear",
    "MagnitudePermutation",
    "Masked",
    "MetaInit",
    "Mimetic",
    "MuP",
    "Orthogonal",
    "PerLayer",
    "Pretrained",
    "Random",
    "ResidualScaling",
    "Rewired",
    "SignConstant",
    "SignPermutation",
    "SkipInit",
    "Skipped",
    "SparseNormal",
    "StrengthStabilized",
    "Ternary",
    "TorchDefault",
    "Transform",
    "TwoPointMeans",
    "VarianceScaling",
    "WeightNormData",
    "WeightNormForward",
    "WeightNormResNet",
    "WeightPermutation",
    "ZerO",
    "Zeros",
    "fans",
    "gain_value",
    "gaussian_submatrix",
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
    "orthogonal_submatrix",
    "parse_spec",
    "register_initializer",
    "residual_branches",
    "sparse_normal_",
    "ternary_",
    "ternary_submatrix",
    "variance_scaling_",
]
