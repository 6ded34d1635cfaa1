"""Transforms in general, and those that take signs and magnitudes apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from initializers import (
    HeNormal,
    Initializer,
    LayerContext,
    MagnitudePermutation,
    SignConstant,
    SignPermutation,
    Ternary,
    TorchDefault,
    Transform,
    WeightPermutation,
    get_initializer,
    initialize_,
    rearrange,
)
from initializers import testing_modules as modules
from initializers.job import Job

TRANSFORMS = [SignConstant, SignPermutation, MagnitudePermutation, WeightPermutation]


def weights(initializer: Initializer, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a weight (80, 120) of a bare layer."""
    layer = nn.Linear(120, 80, dtype=dtype)
    initializer(layer, seed=seed)
    return layer.weight.detach().clone()


def ordered(values: Tensor) -> Tensor:
    return values.flatten().sort().values


@dataclass(frozen=True)
class WholeModule(HeNormal):
    """The same weights, set by a `run` of its own; biases become 7."""

    def run(self, job: Job) -> None:
        super().run(job)
        for bias in job.plan.biases:
            bias.parameter.fill_(7.0)


@dataclass(frozen=True)
class Doubled(Transform):
    draws: ClassVar[bool] = False

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        weight.mul_(2.0)


@dataclass(frozen=True)
class Nudged(Transform):
    """Multiplies every weight by 1 + 2**-20, which bfloat16 cannot hold."""

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        weight.mul_(1.0 + 2.0**-20)


@dataclass(frozen=True)
class Noise(Transform):
    """Replaces the weights by its own draws."""

    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        weight.uniform_(generator=context.generator)


@dataclass(frozen=True)
class BreaksAtTheEnd(Transform):
    def rewrite(self, weight: Tensor, context: LayerContext) -> None:
        if context.is_last:
            raise ValueError(f"cannot rewrite {context.name}")
        weight.zero_()


@dataclass(frozen=True)
class OneToFour(HeNormal):
    """1, 2, 3, 4, 1, 2, ..."""

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        weight.copy_(torch.arange(weight.numel()).view(weight.shape) % 4 + 1.0)


@dataclass(frozen=True)
class RefusesConvolutions(HeNormal):
    def check(self, job: Job) -> None:
        for layer in job.layers:
            if layer.context.kind == "conv":
                raise ValueError(f"{layer.context.name} is a convolution")


# Transforms in general


@pytest.mark.parametrize("base", [HeNormal(), TorchDefault(), Ternary(density=0.2), WholeModule()])
def test_the_base_draws_what_it_draws_by_itself(base: Initializer) -> None:
    plain, doubled, nested = modules.network(), modules.network(), modules.network()
    base(plain, seed=3)
    Doubled(base)(doubled, seed=3)
    Doubled(Doubled(base))(nested, seed=3)
    for name, value in plain.state_dict().items():
        factor = 2.0 if name in {"0.weight", "3.weight", "6.weight", "9.weight"} else 1.0
        assert torch.equal(doubled.state_dict()[name], factor * value), name
        assert torch.equal(nested.state_dict()[name], factor**2 * value), name


def test_a_transform_of_a_transform_keeps_the_full_precision() -> None:
    nest: Initializer = HeNormal()
    for _ in range(20):
        nest = Nudged(nest)
    exact = weights(nest, dtype=torch.float64)
    torch.testing.assert_close(exact, weights(HeNormal(), dtype=torch.float64) * 1.0000190738)
    assert torch.equal(weights(nest, dtype=torch.bfloat16), weights(nest).bfloat16())


