"""Tables of names, and how a name or an import path becomes what it stands for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from initializers.validate import suggestion

Factory = Callable[..., Any]


class Names:
    """What may be named in a spec string: factories by name, and anything by its import path.

    Args:
        noun: What one entry is, for the messages.
        listed: Where a user finds all names, for the message about an unknown one; None has the
            message list them.
    """

    def __init__(self, noun: str, listed: str | None = None) -> None:
        self.noun = noun
        self._listed = listed
        self._factories: dict[str, Factory] = {}

    def register(self, name: str, factory: Factory) -> None:
        """Add a name.

        Args:
            name: In snake case, as written in a spec string.
            factory: A class or a function that returns an object.

        Raises:
            ValueError: If the name is taken or no identifier.
        """
        what = f"{self.noun.capitalize()} name {name!r}"
        if not name.isidentifier():
            raise ValueError(f"{what} must be an identifier in snake case.")
        if name in self._factories:
            raise ValueError(f"{what} is taken already; choose another.")
        self._factories[name] = factory

    def all(self) -> tuple[str, ...]:
        """Return all names in order of registration."""
        return tuple(self._factories)

    def name_of(self, kind: type) -> str:
        """Return a class's registered name, else its import path ``"package.module:Class"``.

        Raises:
            ValueError: If the class is local to a function and so cannot be found again.
        """
        for name, factory in self._factories.items():
            if factory is kind:
                return name
        if "<" in kind.__qualname__:
            raise ValueError(
                f"{kind.__name__} cannot be serialised because it is defined inside a function; "
                "define it at the top level of a module."
            )
        return f"{kind.__module__}:{kind.__qualname__}"

    def target_of(self, name: str) -> Any:
        """Return the class, function or finished object that a name or import path stands for.

        Raises:
            ValueError: If it is unknown.
        """
        if name in self._factories:
            return self._factories[name]
        head, colon, rest = name.partition(":")
        if not colon:
            listed = self._listed or f"known are {', '.join(self._factories)}"
            raise ValueError(
                f"Unknown {self.noun} {name!r}{suggestion(name, self._factories)}; {listed}; an "
                "import path package.module:Class will do, too."
            )
        if head in self._factories:
            raise ValueError(f"Option {rest!r} of {head} must be written key=value.")
        return _imported(name)

    def create(self, name: str, options: Mapping[str, Any]) -> Any:
        """Build what ``name`` stands for.

        Args:
            name: Registered name or import path ``"package.module:Attribute"``.
            options: Keyword arguments of the constructor.

        Raises:
            ValueError: If the name or path is unknown, or an option is unknown or missing.
        """
        target = self.target_of(name)
        if not callable(target) or _is_finished(target):
            if options:
                raise ValueError(f"{name} is a finished object and takes no options.")
            return target
        _check_options(name, target, options)
        return target(**options)


def _is_finished(target: object) -> bool:
    """Return whether ``target`` is an object that serialises; initialisers are callable, too."""
    return hasattr(target, "to_dict") and not isinstance(target, type)


def _imported(path: str) -> Any:
    module_name, _, attributes = path.partition(":")
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


def _check_options(name: str, target: Factory, options: Mapping[str, Any]) -> None:
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
