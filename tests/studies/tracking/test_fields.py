import math

import pytest

from studies.engine.tracking.fields import as_text, clean_name, cut, metric_points, text_fields


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "none"),
        (0.1, "0.1"),
        (3, "3"),
        ("x", "x"),
        ((1, "a"), '[1, "a"]'),
        ({"a": None}, '{"a": null}'),
        ({"u": "http://a:pw@h"}, '{"u": "http://a:***@h"}'),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    assert as_text(value) == text


def test_cut_is_visible_and_exact() -> None:
    assert cut("a" * 10, 10) == "a" * 10
    assert cut("a" * 11, 10) == "a" * 9 + "…"
    fields = text_fields({"long": "x" * 7000}, 6000)
    assert len(fields["long"]) == 6000
    assert fields["long"].endswith("x…")


@pytest.mark.parametrize("name", ["val_accuracy", "layer.0/std", "a b:c-d"])
def test_good_names_stay(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("acc%", "acc_"),
        ("a//b", "a__b"),
        ("../a", "___a"),
        ("..a", "__a"),
        ("/a", "_a"),
        ("a/", "a_"),
        (".", "_"),
        ("", "_"),
        ("n" * 999, "n" * 249 + "_"),
        ("(x, y)", "_x_ y_"),
    ],
)
def test_bad_names_are_mended(name: str, fixed: str) -> None:
    assert clean_name(name) == clean_name(fixed) == fixed


def test_curve_points_have_epoch_steps_and_even_times() -> None:
    history = [{"loss": 4.0}, {"loss": 2.0}, {"loss": 1.0}, {"loss": 0.5}]
    points, notes = metric_points(history, {"test_accuracy": 0.75}, 1000, 2000)
    assert [(p.key, p.value, p.timestamp, p.step) for p in points] == [
        ("loss", 4.0, 1250, 0),
        ("loss", 2.0, 1500, 1),
        ("loss", 1.0, 1750, 2),
        ("loss", 0.5, 2000, 3),
        ("test_accuracy", 0.75, 2000, 3),
    ]
    assert notes == {}


def test_non_finite_values_are_named_not_stored() -> None:
    history = [{"loss": 4.0, "accuracy": 0.5}, {"loss": math.inf, "accuracy": 0.1}]
    history.append({"loss": math.nan, "accuracy": 0.1})
    points, notes = metric_points(history, {"test_loss": -math.inf}, 0, 0)
    assert [(p.key, p.step) for p in points] == [
        ("loss", 0),
        ("accuracy", 0),
        ("accuracy", 1),
        ("accuracy", 2),
    ]
    assert notes == {"non_finite_metrics": "loss from epoch 1, test_loss"}
