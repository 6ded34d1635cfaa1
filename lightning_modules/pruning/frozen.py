"""Single weights that stay as they are while the others train."""

from __future__ import annotations

from collections.abc import Mapping

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from initializers.layers import plan_module
from lightning_modules.holding import hold
from lightning_modules.networks.messages import nearest


class FrozenWeights(pl.Callback):
    """Keeps chosen weights at the values that they have when training starts, bit for bit.

    Their gradient is 0, so that they count in no gradient norm, and after each optimiser step they
    get their values back, whatever momentum and weight decay did. The optimiser, its state and
    every other weight are left alone. It works with any optimiser and with `WholeEpochClassifier`.

    Args:
        masks: bool tensors of the parameters' shapes under their names in the network, True where
            a weight trains; parameters that are not named train. None freezes the weights that are
            exactly 0 when training starts, which keeps any sparse initialisation sparse.

    Raises:
        ValueError: when training starts, if a mask's name, type or shape does not fit the network.
    """

    def __init__(self, masks: Mapping[str, Tensor] | None = None) -> None:
        self.masks = None if masks is None else dict(masks)
        self._handles: list[RemovableHandle] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the values to keep and follow the optimisers' steps."""
        network = getattr(pl_module, "network", None)
        if not isinstance(network, nn.Module):
            raise ValueError(
                f"FrozenWeights: {type(pl_module).__name__} has no attribute 'network' whose "
                "weights could be frozen."
            )
        self._release()
        parameters = dict(network.named_parameters())
        parts = []
        for name, mask in self._masks(network).items():
            parameter = self._checked(name, mask, parameters)
            parts.append((parameter, ~mask))
        self._handles = hold(parts, trainer.optimizers)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let go of the network."""
        self._release()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let go of the network."""
        self._release()

    def _masks(self, network: nn.Module) -> dict[str, Tensor]:
        if self.masks is not None:
            return self.masks
        names = {weight.name.partition("[")[0] for weight in plan_module(network).weights}
        parameters = network.named_parameters()
        return {name: value.detach() != 0 for name, value in parameters if name in names}

    def _checked(
        self, name: str, mask: Tensor, parameters: Mapping[str, nn.Parameter]
    ) -> nn.Parameter:
        if name not in parameters:
            raise ValueError(
                f"FrozenWeights: the network has no parameter {name!r}; "
                f"{nearest(name, parameters)}."
            )
        parameter = parameters[name]
        if mask.dtype != torch.bool or mask.shape != parameter.shape:
            raise ValueError(
                f"FrozenWeights: the mask of {name} must be a bool tensor of shape "
                f"{tuple(parameter.shape)}, got {mask.dtype} of shape {tuple(mask.shape)}."
            )
        return parameter

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
