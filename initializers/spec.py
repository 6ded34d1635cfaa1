"""Spec strings: how a component and its options are written on one line.

    he_normal
    ternary:density=0.1,scale=1.5
    my_package.my_module:MyInitializer
    my_package.my_module:MyInitializer:std=0.1
    rewired:base=(ternary:density=0.1,scale=1.5)

Values read as ``int``, ``float``, ``true``/``false`` and ``none``; anything else is text. Round
brackets keep the commas of an inner spec together.
"""

from __future__ import annotations

from typing import Any

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}


def parse_spec(text: str) -> tuple[str, dict[str, Any]]:
    """Split a spec string into its name (or import path) and its options.

    Args:
        text: For instance ``"ternary:density=0.1,scale=1.5"``.

    Returns:
        The name, with ``"package.module:Attribute"`` kept whole, and a dict of options in the
        order written.

    Raises:
        TypeError: If ``text`` is no string.
        ValueError: If the name is empty, an option has no ``=`` or no name, an option is given
            twice, or brackets do not match.

    >>> parse_spec("ternary:density=0.1,unscaled=false")
    ('ternary', {'density': 0.1, 'unscaled': False})
    >>> parse_spec("my.module:Mine:std=2")
    ('my.module:Mine', {'std': 2})
    """
    if not isinstance(text, str):
        raise TypeError(f"A spec must be a string such as 'name:key=value', got {text!r}.")
    name, _, rest = text.strip().partition(":")
    if rest and "=" not in rest.partition(":")[0].partition(",")[0]:
        attribute, _, rest = rest.partition(":")
        name = f"{name.strip()}:{attribute.strip()}"
    if not name.strip(" :") or name.startswith(":") or any(c in name for c in "=,() \t\n"):
        raise ValueError(f"Spec {text!r} must start with a name, as in 'name:key=value,key=value'.")
    return name.strip(), parse_options(rest, text)


def parse_options(text: str, whole: str | None = None) -> dict[str, Any]:
    """Split the options of a spec string: ``"key=value,key=(inner:key=value)"``.

    Args:
        text: The options alone.
        whole: The text that is shown in messages; None takes ``text``.

    Raises:
        ValueError: If an option has no ``=`` or no name, is given twice, or brackets do not match.
    """
    whole = text if whole is None else whole
    options: dict[str, Any] = {}
    for item in _split(text, whole):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key:
            raise ValueError(f"Spec {whole!r}: option {item.strip()!r} must be written key=value.")
        if key in options:
            raise ValueError(f"Spec {whole!r}: option {key!r} is given twice.")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> Any:
    """Read one option value: int, float, true/false, none, else the text itself.

    A value in round brackets is returned as text without them.
    """
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1]
    if "_" not in text:  # Python would read "1_0" as 10
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _split(text: str, whole: str) -> list[str]:
    """Split at the commas that stand outside of brackets."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise ValueError(f"Spec {whole!r}: round brackets do not match.")
    items.append(text[start:])
    return items if text.strip() else []
