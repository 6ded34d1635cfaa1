"""Augmentation of whole batches by tensor operations, driven by draws made in advance."""

from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class CropFlip:
    """Random shift by up to ``pad`` pixels and random horizontal flip, independently per image.

    Each image is padded with ``pad`` zeros on every side, cropped back to its size at an offset
    uniform on {0, ..., 2 pad} in both directions, and mirrored with probability 1/2 (He et al.
    2016, section 4.2). It works on *normalised* images, so the padding has the mean colour of the
    train split, as in that paper, whose inputs are mean-subtracted before they are padded.
    """

    pad: int = 4

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw for ``n`` images: int64 (n, 3), columns row offset, column offset, flip (0 or 1)."""
        offsets = torch.randint(0, 2 * self.pad + 1, (n, 2), generator=generator)
        return torch.cat((offsets, torch.randint(0, 2, (n, 1), generator=generator)), dim=1)

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Apply draws (n, 3) to images (n, C, H, W); returns new images of the same shape."""
        n, channels, height, width = x.shape
        rows = torch.arange(height, device=x.device) + draws[:, :1]
        columns = torch.arange(width, device=x.device) + draws[:, 1:2]
        columns = torch.where(draws[:, 2:] == 1, columns.flip(1), columns)
        # One gather over the flattened padded image does crop and flip together.
        padded_width = width + 2 * self.pad
        places = rows[:, :, None] * padded_width + columns[:, None, :]
        padded = pad(x, (self.pad,) * 4).flatten(2)
        places = places.view(n, 1, height * width).expand(n, channels, height * width)
        return padded.gather(2, places).view(n, channels, height, width)


AUGMENTATIONS = {"crop_flip": CropFlip()}


def get_augmentation(name: str | None, input_shape: tuple[int, ...]) -> CropFlip | None:
    """Return an augmentation by name (None for none).

    Raises:
        ValueError: an unknown name, or data that are not images (C, H, W).
    """
    if name is None:
        return None
    if name not in AUGMENTATIONS:
        near = get_close_matches(name.lower(), AUGMENTATIONS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(AUGMENTATIONS)}"
        raise ValueError(f"augment {name!r} is unknown ({hint})")
    if len(input_shape) != 3:
        raise ValueError(
            f"augment {name!r} needs images of shape (channels, height, width), "
            f"but an example has shape {input_shape}"
        )
    return AUGMENTATIONS[name]
