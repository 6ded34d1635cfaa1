"""Normalisation with the mean and standard deviation of the train split."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_BYTE = 255.0
_CHUNK = 200_000  # elements per step: the float64 copy then stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Normalization:
    """``(x - mean) / std``, one mean and one standard deviation per entry of the first axis.

    For images (C, H, W) that is per channel, for feature vectors (F,) per feature.

    Attributes:
        mean: means; for uint8 data in units of the full scale (0 to 1), else in the data's units.
        std: population standard deviations in the same units; 1 where the data are constant.
        shift: float32 tensor subtracted from the raw values, shape (C, 1, ...).
        scale: float32 tensor multiplied with the result, same shape.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    shift: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Measure the raw train split.

        Args:
            x: raw examples, shape (n, C, ...), uint8 or floating point.

        Returns:
            The normalisation. Two passes in float64: exact to rounding, and no copy of ``x``.
        """
        channels = x.shape[1]
        per_channel = x.numel() // channels
        rows = max(1, _CHUNK * x.shape[0] // x.numel())
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = (channels,) + (1,) * (x.dim() - 2)

        total = torch.zeros(channels, dtype=torch.float64)
        for chunk in torch.split(x, rows):
            total += chunk.double().sum(axes)
        mean = total / per_channel
        squares = torch.zeros_like(total)
        for chunk in torch.split(x, rows):
            squares += chunk.double().sub_(mean.view(shape)).square_().sum(axes)
        std = (squares / per_channel).sqrt()
        std = torch.where(std > 0, std, torch.ones_like(std))

        unit = _BYTE if x.dtype == torch.uint8 else 1.0
        return cls(
            mean=tuple((mean / unit).tolist()),
            std=tuple((std / unit).tolist()),
            shift=mean.float().view(shape),
            scale=(1 / std).float().view(shape),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return normalised float32 copies of raw examples, shape (n, C, ...)."""
        return x.to(torch.float32, copy=True).sub_(self.shift).mul_(self.scale)

    def to(self, device: torch.device) -> "Normalization":
        """Return the same normalisation with its tensors on a device."""
        return Normalization(self.mean, self.std, self.shift.to(device), self.scale.to(device))
