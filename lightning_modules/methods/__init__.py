"""Training methods: what of a network is trained instead of its weights.

>>> from torch import nn
>>> from initializers import HeNormal
>>> network = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
>>> record = HeNormal()(network, seed=0)
>>> applied = get_method("free_pruning").apply(network, seed=0)
>>> applied.metrics()
{'masked': 0.0, 'flipped': 0.0, 'changed': 0.0}

`Classifier(network, initializer, method="free_pruning")` does this and trains the result.
"""

from lightning_modules.methods.base import Applied, TrainingMethod
from lightning_modules.methods.binary_surrogate import BinarySurrogate
from lightning_modules.methods.connectivity import Connectivity
from lightning_modules.methods.registry import get_method, method_names, register_method
from lightning_modules.methods.restart import Restart
from lightning_modules.methods.signed_supermask import SignedSupermask
from lightning_modules.methods.supermask import Supermask

for _name, _factory in (
    ("connectivity", Connectivity),
    ("free_pruning", Connectivity.free_pruning),
    ("min_pruning", Connectivity.min_pruning),
    ("free_flipping", Connectivity.free_flipping),
    ("min_flipping", Connectivity.min_flipping),
    ("supermask", Supermask),
    ("signed_supermask", SignedSupermask),
    ("binary_surrogate", BinarySurrogate),
    ("restart", Restart),
):
    register_method(_name, _factory)

__all__ = [
    "Applied",
    "BinarySurrogate",
    "Connectivity",
    "Restart",
    "SignedSupermask",
    "Supermask",
    "TrainingMethod",
    "get_method",
    "method_names",
    "register_method",
]
