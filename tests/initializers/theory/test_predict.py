"""Predictions for concrete networks: closed forms, and what random networks do."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initializers import (
    GlorotUniform,
    HeConstant,
    HeNormal,
    Initializer,
    Orthogonal,
    PerLayer,
    Random,
    SparseNormal,
    Ternary,
    TorchDefault,
    VarianceScaling,
)
from initializers.job import Job
from initializers.testing_modules import state_of
from initializers.theory import (
    QUANTITIES,
    Prediction,
    empty_rows_exact,
    kurtosis,
    mean_field,
    predict,
    second_moment,
    second_moment_slope,
)
from initializers.theory.laws import Law, law_of
from lightning_modules import build_network

Table = dict[tuple[str, str], float]


def table(rows: list[Prediction]) -> Table:
    found = {(row.layer, row.quantity): row.predicted for row in rows}
    assert len(found) == len(rows)
    return found


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for first, second in pairwise(widths):
        layers += [nn.Linear(first, second), activation()]
    return nn.Sequential(*layers[:-1])


def test_he_and_relu() -> None:
    """q = 2, chi = 1 behind the first layer, gradients of one size, kurtosis 3 at all depths."""
    rows = predict(mlp(64, 100, 80, 60, 10), HeNormal(), c0=0.0)
    found = table(rows)
    assert {row.quantity for row in rows} == set(QUANTITIES)
    assert list(dict.fromkeys(row.layer for row in rows)) == list("0123456")
    for number, layer in enumerate("0246"):
        assert found[layer, "second_moment"] == pytest.approx(2.0, rel=1e-13)
        assert found[layer, "chi"] == pytest.approx(1.0 if number else 2.0, rel=1e-13)
        assert found[layer, "gradient_growth"] == pytest.approx(1.0, rel=1e-13)
        assert found[layer, "kurtosis"] == pytest.approx(3.0, rel=1e-13)
        assert found[layer, "empty_rows"] == 0.0
    assert found["1", "second_moment"] == pytest.approx(1.0, rel=1e-13)
    for layer, value in (("0", 0.0), ("2", 0.318), ("4", 0.494)):
        assert found[layer, "correlation"] == pytest.approx(value, abs=5e-4)
    assert found["1", "correlation"] == found["2", "correlation"]
    # v = 5/100 + 5/80 + 5/60 of the layers before, and 2/10 of the last one itself
    spread = math.sqrt(math.expm1(5 / 100 + 5 / 80 + 5 / 60 + 2 / 10))
    assert found["6", "second_moment_spread"] == pytest.approx(spread, rel=1e-12)


def test_maps_with_biases_layer_by_layer() -> None:
    found = table(predict(mlp(50, 40, 30, 20, activation=nn.Tanh), TorchDefault(), 0.7, c0=0.4))
    q, c = 0.7 / 3 + 1 / (3 * 50), (0.7 / 3 * 0.4 + 1 / (3 * 50)) / (0.7 / 3 + 1 / (3 * 50))
    assert found["0", "second_moment"] == pytest.approx(q, rel=1e-12)
    assert found["0", "correlation"] == pytest.approx(c, rel=1e-12)
    chis = []
    for layer, fan in (("2", 40), ("4", 30)):
        maps = mean_field("tanh", 1 / 3, 1 / (3 * fan))
        chis.append(maps.chi(q))
        q, c = maps.variance(q), maps.correlation(c, q)
        assert found[layer, "second_moment"] == pytest.approx(q, rel=1e-12)
        assert found[layer, "correlation"] == pytest.approx(c, rel=1e-12)
        assert found[layer, "chi"] == pytest.approx(chis[-1], rel=1e-12)
    assert found["0", "gradient_growth"] == pytest.approx(chis[0] * chis[1], rel=1e-12)


def test_finite_width_with_biases() -> None:
    """Biases dilute what weights do to kurtosis and spread; tanh damps what comes from before."""
    found = table(predict(mlp(50, 40, 30, activation=nn.Tanh), TorchDefault(), 0.3))
    bias = 1 / (3 * 50)
    q = 0.1 + bias
    kappa = 3 + (0.1 / q) ** 2 * (1.8 - 3) * 3 / 50
    assert found["0", "kurtosis"] == pytest.approx(kappa, rel=1e-12)
    own = (kappa - 1) / 40
    assert found["0", "second_moment_spread"] == pytest.approx(math.expm1(own) ** 0.5, rel=1e-12)
    # one layer on; its inputs have the kurtosis of tanh
    maps, inputs = mean_field("tanh", 1 / 3, 1 / (3 * 40)), kappa * kurtosis("tanh", q) / 3
    after = maps.variance(q)
    share = 1 - 1 / (3 * 40) / after
    last = 3 + share**2 * (1.8 - 3) * inputs / 40
    assert share < 0.8
    assert found["2", "kurtosis"] == pytest.approx(last, rel=1e-12)
    v = share**2 * (inputs - 1) / 40 + (last - 1) / 30
    assert found["2", "second_moment_spread"] == pytest.approx(math.expm1(v) ** 0.5, rel=1e-12)


def test_spread_is_damped_by_saturation() -> None:
    """Relative changes of q pass a layer of tanh times q V'(q) / V(q), here about a half."""
    initializer = VarianceScaling(2.0)
    three = table(predict(mlp(50, 40, 40, 40, activation=nn.Tanh), initializer))
    two = table(predict(mlp(50, 40, 40, activation=nn.Tanh), initializer))
    maps = mean_field("tanh", 4.0)
    q = maps.variance(4.0)
    damping = q * second_moment_slope("tanh", q) / second_moment("tanh", q)
    assert 0.3 < damping < 0.6
    before = math.log1p(two["2", "second_moment_spread"] ** 2) - 2 / 40
    fresh = (kurtosis("tanh", q) - 1) / 40
    v = damping**2 * before + fresh + 2 / 40
    assert three["4", "second_moment_spread"] == pytest.approx(math.expm1(v) ** 0.5, rel=1e-10)


