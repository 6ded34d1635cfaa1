"""The explicit table of all training methods, and how a name, spec or mapping becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from initializers.catalogue import check_options, import_path
from initializers.spec import parse_spec
from initializers.validate import suggestion

if TYPE_CHECKING:
    from lightning_modules.methods.base import TrainingMethod

Factory = Callable[..., "TrainingMethod"]

_METHODS: dict[str, Factory] = {}


def register_method(name: str, factory: Factory) -> None:
    """Add a name.

    Args:
        name: In snake case, as written in a spec string.
        factory: A ``TrainingMethod`` subclass or a function that returns a method.

    Raises:
        ValueError: If the name is taken or no identifier.
    """
    if not name.isidentifier():
        raise ValueError(f"Method name {name!r} must be an identifier in snake case.")
    if name in _METHODS:
        raise ValueError(f"Method name {name!r} is taken already; choose another.")
    _METHODS[name] = factory


def method_names() -> tuple[str, ...]:
    """Return the names of all registered methods in order of registration."""
    return tuple(_METHODS)


def name_of(kind: type[TrainingMethod]) -> str:
    """Return a class's registered name, else its import path ``"package.module:Class"``.

    Raises:
        ValueError: If the class is local to a function and so cannot be found again.
    """
    for name, factory in _METHODS.items():
        if factory is kind:
            return name
    if "<" in kind.__qualname__:
        raise ValueError(
            f"{kind.__name__} cannot be serialised because it is defined inside a function; "
            "define it at the top level of a module."
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def get_method(value: str | Mapping[str, Any] | TrainingMethod) -> TrainingMethod:
    """Return a method given by name, spec string, import path, mapping or object.

    Args:
        value: For instance ``"supermask"``, ``"signed_supermask:threshold=0.3"``,
            ``{"name": "connectivity", "change": "flip"}``, ``"my.module:Mine"`` or ``Supermask()``.

    Raises:
        TypeError: If ``value`` is none of these, or names something that is no method.
        ValueError: If a name or option is unknown, or a value out of range.
    """
    from lightning_modules.methods.base import TrainingMethod

    given = value
    if isinstance(value, str):
        value = _create(*parse_spec(value))
    elif isinstance(value, Mapping):
        options = dict(value)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise TypeError(f"A method as data needs a 'name' and its options, got {given!r}.")
        value = _create(name, options)
    if not isinstance(value, TrainingMethod):
        raise TypeError(
            "A training method must be a name, a spec such as 'supermask:rescale=false', a "
            f"mapping, an import path or a TrainingMethod, got {given!r}."
        )
    return value


def _create(name: str, options: Mapping[str, Any]) -> Any:
    head, colon, rest = name.partition(":")
    if colon and head in _METHODS:
        raise ValueError(f"Option {rest!r} of {head} must be written key=value.")
    if not colon and name not in _METHODS:
        raise ValueError(
            f"Unknown training method {name!r}{suggestion(name, _METHODS)}; known are "
            f"{', '.join(_METHODS)}, or give an import path package.module:Class."
        )
    target = import_path(name) if colon else _METHODS[name]
    if not callable(target):
        if options:
            raise ValueError(f"{name} is a finished object and takes no options.")
        return target
    check_options(name, target, options)
    return target(**options)
