"""Stacks: several networks of one architecture as one module, trained in one step."""

from lightning_modules.stacking.dense import DenseStack, refuse_other_than_chain
from lightning_modules.stacking.networks import (
    LayerStack,
    NotStackableError,
    StackedNetwork,
    VmapStack,
    refuse_unknown,
)
from lightning_modules.stacking.onednn import OneDnnStack, may_gain_from_onednn
from lightning_modules.stacking.optimizer import STACKED_OPTIMIZERS, StackedOptimizer, clip_each_

STACKS: dict[str, type[StackedNetwork]] = {
    "onednn": OneDnnStack,
    "dense": DenseStack,
    "layers": LayerStack,
    "vmap": VmapStack,
}
"""The ways to stack a network, the most special and fastest first."""

__all__ = [
    "STACKED_OPTIMIZERS",
    "STACKS",
    "DenseStack",
    "LayerStack",
    "NotStackableError",
    "OneDnnStack",
    "StackedNetwork",
    "StackedOptimizer",
    "VmapStack",
    "clip_each_",
    "may_gain_from_onednn",
    "refuse_other_than_chain",
    "refuse_unknown",
]
