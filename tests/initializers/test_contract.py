from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initializers import (
    HeNormal,
    Initializer,
    LayerContext,
    get_initializer,
    initializer_names,
)
from initializers import testing as contract

VARIANTS = [
    "ternary:degree=3,sampling=exact_row,last=zero",
    "ternary:density=0.3,sampling=exact_rowcol,last=small",
    "ternary:density=0.3,sampling=bernoulli,signs=random",
    "ternary:unscaled=true,on_clip=scale,embedding=unit_norm,mode=fan_geo",
    "variance_scaling:distribution=truncated_normal,mode=fan_out,gain=gelu",
    "variance_scaling:distribution=constant_sign,scale=2",
    "he_constant:signs=random,gain=tanh,convention=moment",
    "torch_default",
    "sign_constant:base=(ternary:density=0.3),alpha=gain",
    "sign_permutation:base=torch_default",
    "magnitude_permutation:base=(ternary:density=0.5)",
    "weight_permutation:base=(sign_constant:base=he_uniform)",
    "masked:base=he_normal,criterion=random,density=0.3,ones=signed_reshuffle,rescale=true",
    "masked:criterion=small_init,density=0.3,scope=global,ones=rand_signed_constant",
    "zero_hadamard:branch_ends=same",
    "fixup:scale=0.5",
    "skipinit:base=zero_hadamard,alpha=depth",
    "mimetic:base=he_normal,qk_noise=0,value_noise=0.1",
    "lsuv:base=(ternary:density=0.3),center=true,tolerance=0",
    "lsuv:base=dirac",
    "mup:base=lsuv,output=zero",
    "metainit:data=batch,steps=2,base=glorot_normal",
    "gradinit:optimizer=adam,steps=2",
    "per_layer:base=(lsuv:base=he_normal),rules=(last=zeros,conv=(ternary:density=0.3))",
    "bayes_kalman:calibrated=true,output=sample,prior_correlation=0.2,stop=0,gain=relu",
    "bayes_kalman_data:calibrated=true,power=4",
    "rewired:base=(ternary:density=0.3,sampling=bernoulli),temperature=0",
    "rewired:base=(strength_stabilized:base=he_normal,tries=3),temperature=0.5",
    "strength_stabilized:base=(rewired:base=he_uniform,temperature=2),tries=2",
    "weight_norm:directions=normal,rule=backward,output=rule",
    "weight_norm_resnet:rule=hanin,scale=0.5",
    "weight_norm_data:directions=orthogonal",
    "residual:mode=fan_out,directions=orthogonal,output=rule",
    "looks_linear:base=(ternary:gain=linear,degree=3,sampling=exact_row),order=registered",
    "looks_linear:base=delta_orthogonal",
    "gaussian_submatrix:mode=fan_out,scale=2",
    "ternary_submatrix:unscaled=true",
    "delta_orthogonal:gain=relu,contracting=rows",
]
NEED_OPTIONS = {"pretrained"}  # tested with a file of its own
SHORT = {"metainit": "metainit:steps=2", "gradinit": "gradinit:steps=2"}  # default: minutes
NAMES = [SHORT.get(name, name) for name in initializer_names() if name not in NEED_OPTIONS]


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", [*NAMES, *VARIANTS])
def test_contract(spec: str, check: contract.Check) -> None:
    check(get_initializer(spec))


@dataclass(frozen=True)
class GlobalDraws(HeNormal):
    def fill(self, weight: Tensor, context: LayerContext) -> None:
        weight.normal_()


@dataclass(frozen=True)
class NumpyDraws(HeNormal):
    def fill(self, weight: Tensor, context: LayerContext) -> None:
        weight.fill_(np.random.default_rng(0).normal() + np.random.normal())


