"""A user's own network by import path."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from torch import nn

from lightning_modules.networks.checks import check_output
from lightning_modules.networks.messages import nearest
from lightning_modules.networks.rng import isolated_rng


def build_imported(
    path: str, options: Mapping[str, Any], input_shape: tuple[int, ...], num_classes: int
) -> nn.Module:
    """Build the network that an import path such as ``my_package.my_module:MyNet`` names.

    A class or function is called with `options` and, where its signature names them,
    ``input_shape`` and ``num_classes``; an option of one of these two names goes before. A module
    object is copied, so that every run has its own. The random generators of torch, NumPy and
    Python are seeded with a constant meanwhile and restored at the end.

    Args:
        path: ``module:attribute``.
        options: keyword arguments for the class or function.
        input_shape: shape of one example.
        num_classes: number of logits expected.

    Raises:
        ValueError: no such module or attribute, options that the signature does not accept,
            something that is no network, or one that does not fit the data (see `check_output`).
    """
    with isolated_rng():  # on its own: what a first import draws must not shift the rest
        target = _resolve(path)
    with isolated_rng():
        if isinstance(target, nn.Module):
            if options:
                raise ValueError(
                    f"network {path!r} is an object and takes no options, got "
                    f"{', '.join(sorted(options))}."
                )
            network: object = copy.deepcopy(target)
        else:
            network = _call(path, target, options, input_shape, num_classes)
        if not isinstance(network, nn.Module):
            raise ValueError(
                f"network {path!r} must give a torch.nn.Module, but gave an object of type "
                f"{type(network).__name__}."
            )
        check_output(network, path, input_shape, num_classes)
    return network


def _resolve(path: str) -> object:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        reason = f"there is no module {error.name!r} on the import path"
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            reason = f"importing {module_name!r} failed ({error})"
        raise ValueError(
            f"network {path!r}: {reason} (start Python in the folder that holds it, or install it)."
        ) from error
    try:
        return attrgetter(attribute)(module)
    except AttributeError as error:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise ValueError(
            f"network {path!r}: module {module_name!r} has no attribute {attribute!r}; "
            f"{nearest(attribute, public)}."
        ) from error


def _call(
    path: str,
    target: object,
    options: Mapping[str, Any],
    input_shape: tuple[int, ...],
    num_classes: int,
) -> object:
    if not callable(target):
        raise ValueError(
            f"network {path!r} must be a class, a function or a torch.nn.Module, not an object of "
            f"type {type(target).__name__}."
        )
    signature = inspect.signature(target)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name for name, parameter in signature.parameters.items() if parameter.kind in by_name}
    data = {"input_shape": tuple(input_shape), "num_classes": num_classes}
    arguments = {key: value for key, value in data.items() if key in named} | dict(options)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        given = ", ".join(sorted(arguments)) or "no arguments"
        raise ValueError(
            f"network {path!r} has the signature {path.partition(':')[2]}{signature}, which cannot "
            f"be called with {given} ({error})."
        ) from error
    try:
        return target(**arguments)
    except Exception as error:  # whatever a user's constructor raises
        raise ValueError(
            f"network {path!r} cannot be built ({type(error).__name__}: {error})."
        ) from error
