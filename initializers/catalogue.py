"""The catalogue: the names of all initialisers, filled by ``initializers.registry``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from initializers.names import Names

if TYPE_CHECKING:
    from initializers.base import Initializer

Factory = Callable[..., "Initializer"]

CATALOGUE = Names("initialiser", "all known names are listed by 'python -m initializers'")


def register_initializer(name: str, factory: Factory) -> None:
    """Add a name to the catalogue.

    Args:
        name: In snake case, as written in a spec string.
        factory: An ``Initializer`` subclass or a function that returns an initialiser.

    Raises:
        ValueError: If the name is taken or no identifier.
    """
    CATALOGUE.register(name, factory)


def initializer_names() -> tuple[str, ...]:
    """Return the names of all registered initialisers in order of registration."""
    return CATALOGUE.all()
