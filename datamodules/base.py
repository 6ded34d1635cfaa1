"""The DataModule that all data sets share: tensors in memory, batches by indexing."""

import copy
import os
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.augmentation import get_augmentation
from datamodules.batches import ShuffledBatches, TensorBatches
from datamodules.loaded import LoadedData, prepare
from datamodules.options import RELOADING, DataOptions, check_count
from datamodules.splits import RawData, Split


class TensorDataModule(LightningDataModule):
    """A data set held in memory, split by a seed and normalised by its train split.

    A subclass sets the class attributes and implements :meth:`load`::

        class Spirals(TensorDataModule):
            name, input_shape, num_classes = "spirals", (2,), 3
            val_size, test_size = 100, 200

            def load(self) -> RawData:
                x, y = make_spirals(1000)
                return RawData(x, y)

    The test split is the official test set where there is one, else ``test_size`` examples. The
    validation split is ``val_size`` examples of the official train set. Construction is cheap;
    data are loaded by the Trainer or by the first method that needs them, once. If the Trainer
    runs on an accelerator with room for the data, they are moved there once.

    Attributes:
        name: short name.
        input_shape: shape of one example, (C, H, W) or (features,).
        num_classes: number of classes.
        val_size: examples in the validation split.
        test_size: examples in the test split if the data have no official test set.
        default_batch_size: training batch size if none is given.
        default_eval_batch_size: validation and test batch size if none is given.
    """

    name: str = ""
    input_shape: tuple[int, ...] = ()
    num_classes: int = 0
    val_size: int = 5000
    test_size: int = 0
    default_batch_size: int = 60
    default_eval_batch_size: int = 500

    def __init__(
        self,
        *,
        root: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        eval_batch_size: int | None = None,
        seed: int = 0,
        split_seed: int = 0,
        augment: str | None = None,
        download: bool = True,
        train_limit: int | None = None,
        drop_last: bool = False,
        uneven: bool = False,
        val_size: int | None = None,
    ) -> None:
        """Choose options; see :class:`datamodules.options.DataOptions` for their meaning.

        ``batch_size``, ``eval_batch_size`` and ``val_size``, the number of training examples that
        are held out for validation (at least 1), default to the data set's own.
        """
        super().__init__()
        if not self.input_shape or self.num_classes < 1:
            raise TypeError(f"{type(self).__name__} must set input_shape and num_classes")
        self.options = DataOptions(
            root=root,
            batch_size=self.default_batch_size if batch_size is None else batch_size,
            eval_batch_size=(
                self.default_eval_batch_size if eval_batch_size is None else eval_batch_size
            ),
            seed=seed,
            split_seed=split_seed,
            augment=augment,
            download=download,
            train_limit=train_limit,
            drop_last=drop_last,
            uneven=uneven,
        )
        if val_size is not None:
            check_count("val_size", val_size)
            self.val_size = val_size
        self._augmentation = get_augmentation(augment, self.input_shape)
        self._loaded: LoadedData | None = None

    def load(self) -> RawData:
        """Read the raw data from ``self.options.folder`` or make them; subclasses implement it."""
        raise NotImplementedError(f"{type(self).__name__} must implement load()")

    @property
    def batch_size(self) -> int:
        """Training examples per optimiser step, over all processes together."""
        return self.options.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:  # Lightning's batch size finder sets it
        self.options = replace(self.options, batch_size=value)

    @property
    def root(self) -> Path:
        """The folder that holds the data files."""
        return self.options.folder

    def with_options(self, **changes: Any) -> Self:
        """Return a copy with other options; it shares the loaded tensors if they stay the same.

        Runs of one data set that differ in seed, batch size or augmentation so load it once.

        Raises:
            ValueError: an unknown option, or a value out of range.
        """
        names = [each.name for each in fields(DataOptions)]
        for name in changes:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise ValueError(f"a data set has no option {name!r} ({hint})")
        new = copy.copy(self)
        new.trainer = None
        new.options = replace(self.options, **changes)
        new._augmentation = get_augmentation(new.options.augment, self.input_shape)
        if any(getattr(new.options, name) != getattr(self.options, name) for name in RELOADING):
            new._loaded = None
        return new

    def setup(self, stage: str | None = None) -> None:
        """Load, split and normalise all data (once), and put them on the Trainer's device.

        Raises:
            DataError: files are missing or damaged.
            ValueError: the data do not fit the description of the data set.
        """
        if self._loaded is None:
            self._loaded = self._load()
        if self.trainer is not None:
            self._move_if_it_fits(self.trainer.strategy.root_device)

    def _data(self) -> LoadedData:
        if self._loaded is None:
            self.prepare_data()
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> LoadedData:
        raw = self.load()
        raw.check(self.name, self.input_shape, self.num_classes)
        return prepare(
            raw,
            name=self.name,
            val_size=self.val_size,
            test_size=self.test_size,
            split_seed=self.options.split_seed,
            train_limit=self.options.train_limit,
        )

    def split(self, name: str) -> Split:
        """Return a split as stored: ``"train"``, ``"val"`` or ``"test"`` (see :meth:`tensors`)."""
        splits = self._data().splits
        if name not in splits:
            raise ValueError(f"split must be one of {', '.join(splits)}, not {name!r}")
        return splits[name]

    def indices(self, name: str) -> Tensor:
        """Return a split's positions (int64) in the raw data that :meth:`load` returned."""
        self.split(name)
        return self._data().indices[name]

    def tensors(self, name: str, limit: int | None = None) -> Split:
        """Return a split's normalised float32 examples and its labels, or the first ``limit``."""
        x, y = self.split(name)
        data = self._data()
        x, y = x[:limit], y[:limit]
        return Split(x if data.normalized else data.normalization(x), y)

    def to(self, device: torch.device | str) -> Self:
        """Move the data to a device, if they are not there already; returns self."""
        target = torch.device(device)
        data = self._data()
        if data.splits["train"].x.device != target:
            self._loaded = data.to(target)
        return self

    def _move_if_it_fits(self, device: torch.device) -> None:
        # Half of the free memory stays for the model; otherwise Lightning moves each batch.
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        if free is None or self._data().nbytes <= free // 2:
            self.to(device)

    def _world(self) -> tuple[int, int]:
        """Return (rank, world size) of the processes that share the batches.

        The Trainer's word counts where there is one: a process group may also exist for other
        ends than sharing data.
        """
        if self.trainer is not None:
            shares = self.trainer.distributed_sampler_kwargs
            return (shares["rank"], shares["num_replicas"]) if shares else (0, 1)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def train_dataloader(self) -> TensorBatches:
        """Return the training batches, at epoch 0 (in order if the Trainer overfits batches)."""
        data, (rank, world_size) = self._data(), self._world()
        if getattr(self.trainer, "overfit_batches", 0) > 0:
            return self._eval_batches("train")
        return ShuffledBatches(
            data.splits["train"],
            self.options.batch_size,
            seed=self.options.seed,
            normalization=data.batch_normalization,
            augmentation=self._augmentation,
            drop_last=self.options.drop_last,
            uneven=self.options.uneven,
            rank=rank,
            world_size=world_size,
        )

    def _eval_batches(self, name: str) -> TensorBatches:
        data, (rank, world_size) = self._data(), self._world()
        return TensorBatches(
            data.splits[name],
            self.options.eval_batch_size if name != "train" else self.options.batch_size,
            normalization=data.batch_normalization,
            rank=rank,
            world_size=world_size,
        )

    def val_dataloader(self) -> TensorBatches:
        """Return the validation batches."""
        return self._eval_batches("val")

    def test_dataloader(self) -> TensorBatches:
        """Return the test batches."""
        return self._eval_batches("test")

    def first_examples(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the first examples of the train split in a fixed order, without augmentation.

        The same in every process and for every seed of the batches; for measurements.
        """
        data = self._data()
        batches = TensorBatches(data.splits["train"], count, normalization=data.batch_normalization)
        return next(iter(batches))

    def predict_dataloader(self) -> TensorBatches:
        """Return the test batches; `Classifier.predict_step` leaves their labels alone."""
        return self._eval_batches("test")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the raw data and their split."""
        return self._data().fingerprint

    def describe(self) -> dict[str, Any]:
        """Return name, sizes, shape, normalisation and fingerprint as plain values."""
        data = self._data()
        return {
            "name": self.name,
            "n_train": len(data.splits["train"].y),
            "n_val": len(data.splits["val"].y),
            "n_test": len(data.splits["test"].y),
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "mean": list(data.normalization.mean),
            "std": list(data.normalization.std),
            "fingerprint": data.fingerprint,
        }

    def __repr__(self) -> str:
        chosen = ", ".join(f"{key}={value!r}" for key, value in asdict(self.options).items())
        return f"{type(self).__name__}({chosen})"

    __str__ = __repr__  # Lightning's would load the data
