"""Weights from a checkpoint, as an initialiser: what other initialisers can be wrapped around."""

from __future__ import annotations

import functools
import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from initializers.base import Initializer
from initializers.context import LayerContext
from initializers.job import Job
from initializers.layers import oriented


@dataclass(frozen=True)
class StoredWeights(Initializer):
    """Common part of initialisers that set a module to a stored state, norm layers included."""

    stochastic: ClassVar[bool] = False
    family: ClassVar[str] = "composition"

    @abstractmethod
    def state(self) -> Mapping[str, Tensor]:
        """Return the stored tensors under the module's names.

        Raises:
            ValueError: If they cannot be read.
        """

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        """Copy the stored weight; see ``Initializer.fill``."""
        weight.copy_(self.weight(context))

    def weight(self, context: LayerContext) -> Tensor:
        """Return the stored weight in the orientation of ``context.shape``.

        Raises:
            ValueError: If it is not there or has another shape.
        """
        name = context.name.partition("[")[0]
        if context.module is None or name not in self.state():
            raise ValueError(f"{type(self).__name__}: there is no stored weight {context.name!r}.")
        return oriented(context.name, context.module, self.state()[name]).read()

    def check(self, job: Job) -> None:
        """Refuse a module whose names or shapes are not those of the stored state."""
        self.check_weights(job)
        if job.plan.skipped:
            first = job.plan.skipped[0]
            raise ValueError(
                f"{type(self).__name__}: {first.name} would be left alone ({first.reason}); load "
                "the state dict with module.load_state_dict instead."
            )
        own, stored = job.module.state_dict(), self.state()
        for name in own:
            self._refuse_other_shape(name, own[name], stored)
        for name in stored:
            if name not in own:
                raise ValueError(f"{type(self).__name__}: the module has no {name!r}.")

    def check_weights(self, job: Job) -> None:
        """Refuse a module some of whose weights are not stored in their shape."""
        stored, own = self.state(), dict(job.module.named_parameters(remove_duplicate=False))
        for layer in job.layers:
            name = layer.weight.name.partition("[")[0]
            self._refuse_other_shape(name, own[name], stored)

    def run(self, job: Job) -> None:
        """Set the whole module to the stored state."""
        job.module.load_state_dict(dict(self.state()))

    def _refuse_other_shape(self, name: str, own: Tensor, stored: Mapping[str, Tensor]) -> None:
        owner = type(self).__name__
        if name not in stored:
            near = next((key for key in stored if key.endswith(f".{name}")), None)
            prefix = "" if near is None else near[: -len(name)]
            hint = f"; the state has {near!r}: give prefix={prefix!r}" if near else ""
            raise ValueError(f"{owner}: the stored state has no {name!r}{hint}.")
        if stored[name].shape != own.shape:
            raise ValueError(
                f"{owner}: {name} is stored with shape {tuple(stored[name].shape)}, but the module "
                f"has {tuple(own.shape)}."
            )


@dataclass(frozen=True)
class Pretrained(StoredWeights):
    """The state of a file: a state dict written by ``torch.save``, or a Lightning checkpoint.

    The file is read with ``weights_only=True`` when a module is initialised. The description of
    this value holds the path, not the contents: where results are remembered by the description,
    give the checksum as well.

    Formula:
        w = the value of the file

    Args:
        path: The file.
        prefix: What stands before the module's names in the file, ``"network."`` in checkpoints of
            ``Classifier``; names that start otherwise are ignored.
        sha256: Hexadecimal checksum that the file must have; empty for any.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If the path is empty.
    """

    path: str
    prefix: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.path, os.PathLike):
            object.__setattr__(self, "path", os.fspath(self.path))
        for name in ("path", "prefix", "sha256"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"Pretrained: {name} must be text, got {getattr(self, name)!r}.")
        if not self.path:
            raise ValueError("Pretrained: path must name a file, got an empty text.")

    def state(self) -> Mapping[str, Tensor]:
        """Read the file, unless it was just read; see ``StoredWeights.state``."""
        try:
            entry = os.stat(self.path)
            stored, checksum = _read(self.path, entry.st_mtime_ns, entry.st_size)
        except OSError as error:
            raise ValueError(f"Pretrained: cannot read {self.path!r}: {error.strerror}.") from None
        if self.sha256 and checksum != self.sha256.lower():
            raise ValueError(
                f"Pretrained: {self.path!r} has the checksum {checksum}, not {self.sha256}."
            )
        start = len(self.prefix)
        return {key[start:]: value for key, value in stored.items() if key.startswith(self.prefix)}


@dataclass(frozen=True)
class FromState(StoredWeights):
    """A state given as tensors, for use in Python.

    The tensors are copied. Equality and hash go by their contents; ``to_dict`` gives their checksum
    only, so that the description cannot be turned back into weights.

    Args:
        tensors: As ``module.state_dict()`` gives them.

    Raises:
        TypeError: If the values are no tensors.
    """

    tensors: Mapping[str, Tensor] = field(compare=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        for name, value in self.tensors.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"FromState: {name} must be a tensor, got {value!r}.")
        copies = {name: value.detach().cpu().clone() for name, value in self.tensors.items()}
        object.__setattr__(self, "tensors", copies)
        object.__setattr__(self, "sha256", _checksum(copies))

    def state(self) -> Mapping[str, Tensor]:
        """Return the tensors."""
        return self.tensors

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the checksum of the contents."""
        return {"name": "initializers.pretrained:FromState", "sha256": self.sha256}

    def __repr__(self) -> str:
        return f"FromState(<{len(self.tensors)} tensors, sha256 {self.sha256[:12]}>)"


@functools.lru_cache(maxsize=2)  # an initial and a trained state
def _read(path: str, modified: int, size: int) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a file and its checksum; the other arguments make a new file new."""
    with open(path, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes of any other kind, the unpickler may raise anything
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        _refuse(path, f"torch cannot read it safely ({said})")
    if isinstance(data, Mapping) and "pytorch-lightning_version" in data:
        data = data["state_dict"]
    if not isinstance(data, Mapping):
        _refuse(path, f"it holds a {type(data).__name__}")
    tensors = {str(key): value for key, value in data.items() if isinstance(value, Tensor)}
    if len(tensors) != len(data) or not tensors:
        _refuse(path, "not all of its entries are tensors" if data else "it is empty")
    return tensors, checksum


def _refuse(path: str, reason: str) -> NoReturn:
    raise ValueError(
        f"Pretrained: {path!r} is no state dict: {reason}; write one with "
        "torch.save(module.state_dict(), path)."
    ) from None


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
