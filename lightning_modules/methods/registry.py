"""The names of all training methods, and how a name, spec or mapping becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from initializers.names import Names
from initializers.spec import parse_spec

if TYPE_CHECKING:
    from lightning_modules.methods.base import TrainingMethod

Factory = Callable[..., "TrainingMethod"]

METHODS = Names("training method")


def register_method(name: str, factory: Factory) -> None:
    """Add a name.

    Args:
        name: In snake case, as written in a spec string.
        factory: A ``TrainingMethod`` subclass or a function that returns a method.

    Raises:
        ValueError: If the name is taken or no identifier.
    """
    METHODS.register(name, factory)


def method_names() -> tuple[str, ...]:
    """Return the names of all registered methods in order of registration."""
    return METHODS.all()


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
        value = METHODS.create(*parse_spec(value))
    elif isinstance(value, Mapping):
        options = dict(value)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise TypeError(f"A method as data needs a 'name' and its options, got {given!r}.")
        value = METHODS.create(name, options)
    if not isinstance(value, TrainingMethod):
        raise TypeError(
            "A training method must be a name, a spec such as 'supermask:rescale=false', a "
            f"mapping, an import path or a TrainingMethod, got {given!r}."
        )
    return value