def test_own_draws_depend_on_seed_name_and_depth_but_not_on_the_base() -> None:
    one = weights(Noise("he_normal"))
    assert torch.equal(one, weights(Noise("ternary:density=0.3")))
    assert torch.equal(one, weights(Noise("zeros")))  # which draws nothing
    assert torch.equal(one, weights(Noise(WholeModule())))
    assert not torch.equal(one, weights(Noise("he_normal"), seed=1))
    assert not torch.equal(one, weights(Noise(Noise("he_normal"))))
    network = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    Noise()(network, seed=0)
    assert not torch.equal(network[0].weight, network[1].weight)
    # and the base's stream is another
    base = Job.of("test", nn.Linear(120, 80), 0, None, None).layers[0].context.generator
    assert not torch.equal(one, torch.rand(80, 120, generator=base))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_an_added_layer_changes_no_other(transform: type[Transform]) -> None:
    short = nn.ModuleDict({"a": nn.Linear(9, 8), "z": nn.Linear(8, 7)})
    long = nn.ModuleDict({"a": nn.Linear(9, 8), "m": nn.Linear(8, 8), "z": nn.Linear(8, 7)})
    transform()(short, seed=5)
    transform()(long, seed=5)
    assert all(torch.equal(v, long.state_dict()[k]) for k, v in short.state_dict().items())


@pytest.mark.parametrize("base", [HeNormal(), WholeModule()])
def test_a_rewrite_that_raises_changes_nothing(base: Initializer) -> None:
    module = modules.network()
    module[1].running_var.fill_(3.0)
    before = modules.state_of(module)
    with pytest.raises(ValueError, match=r"cannot rewrite 9\.weight"):
        BreaksAtTheEnd(base)(module, seed=0)
    assert modules.same(before, modules.state_of(module))


def test_what_the_base_refuses_is_refused() -> None:
    module = modules.network()
    before = modules.state_of(module)
    with pytest.raises(ValueError, match=r"0\.weight is a convolution"):
        Doubled(SignPermutation(RefusesConvolutions()))(module, seed=0)
    assert modules.same(before, modules.state_of(module))


def test_transforms_serialise_in_a_nest() -> None:
    nest = WeightPermutation(SignConstant(Ternary(density=0.25), alpha="gain"))
    data = nest.to_dict()
    assert data == {
        "name": "weight_permutation",
        "base": {
            "name": "sign_constant",
            "base": {"name": "ternary", "density": 0.25},
            "alpha": "gain",
        },
    }
    assert Initializer.from_dict(data) == nest
    spec = "weight_permutation:base=(sign_constant:base=(ternary:density=0.25),alpha=gain)"
    assert get_initializer(spec) == nest
    assert hash(get_initializer(spec)) == hash(nest)
    with pytest.raises(ValueError, match="Unknown initialiser 'he_norml'"):
        get_initializer("sign_constant:base=he_norml")
    with pytest.raises(ValueError, match="alpha must be one of std, gain"):
        SignConstant(alpha="mean")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SignConstant("constant"), False),
        (SignConstant("he_normal"), True),
        (SignPermutation("constant"), True),
    ],
)
def test_a_transform_is_stochastic_if_it_or_its_base_is(value: Transform, expected: bool) -> None:
    assert value.stochastic is expected


def test_functions_on_tensors_take_transforms_and_never_repeat_a_permutation() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = initialize_(torch.empty(40, 30), HeNormal(), generator=generator)
    generator.manual_seed(0)
    first = initialize_(torch.empty(40, 30), SignPermutation("he_normal"), generator=generator)
    assert torch.equal(first.abs(), plain.abs())
    assert not torch.equal(first, plain)
    drawn = [
        initialize_(torch.empty(40, 30), Noise("zeros"), generator=generator) for _ in range(2)
    ]
    assert not torch.equal(*drawn)


# Signs and magnitudes


def test_sign_constant_is_the_layers_std_times_the_sign() -> None:
    base = weights(HeNormal(), dtype=torch.float64)
    signed = weights(SignConstant("he_normal"), dtype=torch.float64)
    assert torch.equal(signed.sign(), base.sign())
    assert float(signed.abs().max()) == float(signed.abs().min())
    mean = float(base.mean())
    expected = float((base - mean).square().mean()) ** 0.5
    assert float(signed.abs().max()) == pytest.approx(expected, abs=1e-12)


def test_sign_constant_takes_the_std_of_weights_that_are_not_centred() -> None:
    # 1, 2, 3, 4 in equal shares: variance 1.25 about the mean, 7.5 about 0
    signed = weights(SignConstant(OneToFour()))
    assert signed.unique().tolist() == pytest.approx([1.25**0.5], rel=1e-6)


