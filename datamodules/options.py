"""The options that every data set takes, checked in one place."""

import os
from dataclasses import dataclass, field
from pathlib import Path

ROOT_VARIABLE = "TERNARY_STUDIES_DATA"
"""Environment variable that names the default data folder."""


def default_root() -> Path:
    """Return the folder for downloaded data.

    ``$TERNARY_STUDIES_DATA``; else ``ternary-studies/data`` under ``$XDG_CACHE_HOME`` (if that is
    an absolute path, as the XDG base directory specification demands); else under ``~/.cache``.
    """
    if named := os.environ.get(ROOT_VARIABLE):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        cache = Path.home() / ".cache"
    return cache / "ternary-studies" / "data"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is chosen about a data set, as plain values.

    Args:
        root: folder that holds the data files; default :func:`default_root`.
        batch_size: training examples per optimiser step, over all processes together.
        eval_batch_size: upper limit of the examples per validation or test batch.
        seed: seed of the training order and of augmentation.
        split_seed: seed of the train/validation(/test) split.
        augment: None or the name of an augmentation of the training batches (``"crop_flip"``).
        download: whether missing files may be downloaded.
        train_limit: use only the first so many examples of the shuffled train split.
        drop_last: leave out the last training batch of an epoch if it is incomplete.
        uneven: let the shares of several processes differ by one example where a training batch
            cannot be divided evenly; for modules that weigh gradients by examples.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a size below 1.
    """

    root: str | os.PathLike[str] | None = None
    batch_size: int = field()
    eval_batch_size: int = field()
    seed: int = 0
    split_seed: int = 0
    augment: str | None = None
    download: bool = True
    train_limit: int | None = None
    drop_last: bool = False
    uneven: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "eval_batch_size", "train_limit"):
            value = getattr(self, name)
            if not (value is None and name == "train_limit"):
                check_count(name, value)
        for name in ("seed", "split_seed"):
            check_integer(name, getattr(self, name))
        for name in ("download", "drop_last", "uneven"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.root is not None and not isinstance(self.root, str | os.PathLike):
            raise TypeError(f"root must be a path to a folder, not {self.root!r}")
        if self.augment is not None and not isinstance(self.augment, str):
            raise TypeError(f"augment must be None or a name, not {self.augment!r}")

    @property
    def folder(self) -> Path:
        """The data folder: ``root`` with ``~`` expanded, or the default."""
        return default_root() if self.root is None else Path(self.root).expanduser()


RELOADING = frozenset({"root", "split_seed", "download", "train_limit"})
"""Options that change which data are loaded, not only how batches are drawn from them."""


def check_integer(name: str, value: object) -> None:
    """Raise ``TypeError`` unless the value is an integer (True and False are not)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")


def check_count(name: str, value: object, minimum: int = 1) -> None:
    """Raise ``TypeError`` unless the value is an integer, ``ValueError`` if it is too small."""
    check_integer(name, value)
    if isinstance(value, int) and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")
