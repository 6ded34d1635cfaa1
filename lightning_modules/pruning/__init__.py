"""Pruning in rounds with rewinding, and weights that stay frozen while the others train."""

from lightning_modules.pruning.frozen import FrozenWeights
from lightning_modules.pruning.iterative import PruningRound, prune_iteratively
from lightning_modules.pruning.plan import PruningPlan

__all__ = ["FrozenWeights", "PruningPlan", "PruningRound", "prune_iteratively"]
