"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import initializers

MODULES = ["initializers"] + [
    f"initializers.{info.name}" for info in pkgutil.iter_modules(initializers.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    counts = [
        sum(len(test.examples) for test in finder.find(importlib.import_module(name)))
        for name in MODULES
    ]
    assert sum(counts) >= 10


def test_every_public_name_exists_and_is_described() -> None:
    assert sorted(initializers.__all__) == sorted(set(initializers.__all__))
    for name in initializers.__all__:
        assert getattr(initializers, name).__doc__
