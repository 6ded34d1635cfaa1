"""The catalogue: names of initialisers, and how a name or import path becomes one."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from initializers.spec import parse_spec
from initializers.validate import suggestion

if TYPE_CHECKING:
    from initializers.base import Initializer

Factory = Callable[..., "Initializer"]

_CATALOGUE: dict[str, Factory] = {}


def register_initializer(name: str, factory: Factory) -> None:
    """Add a name to the catalogue.

    Args:
        name: In snake case, as written in a spec string.
        factory: An ``Initializer`` subclass or a function that returns an initialiser.

    Raises:
        ValueError: If the name is taken or no identifier.
    """
    if not name.isidentifier():
        raise ValueError(f"Initialiser name {name!r} must be an identifier in snake case.")
    if name in _CATALOGUE:
        raise ValueError(f"Initialiser name {name!r} is taken already; choose another.")
    _CATALOGUE[name] = factory


def initializer_names() -> tuple[str, ...]:
    """Return the names of all registered initialisers in order of registration."""
    return tuple(_CATALOGUE)


def factory_of(name: str) -> Factory:
    """Return what builds a registered initialiser.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in _CATALOGUE:
        raise ValueError(
            f"Unknown initialiser {name!r}{suggestion(name, _CATALOGUE)}; all known names are "
            "listed by 'python -m initializers'; an import path package.module:Class will do, too."
        )
    return _CATALOGUE[name]


def name_of(kind: type[Initializer]) -> str:
    """Return a class's registered name, else its import path ``"package.module:Class"``.

    Raises:
        ValueError: If the class is local to a function and so cannot be found again.
    """
    for name, factory in _CATALOGUE.items():
        if factory is kind:
            return name
    if "<" in kind.__qualname__:
        raise ValueError(
            f"{kind.__name__} cannot be serialised because it is defined inside a function; "
            "define it at the top level of a module."
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def create(name: str, options: Mapping[str, Any]) -> Any:
    """Build what ``name`` stands for.

    Args:
        name: Registered name or import path ``"package.module:Attribute"``.
        options: Keyword arguments of the constructor.

    Raises:
        ValueError: If the name or path is unknown, or an option is unknown or missing.
    """
    target = target_of(name)
    if not callable(target) or _is_instance(target):
        if options:
            raise ValueError(f"{name} is a finished object and takes no options.")
        return target
    check_options(name, target, options)
    return target(**options)


def _is_instance(target: object) -> bool:
    """Return whether ``target`` is a finished initialiser; initialisers are callable, too."""
    return hasattr(target, "to_dict") and not isinstance(target, type)


def create_from_text(text: str) -> Any:
    """Build what a spec string stands for; see ``parse_spec`` and ``create``."""
    return create(*parse_spec(text))


def target_of(name: str) -> Any:
    """Return the class, function or finished object that a name or import path stands for.

    Raises:
        ValueError: If it is unknown.
    """
    return import_path(name) if ":" in name else factory_of(name)


def import_path(path: str) -> Any:
    """Return what ``"package.module:Attribute"`` names.

    Raises:
        ValueError: If there is no such module or attribute.
    """
    module_name, _, attributes = path.partition(":")
    if module_name in _CATALOGUE:
        raise ValueError(f"Option {attributes!r} of {module_name} must be written key=value.")
    try:
        target: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the user's module exists; something that it imports does not
        raise ValueError(
            f"Cannot import {path!r}: there is no module {error.name!r} on the Python path."
        ) from None
    for attribute in attributes.split("."):
        if not hasattr(target, attribute):
            raise ValueError(
                f"Cannot import {path!r}: {module_name} has no {attribute!r}"
                f"{suggestion(attribute, vars(target))}."
            )
        target = getattr(target, attribute)
    return target


def check_options(name: str, target: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise ValueError if ``target`` takes other options than these."""
    signature = inspect.signature(target).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.values()):
        return
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = {name: p for name, p in signature.items() if p.kind in by_name}
    accepted = ", ".join(parameters) or "no options"
    for option in options:
        if option not in parameters:
            raise ValueError(
                f"{name}: unknown option {option!r}{suggestion(option, parameters)}; "
                f"it accepts {accepted}."
            )
    for option, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and option not in options:
            raise ValueError(f"{name}: option {option!r} is required; it accepts {accepted}.")
