"""Checks of an initialiser as a value: immutable, comparable, plain data and back."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import initializers
from initializers.base import Initializer


def check_is_a_value(initializer: Initializer) -> None:
    """It is immutable, hashable, and equal to its copies."""
    for twin in (
        copy.deepcopy(initializer),
        dataclasses.replace(initializer),
        pickle.loads(pickle.dumps(initializer)),
    ):
        assert twin == initializer, f"{initializer}: a copy is not equal to it"
        assert hash(twin) == hash(initializer), f"{initializer}: a copy has another hash"
    assert initializer != object(), f"{initializer}: equals anything"
    for field in dataclasses.fields(initializer):
        try:
            setattr(initializer, field.name, None)
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(f"{initializer}: field {field.name} can be set; use frozen=True")


def check_serialises(initializer: Initializer) -> None:
    """``repr``, ``to_dict`` and JSON lead back to an equal initialiser."""
    names = {**vars(initializers), type(initializer).__name__: type(initializer)}
    assert eval(repr(initializer), names) == initializer, f"{initializer}: repr does not rebuild it"
    data = json.loads(json.dumps(initializer.to_dict(), allow_nan=False))
    for twin in (Initializer.from_dict(data), initializers.get_initializer(data)):
        assert twin == initializer, f"{initializer}: to_dict gives {data}, which builds {twin}"
