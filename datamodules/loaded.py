"""From raw data to normalised splits in memory."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from datamodules.normalization import Normalization
from datamodules.splits import RawData, Split, fingerprint, split_indices

FLOAT_LIMIT = 300_000_000
"""Bytes up to which uint8 data are stored as normalised float32; larger sets stay uint8."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedData:
    """The splits of a data set in memory.

    Attributes:
        splits: examples and labels under ``"train"``, ``"val"`` and ``"test"``.
        indices: the position of each of them in the raw data, int64.
        normalization: measured on the train split.
        normalized: whether the examples are stored normalised; if not, they are uint8 and each
            batch is normalised, with the same result.
        fingerprint: 16 hexadecimal digits for the raw examples and labels of all splits.
    """

    splits: dict[str, Split]
    indices: dict[str, Tensor]
    normalization: Normalization
    normalized: bool
    fingerprint: str

    @property
    def nbytes(self) -> int:
        """Bytes of all examples and labels."""
        return sum(tensor.nbytes for split in self.splits.values() for tensor in split)

    @property
    def batch_normalization(self) -> Normalization | None:
        """What is left to be done to a batch: the normalisation, or None."""
        return None if self.normalized else self.normalization

    def to(self, device: torch.device) -> Self:
        """Return the data on a device."""
        moved = {key: Split(x.to(device), y.to(device)) for key, (x, y) in self.splits.items()}
        return replace(self, splits=moved, normalization=self.normalization.to(device))


def prepare(
    raw: RawData,
    *,
    name: str,
    val_size: int,
    test_size: int,
    split_seed: int,
    train_limit: int | None = None,
) -> LoadedData:
    """Split raw data (already checked) and normalise them by the train split.

    Args:
        raw: the data.
        name: data set name for messages.
        val_size: examples of the train part held out for validation.
        test_size: examples held out for testing, if there is no official test set.
        split_seed: seed of the split.
        train_limit: keep only so many training examples.

    Raises:
        ValueError: sizes that the data cannot provide.
    """
    held_out = (val_size, test_size) if raw.test_x is None else (val_size,)
    train, val, *rest = split_indices(len(raw.train_y), held_out, split_seed)
    if train_limit is not None and train_limit > len(train):
        raise ValueError(
            f"train_limit {train_limit} is more than the {len(train)} training examples of {name!r}"
        )
    indices = {"train": train[:train_limit], "val": val}
    splits = {key: _take(raw.train_x, raw.train_y, each) for key, each in indices.items()}
    if raw.test_x is None or raw.test_y is None:
        indices["test"] = rest[0]
        splits["test"] = _take(raw.train_x, raw.train_y, rest[0])
    else:
        indices["test"] = torch.arange(len(raw.test_y))
        splits["test"] = _stored(raw.test_x, raw.test_y)
    normalization = Normalization.fit(splits["train"].x)
    digest = fingerprint(*splits.values())
    elements = sum(split.x.numel() for split in splits.values())
    normalized = raw.train_x.dtype != torch.uint8 or 4 * elements <= FLOAT_LIMIT
    if normalized:
        splits = {key: Split(normalization(x), y) for key, (x, y) in splits.items()}
    return LoadedData(
        splits=splits,
        indices=indices,
        normalization=normalization,
        normalized=normalized,
        fingerprint=digest,
    )


def _take(x: Tensor, y: Tensor, indices: Tensor) -> Split:
    return _stored(x.index_select(0, indices), y.index_select(0, indices))


def _stored(x: Tensor, y: Tensor) -> Split:
    """Return floats as float32 and labels as int64, both contiguous; copies only if need be."""
    return Split((x if x.dtype == torch.uint8 else x.float()).contiguous(), y.long().contiguous())