def test_unscaled_ternary_weights() -> None:
    """LeNet-300-100: kurtosis 3 + (1/d - 3/n) r kappa with realised degrees, empty rows."""
    network = build_network("lenet_300_100", input_shape=(1, 28, 28), num_classes=10)
    found = table(predict(network, "ternary_he_twin"))
    kappa = 3.0
    for number, (layer, n, units, count) in enumerate(
        (("fc1", 784, 300, 600), ("fc2", 300, 100, 200), ("fc3", 100, 10, 20))
    ):
        degree = count / units
        kappa = 3 + (1 / degree - 3 / n) * (2 if number else 1) * kappa
        assert found[layer, "kurtosis"] == pytest.approx(kappa, rel=1e-12)
        empty = empty_rows_exact(count, units, n)
        assert found[layer, "empty_rows"] == pytest.approx(empty, rel=1e-12)
        assert found[layer, "empty_rows"] == pytest.approx(math.exp(-2), abs=0.02)
        assert found[layer, "second_moment"] == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize(
    ("initializer", "activation"),
    [
        (Ternary(degree=6, sampling="bernoulli"), nn.ReLU),
        (TorchDefault(), nn.Tanh),
        (VarianceScaling(1.4, distribution="uniform"), nn.GELU),
    ],
    ids=repr,
)
def test_random_networks_do_what_is_predicted(
    initializer: Initializer, activation: type[nn.Module]
) -> None:
    """300 draws of 80-100-100-90: means within 4 standard errors + 2 % (finite width)."""
    network = mlp(80, 100, 100, 90, activation=activation)
    x = torch.randn(2, 80, generator=torch.Generator().manual_seed(0))
    x = x / x.square().mean(1, keepdim=True).sqrt()
    x[1] = functional.normalize(x[1] - x[0] * (x[0] @ x[1]) / 80, dim=0) * 80**0.5
    kurtosis0 = float(x[0].pow(4).mean())
    found = table(predict(network, initializer, kurtosis0=kurtosis0))
    measured: dict[tuple[str, str], list[float]] = {}
    generator = torch.Generator().manual_seed(1)
    for seed in range(300):
        initializer(network, seed=seed)
        h, outputs = x, []
        for layer in network:
            h = layer(h)
            if isinstance(layer, nn.Linear):
                outputs.append(h)
        probe = torch.randn(h[0].shape, generator=generator)
        gradients = torch.autograd.grad((h[0] * probe).sum(), outputs)
        last = probe.square().sum()
        for name, z, gradient in zip("024", outputs, gradients, strict=True):
            values = {
                "second_moment": z[0].square().mean(),
                "fourth": z[0].pow(4).mean(),
                "product": (z[0] * z[1]).mean(),
                "gradient_growth": gradient[0].square().sum() / last,
            }
            for quantity, value in values.items():
                measured.setdefault((name, quantity), []).append(value.item())
    for name in "024":
        sample = {
            quantity: torch.tensor(measured[name, quantity], dtype=torch.float64)
            for quantity in ("second_moment", "fourth", "product", "gradient_growth")
        }
        q = found[name, "second_moment"]
        for quantity, expected in (
            ("second_moment", q),
            ("product", q * found[name, "correlation"]),
            ("gradient_growth", found[name, "gradient_growth"]),
        ):
            mean, error = float(sample[quantity].mean()), float(sample[quantity].std()) / 300**0.5
            scale = q if quantity == "product" else expected
            assert mean == pytest.approx(expected, abs=4 * error + 0.02 * scale), (name, quantity)
        relative = sample["second_moment"] / sample["second_moment"].mean()
        deviation = relative - 1
        scatter = float(deviation.pow(4).mean() / deviation.square().mean() ** 2 - 1)
        error = (scatter / 300) ** 0.5 / 2
        spread = found[name, "second_moment_spread"]
        assert float(relative.std()) == pytest.approx(spread, rel=4 * error + 0.05), name
        # given the layer before, kurtosis is that of the units about their common variance
        common = 1 + spread**2 - (found[name, "kurtosis"] - 1) / len(outputs["024".index(name)][0])
        fourth = sample["fourth"] / sample["second_moment"].mean() ** 2
        error = float(fourth.std()) / 300**0.5
        expected = found[name, "kurtosis"] * common
        assert float(fourth.mean()) == pytest.approx(expected, abs=4 * error + 0.03 * expected)


