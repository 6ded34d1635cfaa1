"""The text form of a data set: a name or import path, with options."""

from typing import Any

_WORDS = {"true": True, "false": False, "none": None}


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Split a spec string.

    Args:
        text: ``name``, ``package.module:Attr``, or either followed by ``:key=value,key=value``.

    Returns:
        The name or path, and the options as int, float, bool, None or str.

    Raises:
        ValueError: an option that is not ``key=value``, or is given twice.
    """
    head, *rest = text.strip().split(":", 1)
    tail = rest[0] if rest else ""
    if tail and "=" not in tail.split(":", 1)[0]:
        attribute, _, tail = tail.partition(":")
        head = f"{head}:{attribute}"
    options: dict[str, Any] = {}
    for part in tail.split(",") if tail else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier():
            raise ValueError(f"data set {text!r}: {part!r} is not of the form key=value")
        if key in options:
            raise ValueError(f"data set {text!r}: {key} is given twice")
        options[key] = _scalar(value)
    return head, options


def _scalar(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
