"""The examples in the docstrings run, and every public name is described."""

import doctest
import importlib
import pkgutil

import pytest

from initializers import theory

MODULES = [theory.__name__] + [
    f"{theory.__name__}.{info.name}" for info in pkgutil.iter_modules(theory.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_exists_and_is_described() -> None:
    assert sorted(theory.__all__) == sorted(set(theory.__all__))
    for name in theory.__all__:
        assert getattr(theory, name).__doc__
