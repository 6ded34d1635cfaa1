"""The explicit list of all initialisers under their names in spec strings."""

from __future__ import annotations

from initializers.asymmetric import AsymmetricBinary, AsymmetricConstant, AsymmetricLogNormal
from initializers.bayesian import BayesKalman
from initializers.bayesian_data import DataBayesKalman
from initializers.blog import blog_he, blog_random, blog_xavier, blog_xavier_both, blog_zero
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
from initializers.fixup import Fixup
from initializers.gradinit import GradInit
from initializers.identity import Dirac, ZerO
from initializers.isometry import (
    LooksLinear,
    gaussian_submatrix,
    orthogonal_submatrix,
    ternary_submatrix,
)
from initializers.lsuv import LSUV
from initializers.masks import Masked
from initializers.means import BetaMeans, TwoPointMeans
from initializers.metainit import MetaInit
from initializers.mimetic import Mimetic
from initializers.mup import MuP
from initializers.orthogonal import Orthogonal
from initializers.patel import patel_he, patel_random, patel_xavier, patel_zero
from initializers.pretrained import Pretrained
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
from initializers.strength import StrengthStabilized
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
    ("sign_constant", SignConstant),
    ("sign_permutation", SignPermutation),
    ("magnitude_permutation", MagnitudePermutation),
    ("weight_permutation", WeightPermutation),
    ("masked", Masked),
    ("pretrained", Pretrained),
    ("patel_zero", patel_zero),
    ("patel_random", patel_random),
    ("patel_xavier", patel_xavier),
    ("patel_he", patel_he),
    ("blog_zero", blog_zero),
    ("blog_random", blog_random),
    ("blog_he", blog_he),
    ("blog_xavier", blog_xavier),
    ("blog_xavier_both", blog_xavier_both),
    ("dirac", Dirac),
    ("zero_hadamard", ZerO),
    ("fixup", Fixup),
    ("skipinit", SkipInit),
    ("mimetic", Mimetic),
    ("mup", MuP),
    ("lsuv", LSUV),
    ("metainit", MetaInit),
    ("gradinit", GradInit),
    ("per_layer", PerLayer),
    ("bayes_kalman", BayesKalman),
    ("bayes_kalman_data", DataBayesKalman),
    ("rewired", Rewired),
    ("strength_stabilized", StrengthStabilized),
    ("weight_norm", WeightNormForward),
    ("weight_norm_resnet", WeightNormResNet),
    ("weight_norm_data", WeightNormData),
    ("residual", ResidualScaling),
    ("looks_linear", LooksLinear),
    ("gaussian_submatrix", gaussian_submatrix),
    ("orthogonal_submatrix", orthogonal_submatrix),
    ("ternary_submatrix", ternary_submatrix),
    ("delta_orthogonal", DeltaOrthogonal),
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
