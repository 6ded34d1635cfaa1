"""Data sets by name, import path, class or object."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from datamodules.spec import parse

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

_PATHS = {
    "digits": "datamodules.digits:Digits",
    "mnist": "datamodules.mnist:MNIST",
    "fashion_mnist": "datamodules.mnist:FashionMNIST",
    "cifar10": "datamodules.cifar10:CIFAR10",
}
_OFFERED = frozenset({"seed", "split_seed"})


def datamodule_names() -> tuple[str, ...]:
    """Return the names of the data sets that come with the package."""
    return tuple(_PATHS)


def get_datamodule(
    spec: "str | Mapping[str, Any] | type[LightningDataModule] | LightningDataModule",
    **options: Any,
) -> "LightningDataModule":
    """Return a DataModule from any way of naming one.

    Args:
        spec: a name (``"mnist"``), an import path (``"my_package.my_module:MyDataModule"``), either
            with options (``"mnist:train_limit=1000"``), a mapping ``{"name": name or path,
            **options}``, a LightningDataModule class, or an object. A DataModule of one's own needs
            ``input_shape`` and ``num_classes``.
        **options: constructor arguments; None means not given. ``seed`` and ``split_seed`` are
            offered: a class of one's own that does not take them is built without. A
            :class:`TensorDataModule` object is copied with the options changed (see its
            ``with_options``); another object is returned as it is.

    Raises:
        ValueError: an unknown name or option, an import that fails, ``input_shape`` or
            ``num_classes`` missing.
        TypeError: the spec is nothing of the above, or does not lead to a DataModule.
    """
    from lightning.pytorch import LightningDataModule

    given = {key: value for key, value in options.items() if value is not None}
    label, target, written = _resolve(spec)
    for key in sorted(written.keys() & given.keys()):
        raise ValueError(f"{key} is given twice: {written[key]!r} in {spec!r} and {given[key]!r}")
    if isinstance(target, type) and issubclass(target, LightningDataModule):
        datamodule = _build(label, target, written, given)
    elif isinstance(target, LightningDataModule):
        datamodule = _adapt(label, target, {**written, **given})
    else:
        raise TypeError(
            f"a data set must be a name, an import path, a mapping or a LightningDataModule, "
            f"but {label} is {target!r}"
        )
    _check_described(label, datamodule)
    return datamodule


def _resolve(spec: object) -> tuple[str, object, dict[str, Any]]:
    """Return (label for messages, class or object, options written in the spec)."""
    if isinstance(spec, Mapping):
        written = dict(spec)
        name = written.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"a data set as a mapping needs a 'name', but {spec!r} has none")
        path = name
    elif isinstance(spec, str):
        path, written = parse(spec)
    else:
        return getattr(spec, "__name__", type(spec).__name__), spec, {}
    if ":" not in path:
        if path not in _PATHS:
            raise ValueError(_unknown(path))
        return path, _import(_PATHS[path]), written
    return path, _import(path), written


def _unknown(name: str) -> str:
    near = get_close_matches(name.lower().replace("-", "_"), _PATHS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return (
        f"unknown data set {name!r}: {hint}known are {', '.join(_PATHS)}, and an import path like "
        "my_package.my_module:MyDataModule"
    )


def _import(path: str) -> object:
    module_name, _, attribute = path.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever a user's module raises when it runs
        raise ValueError(
            f"data set {path!r}: importing {module_name!r} failed "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
    if not hasattr(module, attribute):
        near = get_close_matches(attribute, dir(module), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"data set {path!r}: {module_name!r} has no {attribute!r}{hint}")
    found: object = getattr(module, attribute)
    return found


def _build(
    label: str,
    cls: "type[LightningDataModule]",
    written: dict[str, Any],
    given: dict[str, Any],
) -> "LightningDataModule":
    signature = inspect.signature(cls)
    kinds = {each.kind for each in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        accepted = list(signature.parameters)
        given = {k: v for k, v in given.items() if k in accepted or k not in _OFFERED}
        for key in (*written, *given):
            if key not in accepted:
                near = get_close_matches(key, accepted, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(accepted)}"
                raise ValueError(f"data set {label!r} has no option {key!r} ({hint})")
    try:
        signature.bind(**written, **given)
    except TypeError as error:
        raise ValueError(f"data set {label!r} cannot be built: {error}") from error
    return cls(**written, **given)


def _adapt(
    label: str, datamodule: "LightningDataModule", options: dict[str, Any]
) -> "LightningDataModule":
    from datamodules.base import TensorDataModule

    if isinstance(datamodule, TensorDataModule):
        return datamodule.with_options(**options) if options else datamodule
    if refused := sorted(options.keys() - _OFFERED):
        raise ValueError(
            f"data set {label!r} is an object that exists already, so {', '.join(refused)} cannot "
            "be chosen any more"
        )
    return datamodule


def _check_described(label: str, datamodule: "LightningDataModule") -> None:
    shape = getattr(datamodule, "input_shape", None)
    classes = getattr(datamodule, "num_classes", None)
    if not isinstance(shape, tuple | list) or not shape or not all(map(_is_count, shape)):
        raise ValueError(
            f"data set {label!r} needs an attribute input_shape, the shape of one example such as "
            f"(3, 32, 32), but has {shape!r}"
        )
    if not _is_count(classes):
        raise ValueError(
            f"data set {label!r} needs an attribute num_classes, a positive integer, "
            f"but has {classes!r}"
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
