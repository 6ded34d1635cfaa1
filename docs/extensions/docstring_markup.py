"""Make the docstrings' plain text safe for reStructuredText, before Napoleon reads it.

* ``Formula:`` sections become literal blocks.
* Names of arguments that go on in the next line come into one.
* An asterisk or a bar in running text (``(n, *input_shape)``, ``|x|``) stays what it is.
* The first line of an attribute is text: Napoleon would take words before a colon for its type.
* A constant has the text of its directive, not that of its class.
* A default that a dataclass makes anew, ``<factory>``, is written ``...``, which Sphinx can read.
"""

from __future__ import annotations

import re
from inspect import getdoc
from typing import Any

from sphinx.application import Sphinx

_NAMES = re.compile(r"\s+(\w+, )*\w+,")
_QUOTED = re.compile(r"(``.*?``|`[^`]*`)")
_MARKUP = re.compile(r"(?<![\w*\\])\*(?=[\w(])|\|")


def prepare(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Change the lines of a docstring in place (Sphinx's event autodoc-process-docstring)."""
    if what == "data" and lines[:1] == (getdoc(type(obj)) or "").split("\n")[:1]:
        lines.clear()
    lines[:] = _escaped(_with_literal_formula(_joined(lines)))
    if lines and what in ("attribute", "property", "data"):
        lines.insert(0, "\\")  # together with the end of its line nothing, and no type


def prepare_signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, arguments: str, returns: str
) -> tuple[str, str] | None:
    """Return a readable signature (Sphinx's event autodoc-process-signature)."""
    return (arguments.replace("<factory>", "..."), returns) if arguments else None


def _joined(lines: list[str]) -> list[str]:
    made: list[str] = []
    for line in lines:
        if made and _NAMES.fullmatch(made[-1]):
            made[-1] = f"{made[-1]} {line.lstrip()}"
        else:
            made.append(line)
    return made


def _with_literal_formula(lines: list[str]) -> list[str]:
    made: list[str] = []
    for line in lines:
        made += ["Formula::", ""] if line == "Formula:" else [line]
    return made


def _escaped(lines: list[str]) -> list[str]:
    made: list[str] = []
    literal: int | None = None  # indentation of the line that opened a literal block
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if literal is not None and line and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith((">>>", "...")):
            line = _escaped_text(line)
        if line.endswith("::"):
            literal = indent
        made.append(line)
    return made


def _escaped_text(line: str) -> str:
    parts = _QUOTED.split(line)
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect, before Napoleon (which has priority 500)."""
    app.connect("autodoc-process-docstring", prepare, priority=400)
    app.connect("autodoc-process-signature", prepare_signature)
    return {"parallel_read_safe": True}