def test_zeros_stay_zeros_under_every_rule_but_the_permutation_of_weights() -> None:
    base = weights(Ternary(density=0.25))
    for transform in (SignConstant, SignPermutation, MagnitudePermutation):
        assert torch.equal(weights(transform(Ternary(density=0.25))) == 0, base == 0)
    moved = weights(WeightPermutation(Ternary(density=0.25)))
    assert int((moved == 0).sum()) == int((base == 0).sum()) == 7200
    assert not torch.equal(moved == 0, base == 0)


@pytest.mark.parametrize(("base", "fan"), [("he_normal", 120), ("ternary:density=0.25", 120)])
def test_sign_constant_with_gain_preserves_variance_without_zeros(base: str, fan: int) -> None:
    signed = weights(SignConstant(get_initializer(base), alpha="gain"), dtype=torch.float64)
    magnitudes = signed.abs()[signed != 0].unique().tolist()
    assert magnitudes == pytest.approx([(2.0 / fan) ** 0.5], rel=1e-15)


def test_equal_weights_have_no_std_and_the_record_says_so() -> None:
    layer = nn.Linear(4, 3)
    record = SignConstant("constant:value=0.5")(layer, seed=0)
    assert not layer.weight.any()
    assert "standard deviation 0" in record.layers[0].note
    assert SignConstant("zeros")(layer, seed=0).layers[0].note == ""


def test_sign_permutation_keeps_magnitudes_and_the_number_of_positive_weights() -> None:
    base, permuted = weights(HeNormal()), weights(SignPermutation("he_normal"))
    assert torch.equal(permuted.abs(), base.abs())
    assert int((permuted > 0).sum()) == int((base > 0).sum())
    # agreement of two independent orders of n signs, k positive: mean p^2 + q^2; the variance of
    # the number of agreements is 4 k^2 (n - k)^2 / (n^2 (n - 1)) (hypergeometric)
    n, k = base.numel(), int((base > 0).sum())
    mean = (k**2 + (n - k) ** 2) / n
    spread = (4.0 * k**2 * (n - k) ** 2 / (n**2 * (n - 1))) ** 0.5
    assert abs(int((permuted.sign() == base.sign()).sum()) - mean) < 4 * spread


def test_magnitude_permutation_keeps_signs_and_the_magnitudes_as_a_set() -> None:
    base, permuted = weights(HeNormal()), weights(MagnitudePermutation("he_normal"))
    assert torch.equal(permuted.sign(), base.sign())
    assert torch.equal(ordered(permuted.abs()), ordered(base.abs()))
    pairs = torch.stack([permuted.abs().flatten(), base.abs().flatten()])
    # correlation of a random permutation: mean 0, standard error 1 / sqrt(n - 1)
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 4 / (base.numel() - 1) ** 0.5


def test_weight_permutation_keeps_the_weights_as_a_set() -> None:
    base, permuted = weights(HeNormal()), weights(WeightPermutation("he_normal"))
    assert torch.equal(ordered(permuted), ordered(base))
    pairs = torch.stack([permuted.flatten(), base.flatten()])
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 4 / (base.numel() - 1) ** 0.5


@pytest.mark.parametrize(
    "rearranged",
    [rearrange.permute, rearrange.permute_signs, rearrange.permute_magnitudes],
    ids=lambda function: function.__name__,
)
def test_rearrangements_depend_on_the_generator(rearranged: Callable[..., None]) -> None:
    results = []
    for seed in (0, 0, 1):
        values = torch.randn(50, 40, generator=torch.Generator().manual_seed(9))
        rearranged(values, torch.Generator().manual_seed(seed))
        results.append(values)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_permutations_are_uniform() -> None:
    counts = dict[tuple[float, ...], int]()
    for seed in range(1200):
        tensor = torch.empty(1, 3)
        generator = torch.Generator().manual_seed(seed)
        initialize_(tensor, WeightPermutation(OneToFour()), generator=generator)
        key = tuple(tensor.flatten().tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    # each of the 6 orders: binomial(1200, 1/6), standard deviation 12.9
    assert all(abs(count - 200) < 4 * 12.91 for count in counts.values())