def test_convolutions_without_a_border() -> None:
    """Circular padding: second moments within 4 standard errors over 20 draws."""
    network = nn.Sequential(
        nn.Conv2d(3, 48, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(48, 64, 3, padding=1, padding_mode="circular", groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 36, 10),
    )
    x = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    initializer = Ternary(0.9)
    rows = predict(network, initializer, float(x.square().mean()))
    found = table(rows)
    assert {row.quantity for row in rows if row.layer == "5"} == set(QUANTITIES) - {
        "second_moment_spread"
    }
    measured = torch.zeros(20, 3, dtype=torch.float64)
    with torch.no_grad():
        for seed in range(20):
            initializer(network, seed=seed)
            h = x
            for number, layer in enumerate(network):
                h = layer(h)
                if number in (0, 2, 5):
                    measured[seed, (0, 2, 5).index(number)] = h.square().mean()
    for name, column in zip("025", measured.T, strict=True):
        error = float(column.std()) / 20**0.5
        assert float(column.mean()) == pytest.approx(found[name, "second_moment"], abs=4 * error)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(12, 9), nn.Linear(9, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu(self.one(x.view(x.size(0), -1)), 0.2)
        h = functional.dropout(torch.tanh(self.two(h)), 0.3, self.training)
        out: Tensor = self.three(h)
        return out


def test_functions_and_modules_are_the_same() -> None:
    modules = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 9), nn.LeakyReLU(0.2), nn.Linear(9, 7), nn.Tanh(),
        nn.Dropout(0.3), nn.Linear(7, 2),
    )  # fmt: skip
    names = {"1": "one", "3": "two", "6": "three"}
    for initializer in (GlorotUniform(), TorchDefault()):
        expected = {
            (names[layer], quantity): value
            for (layer, quantity), value in table(predict(modules, initializer)).items()
            if layer in names
        }
        assert table(predict(Functional(), initializer)) == expected


class Forked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.stem(x))
        out: Tensor = self.out(h + self.inner(h))
        return out


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.relu(self.layer(x)))
        return out