@dataclass(frozen=True)
class OneStream(HeNormal):
    """The same numbers for every layer of every seed."""

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        weight.normal_(generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class NeedsOldWeights(HeNormal):
    def fill(self, weight: Tensor, context: LayerContext) -> None:
        weight.mul_(2.0)


@dataclass(frozen=True)
class OrderDependent(HeNormal):
    """Counts its calls, so that an added layer changes the later ones."""

    calls: ClassVar[list[str]] = []

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        self.calls.append(context.name)
        weight.fill_(float(len(self.calls)))


@dataclass(frozen=True)
class Unserialisable(HeNormal):
    extra: object = field(default=0)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (GlobalDraws(), contract.check_global_generators_untouched),
        (GlobalDraws(), contract.check_same_seed_same_weights),
        (NumpyDraws(), contract.check_global_generators_untouched),
        (OneStream(), contract.check_seeds_differ),
        (OneStream(), contract.check_generator),
        (OrderDependent(), contract.check_added_layer_changes_no_other),
    ],
)
def test_broken_initialisers_are_caught(broken: Initializer, check: contract.Check) -> None:
    with pytest.raises(AssertionError, match=type(broken).__name__):
        check(broken)


def test_weights_that_build_on_old_ones_are_caught() -> None:
    for parameter in (module := contract.network()).parameters():
        parameter.data.fill_(torch.nan)
    NeedsOldWeights()(module, seed=0)  # staged in fresh memory: the old values are not visible
    with pytest.raises(AssertionError):
        contract.check_initializer(NeedsOldWeights())


def test_a_field_that_is_no_plain_data_stops_before_any_change() -> None:
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(TypeError, match="plain data"):
        Unserialisable(extra=object())(module, seed=0)
    assert torch.equal(before, module.weight)


def test_an_initialiser_written_by_a_user_passes_and_is_found_by_import_path(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from dataclasses import dataclass\n"
        "from initializers import Initializer\n"
        "@dataclass(frozen=True)\n"
        "class Halves(Initializer):\n"
        "    value: float = 0.5\n"
        "    def fill(self, weight, context):\n"
        "        weight.bernoulli_(0.5, generator=context.generator)\n"
        "        weight.sub_(0.5).mul_(2 * self.value)\n"
        "ready = Halves(0.25)\n"
    )
    with open(f"{tmp_path}/users_initializers.py", "w") as file:
        file.write(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = get_initializer("users_initializers:Halves:value=2")
    contract.check_initializer(mine)
    assert mine.to_dict() == {"name": "users_initializers:Halves", "value": 2}
    assert repr(mine) == "Halves(value=2)"
    module = nn.Linear(40, 30)
    get_initializer("users_initializers:ready")(module, seed=0)
    assert set(module.weight.unique().tolist()) == {-0.25, 0.25}
    with pytest.raises(ValueError, match=r"has no 'Halfs' \(did you mean 'Halves'\?\)"):
        get_initializer("users_initializers:Halfs")


def test_a_fill_that_raises_midway_changes_nothing() -> None:
    @dataclass(frozen=True)
    class Breaks(Initializer):
        def fill(self, weight: Tensor, context: LayerContext) -> None:
            if context.is_last:
                raise ValueError(f"cannot fill {context.name}")
            weight.zero_()

    module = contract.network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"cannot fill 9\.weight"):
        Breaks()(module, seed=0)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_wrapper_nests_in_the_serialised_form() -> None:
    wrapped = Negated("ternary:density=0.25")  # type: ignore[arg-type]
    assert wrapped.to_dict()["base"] == {"name": "ternary", "density": 0.25}
    one, two = nn.Linear(8, 4), nn.Linear(8, 4)
    wrapped(one, seed=0)
    get_initializer("ternary:density=0.25")(two, seed=0)
    assert torch.equal(one.weight, -two.weight)


@dataclass(frozen=True)
class Negated(Initializer):
    base: Initializer

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", get_initializer(self.base))

    def fill(self, weight: Tensor, context: LayerContext) -> None:
        self.base.fill(weight, context)
        weight.neg_()
