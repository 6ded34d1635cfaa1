import pytest
import torch

from initializers import (
    Constant,
    GlorotNormal,
    HeConstant,
    HeNormal,
    Initializer,
    Orthogonal,
    Random,
    SparseNormal,
    Ternary,
    VarianceScaling,
    Zeros,
    get_initializer,
    initializer_names,
    parse_spec,
    register_initializer,
)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("he_normal", "he_normal", {}),
        (" he_normal ", "he_normal", {}),
        ("ternary:density=0.1,scale=1.5", "ternary", {"density": 0.1, "scale": 1.5}),
        ("t:a=1,b=true,c=none,d=False,e=word", "t",
         {"a": 1, "b": True, "c": None, "d": False, "e": "word"}),
        ("t: a = 1e-3 , b = -2 ", "t", {"a": 0.001, "b": -2}),
        ("mlp:widths=64-300-100-10", "mlp", {"widths": "64-300-100-10"}),
        ("t:a=1_000", "t", {"a": "1_000"}),
        ("torchvision:resnet18", "torchvision:resnet18", {}),
        ("my.module:Net", "my.module:Net", {}),
        ("my.module:Net.small:depth=3", "my.module:Net.small", {"depth": 3}),
        ("outer:base=ternary:density=0.5", "outer", {"base": "ternary:density=0.5"}),
        ("outer:base=(ternary:density=0.5,scale=2),x=1", "outer",
         {"base": "ternary:density=0.5,scale=2", "x": 1}),
    ],
)  # fmt: skip
def test_parse_spec(text: str, name: str, options: dict) -> None:
    assert parse_spec(text) == (name, options)
    for key, value in parse_spec(text)[1].items():
        assert type(value) is type(options[key])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must start with a name"),
        (":density=1", "must start with a name"),
        ("a b", "must start with a name"),
        ("density=1", "must start with a name"),
        ("t:a=1,b", "option 'b' must be written key=value"),
        ("t:a=1,,b=2", "option '' must be written key=value"),
        ("t:a=1,a=2", "option 'a' is given twice"),
        ("t:a=(1,b=2", "brackets do not match"),
        ("t:a=1),b=2", "brackets do not match"),
    ],
)
def test_bad_specs(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_spec(text)


def test_every_way_of_naming_one_initialiser() -> None:
    expected = Ternary(density=0.1, scale=1.5)
    for spec in (
        expected,
        "ternary:density=0.1,scale=1.5",
        {"name": "ternary", "density": 0.1, "scale": 1.5},
        "initializers:Ternary:density=0.1,scale=1.5",
        "initializers.ternary:Ternary:density=0.1,scale=1.5",
        {"name": "initializers:Ternary", "density": 0.1, "scale": 1.5},
    ):
        assert get_initializer(spec) == expected
    assert get_initializer(HeNormal) == HeNormal()


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("he_norml", ValueError, "Unknown initialiser 'he_norml'.*did you mean 'he_normal'.*known"),
        ("ternary:densty=0.1", ValueError, "ternary: unknown option 'densty'.*'density'.*accepts"),
        ("ternary:density", ValueError, "Option 'density' of ternary must be written key=value"),
        ("ternary:density=2", ValueError, r"Ternary: density must be in \(0, 1\], got 2\."),
        ("no_such_module:X", ValueError, "no module 'no_such_module'"),
        ("initializers:Ternery", ValueError, "has no 'Ternery'.*did you mean 'Ternary'"),
        ("math:sqrt:x=4", ValueError, "math:sqrt: unknown option 'x'; it accepts no options"),
        ("math:pi", TypeError, "must be a name"),
        (3, TypeError, "must be a name, a spec .*, got 3"),
        ({"density": 0.1}, TypeError, "needs a 'name'"),
        ({"name": "zeros", "value": 1}, ValueError, "zeros: unknown option 'value'.*no options"),
        ("ternary_he_twin:density=0.5", ValueError, "unscaled=True derives the density"),
    ],
)
def test_bad_references(spec: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get_initializer(spec)  # type: ignore[arg-type]


def test_serialised_form_holds_what_differs_from_the_defaults() -> None:
    assert Ternary().to_dict() == {"name": "ternary"}
    assert Ternary(density=0.1, signs="random").to_dict() == {
        "name": "ternary", "density": 0.1, "signs": "random",
    }  # fmt: skip
    assert Ternary.he_twin(sampling="exact_row").to_dict() == {
        "name": "ternary", "unscaled": True, "sampling": "exact_row",
    }  # fmt: skip
    assert get_initializer("ternary_glorot_twin") == Ternary.glorot_twin()
    assert repr(Ternary(0.9)) == "Ternary(zero_proportion=0.9)"
    assert repr(HeNormal()) == "HeNormal()"


def test_equal_values_are_equal_whatever_their_number_type() -> None:
    import numpy as np

    assert HeNormal(scale=1) == HeNormal(scale=1.0) == HeNormal()
    assert repr(HeNormal(scale=np.float64(2))) == "HeNormal(scale=2.0)"
    assert hash(Ternary(density=np.float32(0.5))) == hash(Ternary(density=0.5))
    assert Ternary(density=0.5) != Ternary(zero_proportion=0.5)
    assert GlorotNormal() != HeNormal()
    with pytest.raises(TypeError, match="scale must be a number"):
        HeNormal(scale=torch.tensor(1.0))  # type: ignore[arg-type]


def test_from_dict_of_a_class_refuses_another_class() -> None:
    assert Ternary.from_dict({"name": "ternary", "density": 0.5}) == Ternary(density=0.5)
    with pytest.raises(TypeError, match=r"'zeros' builds Zeros\(\), which is no Ternary"):
        Ternary.from_dict({"name": "zeros"})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Ternary, {"density": 0}, r"Ternary: density must be in \(0, 1\], got 0\."),
        (Ternary, {"density": 2}, r"Ternary: density must be in \(0, 1\], got 2\."),
        (Ternary, {"density": NAN}, r"density must be in \(0, 1\], got nan"),
        (Ternary, {"density": True}, r"density must be a number in \(0, 1\], got True"),
        (Ternary, {"density": "0.1"}, r"density must be a number in \(0, 1\], got '0\.1'"),
        (Ternary, {"zero_proportion": 1.0}, r"zero_proportion must be in \[0, 1\), got 1\.0"),
        (Ternary, {"zero_proportion": -0.1}, r"zero_proportion must be in \[0, 1\), got -0\.1"),
        (Ternary, {"degree": 0}, r"degree must be in \(0, inf\), got 0"),
        (Ternary, {"degree": INF}, r"degree must be in \(0, inf\), got inf"),
        (Ternary, {"scale": 0.0}, r"scale must be in \(0, inf\), got 0\.0"),
        (Ternary, {"scale": INF}, r"scale must be in \(0, inf\), got inf"),
        (Ternary, {"unscaled": 1}, "unscaled must be true or false, got 1"),
        (Ternary, {"mode": "fanin"}, "mode must be one of fan_in, .*did you mean 'fan_in'"),
        (Ternary, {"sampling": "rows"}, "sampling must be one of exact, bernoulli, exact_row"),
        (Ternary, {"signs": "even"}, "signs must be one of balanced, random, got 'even'"),
        (Ternary, {"on_clip": "ignore"}, "on_clip must be one of accept, scale"),
        (Ternary, {"last": 0}, "last must be one of same, zero, small, got 0"),
        (Ternary, {"embedding": "x"}, "embedding must be one of fan, unit_norm"),
        (Ternary, {"density": 0.1, "degree": 3}, "at most one of .*, got density and degree"),
        (Ternary, {"unscaled": True, "degree": 3}, "unscaled=True .*drop degree"),
        (Ternary, {"unscaled": True, "last": "small"}, "last='small' rescales"),
        (VarianceScaling, {"distribution": "cauchy"}, "distribution must be one of normal"),
        (VarianceScaling, {"scale": -1}, r"VarianceScaling: scale must be in \(0, inf\), got -1"),
        (GlorotNormal, {"scale": NAN}, r"GlorotNormal: scale must be in \(0, inf\), got nan"),
        (HeConstant, {"signs": "x"}, "HeConstant: signs must be one of"),
        (Orthogonal, {"scale": 0}, r"Orthogonal: scale must be in \(0, inf\), got 0"),
        (Random, {"std": 0}, r"Random: std must be in \(0, inf\), got 0"),
        (Constant, {"value": INF}, r"Constant: value must be in \(-inf, inf\), got inf"),
        (SparseNormal, {"degree": 0}, r"SparseNormal: degree must be in \[1, inf\), got 0"),
        (SparseNormal, {"degree": 2.0}, r"degree must be an integer in \[1, inf\), got 2\.0"),
    ],
)  # fmt: skip
def test_bad_hyperparameters_fail_on_construction(
    kind: type[Initializer], options: dict, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        kind(**options)


def test_the_catalogue() -> None:
    names = initializer_names()
    assert len(set(names)) == len(names)
    for name in (
        "ternary", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "he_constant",
        "lecun_normal", "lecun_uniform", "orthogonal", "torch_default", "sparse", "zeros",
        "constant", "random", "ternary_glorot_twin", "ternary_he_twin", "ternary_lecun_twin",
    ):  # fmt: skip
        assert name in names
    with pytest.raises(ValueError, match="'zeros' is taken already"):
        register_initializer("zeros", Zeros)
    with pytest.raises(ValueError, match="must be an identifier"):
        register_initializer("my zeros", Zeros)