def tied() -> nn.Sequential:
    network = mlp(6, 6, 6)
    network.get_submodule("2").register_parameter("weight", network.get_parameter("0.weight"))
    return network


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(3, 4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.layer(x, y)
        return out


class Tuples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.layer(x)
        return z, z


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) if x.sum() > 0 else x
        return out


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (Forked(), r"Forked is no chain of layers: add\(\) takes several signals or an earlier"),
        (Shared(), "layer shares its weights or is used more than once"),
        (tied(), "0 shares its weights or is used more than once"),
        (TwoInputs(), "forward pass cannot be traced .*'y'.*; measure it instead"),
        (Tuples(), "the network returns more than one tensor"),
        (Branching(), "forward pass cannot be traced .*; measure it instead"),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), r"1 \(BatchNorm1d\) has no mean-field"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2)), r"1 \(MaxPool2d\) has no mean-field"),
        (nn.Sequential(nn.Tanh(), nn.Linear(3, 3)), "0 does not follow a layer"),
        (nn.Sequential(nn.Embedding(4, 3)), "0 is of kind embedding, not Linear or convolution"),
        (nn.ReLU(), "does not follow a layer"),
        (nn.Flatten(), "it has no layers"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_is_no_chain_is_refused(network: nn.Module, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        predict(network, HeNormal())
    assert str(caught.value).startswith("predict: ")


def test_the_first_layers_of_a_network() -> None:
    found = table(predict(Forked(), HeNormal(), partial=True))
    assert {layer for layer, _ in found} == {"stem", "inner"}
    network = build_network("conv2", input_shape=(3, 8, 8), num_classes=10)
    with pytest.raises(
        ValueError, match=r"pool1 \(MaxPool2d\).*partial=True predicts the layers before"
    ):
        predict(network, HeNormal())
    found = table(predict(network, HeNormal(), partial=True))
    assert {layer for layer, _ in found} == {"conv1", "act1", "conv2", "act2"}
    with pytest.raises(ValueError, match="forward pass cannot be traced"):
        predict(TwoInputs(), HeNormal(), partial=True)


@pytest.mark.parametrize(
    "name",
    ["zeros", "constant", "looks_linear", "lsuv", "mup", "sign_constant", "bayes_kalman", "dirac"],
)
def test_initialisers_of_other_kinds_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^predict: .* measure it instead\.$"):
        predict(mlp(6, 6, 2), name)


def test_bad_numbers() -> None:
    for options in ({"q0": 0.0}, {"c0": 1.5}, {"kurtosis0": 0.5}, {"q0": math.nan}):
        with pytest.raises(ValueError, match=r"^predict: q0 must be in \(0, inf\), c0 in"):
            predict(mlp(6, 6, 2), HeNormal(), **options)  # type: ignore[arg-type]


def test_nothing_is_changed_or_drawn() -> None:
    network = mlp(6, 6, 2).train()
    before, random = state_of(network), torch.get_rng_state()
    first = predict(network, Ternary(0.5))
    assert all(torch.equal(value, before[name]) for name, value in state_of(network).items())
    assert torch.equal(random, torch.get_rng_state())
    assert network.training
    assert predict(network, "ternary:zero_proportion=0.5") == first


def test_signals_that_die_and_come_back() -> None:
    network = mlp(6, 8, 8, 4)
    found = table(predict(network, Ternary(0.5, last="zero")))
    assert found["4", "second_moment"] == 0.0
    assert found["4", "empty_rows"] == 1.0
    assert ("4", "correlation") not in found
    assert found["0", "gradient_growth"] == 0.0
    dead = PerLayer(HeNormal(), (("0.weight", Ternary(last="zero")),))
    assert table(predict(network, dead))["2", "second_moment"] == pytest.approx(2.0)
    offset = mlp(6, 8, 8, 4, activation=nn.Sigmoid)
    first = PerLayer(HeNormal(), (("last", Random(0.5)),))
    assert table(predict(offset, first))["4", "chi"] > 0.0


LAWS = [
    HeNormal(mode="fan_avg"),
    VarianceScaling(distribution="uniform"),
    VarianceScaling(distribution="truncated_normal"),
    HeConstant(),
    Random(0.3),
    SparseNormal(5, 0.7),
    TorchDefault(),
    Orthogonal(1.3),
    Ternary(0.9, mode="fan_avg"),
    Ternary(0.9, sampling="bernoulli"),
    Ternary(0.9, sampling="exact_row"),
    Ternary.he_twin(),
    Ternary(unscaled=True, gain=20.0),  # clipped: dense weights +-1
    PerLayer(HeNormal(), (("last", Ternary(0.5)),)),
]


@pytest.mark.parametrize("initializer", LAWS, ids=repr)
def test_laws_are_those_of_the_weights(initializer: Initializer) -> None:
    """Second moment, kurtosis, empty rows and biases of 300 x 200 weights, 4 standard errors."""
    module = nn.Sequential(nn.Linear(200, 300))
    record = initializer(module, seed=0).layers[0]
    law = law_of(initializer, Job.of("test", module, 0, None, None).layers[0].context)
    assert isinstance(law, Law)
    kappa = law.kurtosis or 3.0
    n = 60_000
    error = 4 * math.sqrt((kappa - 1) / n) + 1e-6
    assert record.std**2 == pytest.approx(law.variance, rel=error)
    if law.kurtosis is not None:
        assert record.kurtosis == pytest.approx(kappa, rel=max(5e-4, 8 * error))
    assert record.empty_rows / 300 == pytest.approx(law.empty_rows, abs=0.08)
    bias = module.get_parameter("0.bias").detach()
    assert float(bias.square().mean()) == pytest.approx(law.bias_variance, rel=0.25)


def test_kurtosis_of_the_truncated_law() -> None:
    law = law_of(
        VarianceScaling(distribution="truncated_normal"),
        Job.of("test", nn.Linear(5, 5), 0, None, None).layers[0].context,
    )
    assert law.kurtosis == pytest.approx(2.36554, abs=1e-5)
