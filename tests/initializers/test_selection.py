"""PerLayer: which initialiser a weight gets, and that it gets exactly that."""

import json

import pytest
import torch
from torch import Tensor, nn

from initializers import (
    LSUV,
    Constant,
    Fixup,
    HeNormal,
    Initializer,
    LayerContext,
    LeCunNormal,
    PerLayer,
    SkipInit,
    Ternary,
    TorchDefault,
    Zeros,
    get_initializer,
)
from initializers.testing_modules import (
    batch,
    labels,
    network,
    same,
    state_of,
    structured_network,
)
from lightning_modules import build_network


def wide(context: LayerContext) -> bool:
    """A predicate that a rule finds by its import path."""
    return context.fan_in > 20


class Model(nn.Module):
    """A layer of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 6)
        self.body = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 8), nn.Conv1d(8, 8, 3, groups=8))
        self.up = nn.ConvTranspose1d(8, 4, 2)
        self.attention = nn.MultiheadAttention(4, 2)
        self.mix = nn.Bilinear(4, 4, 4)
        self.head = nn.Linear(4, 2)


ALL = (
    *("tokens.weight", "body.0.weight", "body.1.weight", "body.2.weight", "up.weight"),
    *(f"attention.in_proj_weight[{part}]" for part in ("query", "key", "value")),
    *("attention.out_proj.weight", "mix.weight", "head.weight"),
)


def constants(initializer: Initializer, module: nn.Module) -> set[str]:
    """Names of the weights that are 7 everywhere."""
    record = initializer(module, seed=0)
    return {layer.name for layer in record.layers if layer.std == 7.0 and layer.kurtosis == 1.0}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("first", {"tokens.weight"}),
        ("last", {"head.weight"}),
        ("embedding", {"tokens.weight"}),
        ("depthwise", {"body.2.weight"}),
        ("conv", {"body.2.weight"}),
        ("conv_transpose", {"up.weight"}),
        ("bilinear", {"mix.weight"}),
        ("attention", {n for n in ALL if "in_proj" in n}),
        ("linear", {"body.0.weight", "body.1.weight", "attention.out_proj.weight", "head.weight"}),
        ("body.*", {"body.0.weight", "body.1.weight", "body.2.weight"}),
        ("body.?", {"body.0.weight", "body.1.weight", "body.2.weight"}),
        ("body.[02]", {"body.0.weight", "body.2.weight"}),
        ("head", {"head.weight"}),
        ("head.weight", {"head.weight"}),
        ("attention.in_proj_weight[key]", {"attention.in_proj_weight[key]"}),
        ("*", set(ALL)),
        (f"{__name__}:wide", set()),
    ],
)
def test_selectors(selector: str, expected: set[str]) -> None:
    chosen = PerLayer("he_normal", {selector: Constant(7.0)})
    if not expected:
        with pytest.raises(ValueError, match="selects no layer of Model"):
            chosen(Model(), seed=0)
    else:
        assert constants(chosen, Model()) == expected


def test_ends_of_residual_branches() -> None:
    module = build_network("resnet:depth=8", input_shape=(3, 8, 8), num_classes=10)
    chosen = PerLayer("he_normal", {"branch_end": Constant(7.0)})
    assert constants(chosen, module) == {f"stage{i}.0.conv2.weight" for i in (1, 2, 3)}


def test_a_predicate_is_stored_by_its_import_path() -> None:
    chosen = PerLayer(HeNormal(), ((wide, Constant(7.0)),))  # type: ignore[arg-type]
    assert chosen.rules[0][0].endswith("test_selection:wide")
    assert constants(chosen, network()) == {"0.weight", "3.weight", "6.weight"}
    assert get_initializer(json.loads(json.dumps(chosen.to_dict()))) == chosen
    with pytest.raises(ValueError, match="function at the top level of a module"):
        PerLayer(HeNormal(), {lambda context: True: "zeros"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Predicate 'no\.such:thing' cannot be imported"):
        PerLayer(HeNormal(), {"no.such:thing": "zeros"})  # type: ignore[arg-type]


SPELLINGS = [
    "per_layer:base=lecun_normal,rules=(last=zeros,*.conv2=(ternary:density=0.1,scale=2))",
    {
        "name": "per_layer",
        "base": "lecun_normal",
        "rules": [["last", "zeros"], ["*.conv2", {"name": "ternary", "density": 0.1, "scale": 2}]],
    },
    {
        "name": "per_layer",
        "base": {"name": "lecun_normal"},
        "rules": {"last": Zeros(), "*.conv2": "ternary:density=0.1,scale=2"},
    },
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_mean_one_value(spelling: object) -> None:
    expected = PerLayer(
        LeCunNormal(), (("last", Zeros()), ("*.conv2", Ternary(density=0.1, scale=2.0)))
    )
    assert get_initializer(spelling) == expected  # type: ignore[arg-type]
    assert hash(get_initializer(spelling)) == hash(expected)  # type: ignore[arg-type]
    assert expected.to_dict() == {
        "name": "per_layer",
        "base": {"name": "lecun_normal"},
        "rules": [
            ["last", {"name": "zeros"}],
            ["*.conv2", {"name": "ternary", "density": 0.1, "scale": 2.0}],
        ],
    }


def test_each_layer_gets_exactly_its_initialisers_weights() -> None:
    chosen = PerLayer("he_normal", {"last": TorchDefault(), "conv": "ternary:density=0.3"})
    module = network()
    parts: dict[str, dict[str, Tensor]] = {}
    for spec in ("he_normal", "torch_default", "ternary:density=0.3"):
        plain = network()
        get_initializer(spec)(plain, seed=3)
        parts[spec] = state_of(plain)
    record = chosen(module, seed=3)
    owners = dict.fromkeys(("0.weight", "3.weight"), "ternary:density=0.3") | {
        "9.weight": "torch_default",
        "9.bias": "torch_default",
    }
    for name, value in state_of(module).items():
        assert torch.equal(value, parts[owners.get(name, "he_normal")][name]), name
    assert record.biases == ("0.bias", "3.bias", "6.bias", "9.bias")
    aims = {layer.name: layer.nominal_std for layer in record.layers}
    assert aims["9.weight"] == pytest.approx((3 * 12) ** -0.5)
    assert aims["6.weight"] == pytest.approx((2 / 72) ** 0.5)


def test_the_first_rule_that_selects_a_layer_decides() -> None:
    chosen = PerLayer("he_normal", {"last": "zeros", "linear": Constant(7.0)})
    module = network()
    assert constants(chosen, module) == {"6.weight"}
    assert not module[9].weight.any()  # type: ignore[union-attr, operator]


def test_a_rule_without_layers_lists_them_and_changes_nothing() -> None:
    module = network()
    before = state_of(module)
    sentence = (
        r"^PerLayer: rule 'encoder\.\*' selects no layer of Sequential; its weights are: "
        r"0\.weight, 3\.weight, 6\.weight, 9\.weight\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        PerLayer("he_normal", {"last": "zeros", "encoder.*": "zeros"})(module, seed=0)
    assert same(before, state_of(module))


@pytest.mark.parametrize(
    ("rules", "error", "sentence"),
    [
        (3, TypeError, "rules must be pairs"),
        ([("last",)], TypeError, "rules must be pairs"),
        ([("last", 3)], TypeError, "An initialiser must be"),
        ([("", "zeros")], ValueError, "it is empty"),
        ([(4, "zeros")], TypeError, "must be text or a function of a layer, got 4"),
        ("last", ValueError, "option 'last' must be written key=value"),
        ("last=zero", ValueError, "Unknown initialiser 'zero'"),
    ],
)
def test_impossible_rules(rules: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        PerLayer("he_normal", rules)  # type: ignore[arg-type]


def test_methods_that_run_the_network_see_what_the_others_have_set() -> None:
    """LSUV normalises its layers behind those of the rule, which come first whatever the order."""
    module, x = network(), 5.0 * batch()
    chosen = PerLayer(LSUV(tolerance=0.0, tries=1), {"first": Constant(0.01), "last": Zeros()})
    record = chosen(module, seed=0, batch=x)
    assert module[0].weight.eq(0.01).all()  # type: ignore[union-attr, operator]
    assert not module[9].weight.any()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        out = module[:4](x)
    assert float(out.std(correction=0)) == pytest.approx(1.0, rel=1e-5)
    assert [bool(layer.note) for layer in record.layers] == [False, True, True, False]
    nested = PerLayer(HeNormal(), {"6": LSUV(HeNormal(), tolerance=0.0, tries=1)})
    plain = network()
    HeNormal()(plain, seed=0)
    nested(module, seed=0, batch=(x, labels()))
    changed = {n for n, v in state_of(module).items() if not torch.equal(v, state_of(plain)[n])}
    assert changed == {"6.weight"}


def test_a_part_that_fails_leaves_the_whole_module_as_it_was() -> None:
    module = network()
    before = state_of(module)
    with pytest.raises(ValueError, match="standard deviation 0"):
        PerLayer("he_normal", {"6": LSUV(Zeros())})(module, seed=0, batch=batch())
    assert same(before, state_of(module))


def test_scalars_that_a_part_sets_are_in_the_record() -> None:
    module = structured_network()
    record = PerLayer(SkipInit(), {"last": "zeros"})(module, seed=0)
    assert record.norms == ("1.alpha", "2.alpha")
    assert not module.get_parameter("1.alpha").any()
    other = PerLayer("he_normal", {"*conv*": SkipInit(alpha=0.5)})(module, seed=0)
    assert other.norms == ("1.alpha", "2.alpha")
    assert module.get_parameter("2.alpha").eq(0.5).all()
    fixed = PerLayer(Fixup(), {"first": "orthogonal"})(structured_network(), seed=0)
    assert {s.name for s in fixed.skipped} == {"1.alpha", "2.alpha"}


def test_two_seeds_may_agree_only_if_all_parts_do() -> None:
    assert PerLayer("zeros", {"last": "he_normal"}).stochastic is True
    assert PerLayer("zeros", {"last": Constant(1.0)}).stochastic is False
