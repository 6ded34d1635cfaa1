import math

import pytest
import torch
from torch import Tensor

import initializers
from initializers import HeNormal, Ternary, initialize_, ternary_, variance_scaling_


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "options", "std"),
    [
        ("ternary_", {"density": 0.1}, math.sqrt(2 / 180)),
        ("variance_scaling_", {"scale": 2.0}, 2 / math.sqrt(180)),
        ("glorot_normal_", {}, math.sqrt(2 / (180 + 360))),
        ("glorot_uniform_", {"scale": 0.5}, 0.5 * math.sqrt(2 / (180 + 360))),
        ("he_normal_", {}, math.sqrt(2 / 180)),
        ("he_uniform_", {"gain": 1.0, "mode": "fan_out"}, math.sqrt(1 / 360)),
        ("he_constant_", {}, math.sqrt(2 / 180)),
        ("lecun_normal_", {}, math.sqrt(1 / 180)),
        ("lecun_uniform_", {}, math.sqrt(1 / 180)),
        ("orthogonal_", {"gain": 2.0}, 2 / math.sqrt(180)),
        ("sparse_normal_", {"degree": 18, "std": 2.0}, 2 * math.sqrt(0.1)),
    ],
)
def test_standard_deviation(name: str, options: dict, std: float) -> None:
    tensor = torch.empty(40, 20, 3, 3)
    returned = getattr(initializers, name)(tensor, generator=generator(), **options)
    assert returned is tensor
    # sparse_normal_ has the largest kurtosis, 30: 3 standard errors of the std are 9.5 %
    assert float(tensor.square().mean().sqrt()) == pytest.approx(std, rel=0.095)


def test_equal_generators_give_equal_tensors_and_the_next_call_others() -> None:
    shared = generator()
    first, second = (ternary_(torch.empty(9, 8), generator=shared) for _ in range(2))
    assert torch.equal(first, ternary_(torch.empty(9, 8), generator=generator()))
    assert not torch.equal(first, second)


def test_without_a_generator_the_global_one_is_used_as_in_torch() -> None:
    torch.manual_seed(4)
    first = ternary_(torch.empty(9, 8))
    torch.manual_seed(4)
    assert torch.equal(first, ternary_(torch.empty(9, 8)))


def test_a_parameter_stays_a_leaf_and_other_layouts_and_dtypes_agree() -> None:
    parameter = torch.nn.Parameter(torch.empty(6, 4))
    ternary_(parameter, 0.5, generator=generator())
    assert parameter.is_leaf
    assert parameter.grad_fn is None
    transposed = torch.empty(4, 6).T
    assert torch.equal(ternary_(transposed, 0.5, generator=generator()), parameter)
    half = ternary_(torch.empty(6, 4, dtype=torch.bfloat16), 0.5, generator=generator())
    assert torch.equal(half, parameter.to(torch.bfloat16))


def test_groups_and_fans() -> None:
    grouped = variance_scaling_(
        torch.empty(64, 1, 3, 3), mode="fan_out", distribution="constant_sign",
        generator=generator(), groups=64,
    )  # fmt: skip
    assert float(grouped.abs().max()) == pytest.approx(1 / 3, rel=1e-6)
    rows = ternary_(torch.empty(64, 1, 3, 3), unscaled=True, generator=generator(), groups=64)
    assert rows.flatten(1).count_nonzero(1).tolist() == [2] * 64
    wide = variance_scaling_(
        torch.empty(5, 5), distribution="constant_sign", generator=generator(), fan_in=100.0
    )
    assert float(wide.abs().max()) == pytest.approx(0.1, rel=1e-6)
    any_ = initialize_(torch.empty(5, 5), Ternary(0.0), generator=generator(), fan_in=50.0)
    assert float(any_.abs().max()) == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize(
    ("tensor", "options", "error", "message"),
    [
        (torch.empty(5), {}, ValueError, "at least two axes"),
        (torch.empty(0, 5), {}, ValueError, "hold values"),
        (torch.zeros(5, 5, dtype=torch.int64), {}, TypeError, "floating-point"),
        ([[1.0]], {}, TypeError, "floating-point torch.Tensor, got list"),
        (torch.empty(5, 5), {"groups": 2}, ValueError, "groups must be .* 5 units, got 2"),
    ],
)
def test_bad_tensors(tensor: Tensor, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        initialize_(tensor, HeNormal(), generator=generator(), **options)
