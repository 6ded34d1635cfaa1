import math

import pytest

from lightning_modules.diagnostics import Diagnosis, Row, summarise


def test_slopes_spread_and_ends():
    rows = [
        Row(name, "weight", place, "second_moment", value)
        for place, (name, value) in enumerate({"a": 1.0, "b": 7.0, "c": math.e**2}.items())
    ]
    rows += [
        Row(name, "weight", place, "gradient_square", value)
        for place, (name, value) in enumerate({"a": 1.0, "b": 7.0, "c": math.e**-4}.items())
    ]
    rows += [
        Row("a.weight", "parameter", 0, "gradient_ratio", 1.0),
        Row("b.weight", "parameter", 1, "gradient_ratio", math.e**2),
        Row("b.bias", "parameter", 2, "gradient_ratio", 99.0),
        Row("a.weight", "parameter", 0, "strength_ratio", 1.25),
        Row("b.weight", "parameter", 1, "strength_ratio", 0.25),
        Row("x", "activation", 1, "dead_units", 0.5),
        Row("y", "activation", 2, "dead_units", 0.0),
        Row("", "network", 0, "loss", math.inf),
        Row("a", "weight", 0, "kurtosis", math.nan),
        Row("c", "weight", 2, "kurtosis", 4.0),
    ]
    assert summarise(Diagnosis(tuple(rows))) == {
        "output_second_moment": pytest.approx(math.e**2),
        "signal_slope": pytest.approx(1.0),
        "gradient_slope": pytest.approx(2.0),
        "gradient_spread": pytest.approx(1.0),
        "largest_kurtosis": 4.0,
        "dead_units": 0.25,
        "strength_ratio": 0.75,
    }


def test_a_signal_that_died_has_no_slope():
    rows = [Row(str(i), "weight", i, "second_moment", v) for i, v in enumerate((1.0, 0.0))]
    assert summarise(Diagnosis(tuple(rows))) == {"output_second_moment": 0.0}
    assert summarise(Diagnosis()) == {}
