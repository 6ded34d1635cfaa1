"""From a name, a spec string, a dict, an import path or an object to an initialiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initializers.base import Initializer
from initializers.catalogue import CATALOGUE
from initializers.spec import parse_spec


def get_initializer(
    value: str | Mapping[str, Any] | Initializer | type[Initializer],
) -> Initializer:
    """Return an initialiser given by name, spec string, import path, dict, class or object.

    Args:
        value: For instance ``"he_normal"``, ``"ternary:density=0.1"``, ``"my.module:Mine"``,
            ``{"name": "ternary", "density": 0.1}`` or ``Ternary(density=0.1)``.

    Raises:
        TypeError: If ``value`` is none of these, or names something that is no initialiser.
        ValueError: If a name or option is unknown, or a value out of range.
    """
    if isinstance(value, type) and issubclass(value, Initializer):
        value = value()
    if isinstance(value, str):
        value = CATALOGUE.create(*parse_spec(value))
    elif isinstance(value, Mapping):
        value = Initializer.from_dict(value)
    if not isinstance(value, Initializer):
        raise TypeError(
            "An initialiser must be a name, a spec such as 'ternary:density=0.1', a dict, an "
            f"import path or an Initializer, got {value!r}."
        )
    return value
