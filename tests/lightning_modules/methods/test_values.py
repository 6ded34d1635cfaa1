"""Methods as values: names, specs, plain data and mistakes."""

import copy
import doctest
import json
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from initializers import HeNormal
from lightning_modules import methods
from lightning_modules.methods import (
    Applied,
    BinarySurrogate,
    Connectivity,
    Restart,
    SignedSupermask,
    Supermask,
    TrainingMethod,
    get_method,
    method_names,
    register_method,
)


@dataclass(frozen=True)
class Own(Supermask):
    """A user's method."""

    extra: int = 3


@pytest.mark.parametrize(
    "spec",
    [
        *method_names(),
        "connectivity:change=flip,minimal=true,strength=0.5,scaling=kernel,low=0.02,high=0.2",
        "connectivity:rescale=true",
        "supermask:weights=initial,rescale=false,logit=1.5",
        "signed_supermask:variance=3,threshold=0",
        "binary_surrogate:surrogate=lrt,evaluate=sampled",
        "binary_surrogate:neuron=sign",
        "restart:criterion=random,density=0.5,weights=trained",
        f"{__name__}:Own:extra=4",
    ],
)
def test_a_method_is_a_value(spec: str) -> None:
    method = get_method(spec)
    plain = json.loads(json.dumps(method.to_dict()))
    assert get_method(plain) == method == get_method(method)
    assert hash(get_method(plain)) == hash(method)
    assert eval(repr(method)) == method
    assert pickle.loads(pickle.dumps(method)) == copy.deepcopy(method) == method


def test_a_restart_is_named_after_what_survives() -> None:
    assert get_method("restart:density=0.1,ones=signed_constant") == Restart(
        density=0.1, ones="signed_constant"
    )
    assert Restart(last_density=0.5).to_dict() == {"name": "restart", "last_density": 0.5}


def test_names_stand_for_the_modes_of_the_paper() -> None:
    assert get_method("free_pruning") == Connectivity()
    assert get_method("min_pruning") == Connectivity(minimal=True)
    assert get_method("free_flipping") == Connectivity(change="flip")
    assert get_method("min_flipping:strength=2") == Connectivity("flip", True, 2.0)
    assert len({get_method(name) for name in method_names()}) == len(method_names()) - 1
    assert repr(Connectivity("flip", low=0.02)) == "Connectivity(change='flip', low=0.02)"
    assert SignedSupermask(variance=3).to_dict() == {"name": "signed_supermask", "variance": 3.0}
    assert BinarySurrogate() != BinarySurrogate("lrt")
    assert Own(extra=1).to_dict() == {"name": f"{__name__}:Own", "extra": 1}


def test_settings_of_the_papers() -> None:
    settings = Supermask.paper_recipe
    assert (settings["lr"], settings["batch_size"], settings["epochs"]) == (100.0, 250, 2000)
    assert Supermask().paper_optimization() == {"optimizer": "sgd", "lr": 100.0, "momentum": 0.9}
    assert SignedSupermask().paper_optimization()["milestones"] == tuple(range(10, 100, 10))
    assert BinarySurrogate().paper_optimization() == {}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("supermsk", "did you mean 'supermask'"),
        ("supermask:rescal=true", "unknown option 'rescal' (did you mean 'rescale'?)"),
        ("supermask:rescale", "Option 'rescale' of supermask must be written key=value"),
        ("supermask:rescale=1", "rescale must be true or false, got 1"),
        ("supermask:weights=other", "weights must be one of signed_constant, initial"),
        ("signed_supermask:threshold=1", "threshold must be in [0, 1), got 1"),
        ("connectivity:change=grow", "change must be one of prune, flip"),
        ("connectivity:low=0.2", "high must be above low=0.2, got 0.1"),
        ("connectivity:change=flip,rescale=true", "rescale must be false where signs are flipped"),
        ("binary_surrogate:slope=0", "slope must be in (0, inf), got 0"),
        ("no_such_package.module:Method", "there is no module 'no_such_package'"),
    ],
)
def test_a_mistake_is_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        get_method(spec)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_method_is_refused() -> None:
    for wrong in (3, {"density": 1}, "initializers:HeNormal"):
        with pytest.raises(TypeError, match="method"):
            get_method(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="taken already"):
        register_method("supermask", Supermask)


def test_the_example_of_the_package() -> None:
    assert doctest.testmod(methods) == (0, 6)


@dataclass(frozen=True)
class Nothing(TrainingMethod):
    """The smallest method that a user can write."""

    def apply(self, network: nn.Module, *, seed: int) -> Applied:
        return AppliedNothing(network, seed)


class AppliedNothing(Applied):
    def __init__(self, network: nn.Module, seed: int) -> None:
        from lightning_modules.methods.sampling import Sampler

        super().__init__(network, Sampler("Nothing", seed))

    def release(self) -> None:
        pass


def test_what_a_method_need_not_say() -> None:
    applied = Nothing().apply(nn.Linear(2, 2), seed=0)
    assert (applied.penalty(), applied.metrics(), applied.report(), applied.views) == (
        None, {}, {}, ()
    )  # fmt: skip
    with pytest.raises(ValueError, match="no view 'sampled'"), applied.viewed_as("sampled"):
        pass


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight


@pytest.mark.parametrize("name", ["connectivity", "supermask", "signed_supermask"])
@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.PReLU()), "1.weight cannot be trained .*slope of PReLU"),
        (nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4)), "0.weight .* of a Embedding"),
        (nn.MultiheadAttention(4, 2), "of a MultiheadAttention"),
        (Tied(), "a.weight is shared with b.weight"),
        (nn.Sequential(nn.ReLU()), "has no Linear or convolution layer"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "re-parametrised"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(
    name: str, network: nn.Module, sentence: str
) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trainable = [p.requires_grad for p in network.parameters()]
    with pytest.raises(ValueError, match=sentence):
        get_method(name).apply(network, seed=0)
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert trainable == [p.requires_grad for p in network.parameters()]


@pytest.mark.parametrize("seed", [-1, True, 0.5])
@pytest.mark.parametrize("name", ["free_pruning", "binary_surrogate"])
def test_a_seed_is_a_whole_number(name: str, seed: int) -> None:
    network = nn.Sequential(nn.Linear(4, 4))
    HeNormal()(network, seed=0)
    with pytest.raises((ValueError, TypeError), match="seed must be an integer >= 0"):
        get_method(name).apply(network, seed=seed)
