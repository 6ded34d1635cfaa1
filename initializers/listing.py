"""The catalogue as a list: what each registered name stands for, read off its class and docstring.

>>> next(entry for entry in catalogue_entries() if entry.name == "lsuv").needs
('data',)
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from initializers.base import Initializer
from initializers.catalogue import CATALOGUE, Factory
from initializers.texttable import joined, table_lines, text_table

NEEDS: tuple[str, ...] = ("data", "labels", "topology", "second derivatives")
_SECTION = re.compile(r"^(Args|Raises|Returns|Formula|Source):$", re.MULTILINE)
_BEFORE_TITLE = re.compile(r"(?<=\d{4}), ")
_WIDE = 150  # columns from which a list has room for formulas and titles


@dataclass(frozen=True)
class Entry:
    """One name of the catalogue.

    Attributes:
        name: As written in a spec string.
        family: Which methods it belongs with.
        citation: Where it was published; empty for our own.
        needs: What it needs beside the weights, in the order of ``NEEDS``.
        formula: The rule in one line of plain text.
        summary: First paragraph of the description.
        description: The docstring up to its arguments, without the formula.
        options: The ``Args`` section, one text per hyperparameter.
    """

    name: str
    family: str
    citation: str
    needs: tuple[str, ...]
    formula: str
    summary: str
    description: str
    options: str

    @property
    def authors(self) -> str:
        """The citation without the title: authors and year."""
        return _BEFORE_TITLE.split(self.citation)[0]


def catalogue_entries() -> tuple[Entry, ...]:
    """Return all registered initialisers, sorted by family; within it in order of registration."""
    entries = [entry_of(name) for name in CATALOGUE.all()]
    return tuple(sorted(entries, key=lambda entry: entry.family))


def entry_of(name: str) -> Entry:
    """Return the entry of one registered name or import path.

    A function that returns an initialiser has the family of its result, and its citation unless
    its docstring has a ``Source`` section. What needs hyperparameters is described by its class.

    Raises:
        TypeError: If it is no initialiser, or a function that needs arguments.
        ValueError: If the name is unknown.
    """
    factory = CATALOGUE.target_of(name)
    if isinstance(factory, Initializer):  # a finished object
        factory = type(factory)
    value = factory() if callable(factory) and _can_be_called_bare(factory) else None
    kind = factory if value is None else type(value)
    if not (isinstance(kind, type) and issubclass(kind, Initializer)):
        raise TypeError(f"{name!r} is no initialiser that could be described.")
    needs = frozenset(kind.needs) if value is None else value.requirements()
    sections = _sections(inspect.getdoc(factory) or "")
    said = sections[""].removeprefix("Return ")  # of a function
    said = said[:1].upper() + said[1:]
    return Entry(
        name=name,
        family=kind.family,
        citation=sections["Source"] or kind.citation,
        needs=tuple(sorted(needs, key=_rank)),
        formula=sections["Formula"],
        summary=" ".join(said.partition("\n\n")[0].split()),
        description=said,
        options=sections["Args"],
    )


def list_text(width: int) -> str:
    """Return the catalogue as a table, family by family.

    Args:
        width: Columns of the terminal; formulas and titles are shown where there are many.
    """
    wide = width >= _WIDE
    head = ("  name", "needs", *(("formula",) if wide else ()), "citation")
    entries = catalogue_entries()
    rows = [
        (
            f"  {entry.name}",
            joined(entry.needs),
            *((entry.formula,) if wide else ()),
            (entry.citation if wide else entry.authors) or "-",
        )
        for entry in entries
    ]
    (first, *others), family = table_lines([head, *rows], width), ""
    lines = [*first]
    for entry, own in zip(entries, others, strict=True):
        if entry.family != family:
            family = entry.family
            lines += ["", family]
        lines += own
    return "\n".join(lines)


def entry_text(name: str) -> str:
    """Return what the catalogue says about one name: needs, citation, formula, description."""
    entry = entry_of(name)
    facts = [("family", entry.family), ("needs", joined(entry.needs))]
    facts += [("citation", entry.citation or "-"), ("formula", entry.formula or "-")]
    parts = [entry.name, text_table(facts), entry.description]
    if entry.options:
        parts.append("Options:\n" + "\n".join(f"  {line}" for line in entry.options.splitlines()))
    return "\n\n".join(parts)


def _can_be_called_bare(factory: Factory) -> bool:
    return all(
        parameter.default is not inspect.Parameter.empty
        or parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for parameter in inspect.signature(factory).parameters.values()
    )


def _rank(need: str) -> tuple[int, str]:
    return (NEEDS.index(need) if need in NEEDS else len(NEEDS), need)


def _sections(docstring: str) -> dict[str, str]:
    """Return the parts of a docstring by their heading; the text before all of them is ``""``."""
    found = dict.fromkeys(("", "Args", "Formula", "Source"), "")
    first, *rest = _SECTION.split(docstring)
    found[""] = first.strip()
    for heading, text in zip(rest[::2], rest[1::2], strict=True):
        found[heading] = inspect.cleandoc(text).strip()
    return found
