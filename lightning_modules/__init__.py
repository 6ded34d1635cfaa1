"""LightningModules into which an initialiser is injected, and the networks they train."""

from lightning_modules.classifier import Classifier
from lightning_modules.methods import TrainingMethod, get_method, method_names
from lightning_modules.networks import build_network, network_names
from lightning_modules.optimization import OPTIMIZERS, SCHEDULES, Optimization
from lightning_modules.stacked_classifier import Member, StackedClassifier
from lightning_modules.stacking.batches import StackedBatches, StackedData
from lightning_modules.whole_epoch import WholeEpoch, WholeEpochClassifier

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Classifier",
    "Member",
    "Optimization",
    "StackedBatches",
    "StackedClassifier",
    "StackedData",
    "TrainingMethod",
    "WholeEpoch",
    "WholeEpochClassifier",
    "build_network",
    "get_method",
    "method_names",
    "network_names",
]
