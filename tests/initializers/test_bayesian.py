"""The filter against dense matrices and closed forms, and the initialisers built on it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initializers import BayesKalman, DataBayesKalman, GlorotUniform, initialize_
from initializers.batch import Batch
from initializers.kalman import BlockFilter, Modes, equicorrelated
from initializers.seeding import Streams
from initializers.testing_modules import batch, network, state_of


def dense(variance: float, correlation: float, size: int) -> np.ndarray:
    return variance * ((1 - correlation) * np.eye(size) + correlation * np.ones((size, size)))


PRIOR, NOISE = (0.7, 0.2), (1.3, 0.6)


def test_eigenvalues() -> None:
    values = np.linalg.eigvalsh(dense(*NOISE, 6))
    assert values == pytest.approx([equicorrelated(*NOISE, 6).deviation] * 5 + [values[-1]])
    assert values[-1] == pytest.approx(equicorrelated(*NOISE, 6).common)
    assert equicorrelated(*NOISE, 6).per_entry(6) == pytest.approx(1.3)


def test_the_linear_filter_equals_the_dense_one_in_both_forms_and_in_one_batch() -> None:
    """n = 6, five measurements: gain form, precision form and closed form, to 1e-12."""
    random = np.random.default_rng(0)
    start, measured = random.normal(size=6), random.normal(size=(5, 6))
    prior, noise = dense(*PRIOR, 6), dense(*NOISE, 6)
    fast = BlockFilter(equicorrelated(*PRIOR, 6), 6)
    ours = torch.from_numpy(start.copy())[None]
    mean, covariance = start, prior
    by_precision = np.linalg.inv(prior)
    for count, sample in enumerate(measured, start=1):
        gain = covariance @ np.linalg.inv(covariance + noise)
        mean = mean + gain @ (sample - mean)
        before, covariance = covariance, (np.eye(6) - gain) @ covariance
        assert np.linalg.eigvalsh(before - covariance).min() > 0.0  # Loewner order
        by_precision = by_precision + np.linalg.inv(noise)
        assert np.linalg.inv(by_precision) == pytest.approx(covariance, abs=1e-12)
        fast.update(equicorrelated(*NOISE, 6), ours, torch.from_numpy(sample.copy())[None])
        assert ours[0].numpy() == pytest.approx(mean, abs=1e-12)
        found = fast.covariance()
        assert 6 * found.per_entry(6) == pytest.approx(np.trace(covariance), rel=1e-12)
        q, r = equicorrelated(*PRIOR, 6), equicorrelated(*NOISE, 6)
        harmonic = 1 / (1 / q.common + count / r.common) + 5 / (
            1 / q.deviation + count / r.deviation
        )
        assert 6 * found.per_entry(6) == pytest.approx(harmonic, rel=1e-12)
    closed = covariance @ (np.linalg.inv(prior) @ start + np.linalg.inv(noise) @ measured.sum(0))
    assert mean == pytest.approx(closed, abs=1e-12)


def test_no_sample_leaves_the_prior_and_a_flat_prior_gives_the_sample_mean() -> None:
    flat = BlockFilter(Modes(math.inf, math.inf), 4)
    mean = torch.full((3, 4), 9.0, dtype=torch.float64)
    assert flat.covariance() == (math.inf, math.inf)
    assert flat.spread() == (0.0, 0.0)
    samples = torch.randn(7, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for sample in samples:
        flat.update(equicorrelated(0.3, 0.9, 4), mean, sample.clone())  # R cancels
    assert torch.allclose(mean, samples.mean(0), rtol=0, atol=1e-9)
    assert flat.spread().common == pytest.approx(1 / 7)


def test_proportional_covariances_leave_weights_independent() -> None:
    """With equal correlations the gain is a number: mean = sum(samples) / (T + r / q)."""
    one = BlockFilter(equicorrelated(0.5, 0.4, 5), 5)
    mean = torch.zeros(2, 5, dtype=torch.float64)
    samples = torch.randn(3, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for sample in samples:
        one.update(equicorrelated(1.5, 0.4, 5), mean, sample.clone())
    assert torch.allclose(mean, samples.sum(0) / (3 + 1.5 / 0.5), rtol=0, atol=1e-12)


def test_draws_from_the_posterior_have_its_covariance() -> None:
    """Variances of block means and deviations over 20,000 blocks, 4 standard errors."""
    one = BlockFilter(equicorrelated(*PRIOR, 3), 3)
    one.update(equicorrelated(*NOISE, 3), torch.empty(0, 3), torch.empty(0, 3))
    drawn = torch.zeros(20_000, 3, dtype=torch.float64)
    normal = torch.randn(
        drawn.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    one.perturb(drawn, normal)
    expected = one.covariance()
    common = 3 * float(drawn.mean(1).square().mean())
    deviation = float((drawn - drawn.mean(1, keepdim=True)).square().sum(1).mean()) / 2
    assert common == pytest.approx(expected.common, rel=4 * math.sqrt(2 / 20_000))
    assert deviation == pytest.approx(expected.deviation, rel=4 * math.sqrt(1 / 20_000))


OPTIONS = [
    {},
    {"samples": 3, "stop": 0.0, "noise_correlation": 0.0},
    {"samples": 4, "stop": 0.0, "prior_correlation": 0.3, "prior": 2.0, "noise": 0.5},
    {"samples": 2, "output": "sample"},
    {"calibrated": True},
    {"calibrated": True, "output": "sample", "samples": 1, "gain": "relu", "mode": "fan_in"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_variance_is_the_stated_one(options: dict[str, object]) -> None:
    """4,000 units of 30 inputs: within 3 % (more than 5 standard errors)."""
    layer = nn.Linear(30, 4000)
    method = BayesKalman(**options)  # type: ignore[arg-type]
    record = method(layer, seed=0).layers[0]
    assert record.nominal_std is not None
    assert record.std**2 == pytest.approx(record.nominal_std**2, rel=0.03)
    if method.calibrated:
        fan = 30.0 if method.mode == "fan_in" else (30 + 4000) / 2
        assert record.nominal_std == pytest.approx(math.sqrt((1 + (method.gain == "relu")) / fan))


def test_closed_form_without_correlations() -> None:
    """std^2 T / (T + noise / prior)^2, at its largest where T = noise / prior."""
    layer = nn.Linear(10, 10)
    variances = []
    for count in (1, 2, 3, 4, 6):
        method = BayesKalman(samples=count, stop=0.0, noise_correlation=0.0, noise=3.0, scale=2.0)
        nominal = method(layer, seed=0).layers[0].nominal_std
        assert nominal is not None
        assert nominal**2 == pytest.approx(0.4 * count / (count + 3) ** 2, rel=1e-12)
        variances.append(nominal**2)
    assert max(variances) == variances[2]
    assert variances[2] == pytest.approx(0.4 / (4 * 3))


def test_distrusted_block_means_make_small_strengths() -> None:
    """Variance of a unit's strength: n times that of the common mode; 4,000 units, 4 errors."""
    layer = nn.Linear(50, 4000)
    BayesKalman(samples=5, stop=0.0)(layer, seed=0)
    strengths = layer.weight.detach().double().sum(1)
    variance, r = 2 / 4050, 0.5 + 50 * 0.5
    expected = 50 * variance * 5 / (5 + r) ** 2
    assert float(strengths.square().mean()) == pytest.approx(expected, rel=4 * math.sqrt(2 / 4000))
    independent = 50 * float(layer.weight.detach().double().square().mean())
    assert expected < 0.05 * independent


def test_sampling_stops_once_the_posterior_is_narrow() -> None:
    """With the defaults each sample adds 1 / (1 - c) = 2 to the precision: 1 / 11 after five."""
    layer = nn.Linear(784, 300)
    assert BayesKalman()(layer, seed=0).layers[0].note == "5 samples"
    assert BayesKalman(samples=3)(layer, seed=0).layers[0].note == "3 samples"
    assert BayesKalman(stop=0.3)(layer, seed=0).layers[0].note == "2 samples"
    assert BayesKalman(stop=0.0)(layer, seed=0).layers[0].note == "10 samples"


def test_one_trusted_sample_is_a_glorot_draw() -> None:
    one, two = nn.Linear(40, 30), nn.Linear(40, 30)
    BayesKalman(samples=1, noise=1e-9)(one, seed=5)
    GlorotUniform()(two, seed=5)
    assert torch.allclose(one.weight, two.weight, rtol=1e-5, atol=1e-7)


def test_a_filter_is_a_block() -> None:
    """Units do not mix: each row is what the filter gives for its own samples."""
    conv = nn.Conv2d(3, 4, 2)
    BayesKalman(samples=1)(conv, seed=0)
    std = math.sqrt(2 / (12 + 16))
    bound = math.sqrt(3) * std
    uniform = torch.empty(4, 12)
    uniform.uniform_(generator=Streams(0).generator("weight")).mul_(2).sub_(1).mul_(bound)
    mean = uniform.mean(1, keepdim=True)
    expected = mean / (1 + 0.5 + 12 * 0.5) + (uniform - mean) / (1 + 0.5)
    assert torch.allclose(conv.weight.detach().flatten(1), expected, atol=1e-6)


def test_without_power_the_data_do_not_matter() -> None:
    plain, informed = network(), network()
    BayesKalman(output="sample")(plain, seed=3)
    DataBayesKalman(output="sample", power=0.0)(informed, seed=3, batch=batch())
    for name, value in state_of(plain).items():
        assert torch.equal(value, state_of(informed)[name]), name


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("labelled", [False, True])
def test_losses_weigh_the_samples(labelled: bool) -> None:
    """mean = sum(m_t / r_t) / (1/q + sum(1 / r_t)) with r_t from the loss of network t."""
    inputs = 3.0 * torch.randn(
        20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.arange(20) % 3
    module, trial = perceptron(), perceptron()
    DataBayesKalman(samples=4, stop=0.0, noise_correlation=0.0, power=2.0, scale=3.0)(
        module, seed=1, batch=(inputs, labels) if labelled else inputs
    )
    names = ("0.weight", "2.weight")
    drawn: list[dict[str, Tensor]] = [{} for _ in range(4)]
    for name in names:
        shape = trial.get_parameter(name).shape
        stream = Streams(1).generator(name)
        for step in drawn:
            uniform = torch.empty(shape).uniform_(generator=stream)
            bound = 3.0 * math.sqrt(6 / sum(shape))
            step[name] = (uniform * 2 - (1 - 2**-24)).double() * bound
    ratios = []
    for step in drawn:
        trial.load_state_dict(
            {**step, "0.bias": torch.zeros(8), "2.bias": torch.zeros(3)}, strict=True
        )
        with torch.no_grad():
            logits = trial(inputs)
        wanted = nn.functional.one_hot(labels, 3) if labelled else torch.full((20, 3), 1 / 3)
        loss = float(nn.functional.cross_entropy(logits, wanted.double()))
        ratios.append((loss / math.log(3)) ** 2)
    assert max(ratios) > 1.5 * min(ratios)
    for name in names:
        total = sum(step[name] / ratio for step, ratio in zip(drawn, ratios, strict=True))
        expected = total / (1 + sum(1 / ratio for ratio in ratios))
        assert torch.allclose(module.get_parameter(name), expected, rtol=1e-6, atol=1e-9)


def test_calibration_follows_the_losses() -> None:
    layer = nn.Linear(20, 4000)
    inputs = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    method = DataBayesKalman(calibrated=True, power=3.0, scale=8.0)
    record = method(layer, seed=0, batch=inputs).layers[0]
    assert record.std == pytest.approx(8.0 * math.sqrt(2 / 4020), rel=0.02)
    assert record.nominal_std == pytest.approx(8.0 * math.sqrt(2 / 4020))


def test_the_data_matter() -> None:
    one, two = perceptron(), perceptron()
    inputs = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    DataBayesKalman(scale=3.0)(one, seed=0, batch=inputs)
    DataBayesKalman(scale=3.0)(two, seed=0, batch=10.0 * inputs)
    assert not torch.allclose(one[0].weight, two[0].weight, rtol=1e-3)


class Draws(nn.Linear):
    """Its forward pass draws from torch's global generator."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + torch.rand(5)


def test_the_global_generator_stays_where_it_was() -> None:
    inputs, state = torch.ones(4, 3), torch.get_rng_state()
    one, two = Draws(3, 5), Draws(3, 5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    DataBayesKalman()(one, seed=0, batch=inputs)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    DataBayesKalman()(two, seed=0, batch=inputs)
    assert torch.equal(one.weight, two.weight)
    torch.set_rng_state(state)


class Pair(nn.Linear):
    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(input), input


@pytest.mark.parametrize(
    ("module", "data", "message"),
    [
        (network(), None, r"DataBayesKalman needs data: call it with batch=inputs"),
        (network(), torch.ones(4, 7), r"Sequential cannot be run on a batch of shape \(4, 7\)"),
        (nn.Linear(3, 1), torch.ones(4, 3), r"two classes or more, got \(4, 1\)"),
        (nn.Linear(3, 2), (torch.ones(4, 3), torch.arange(4)), "needs a classifier: labels"),
        (Pair(3, 2), torch.ones(4, 3), r"got tuple"),
        (nn.Linear(3, 2), torch.full((4, 3), math.inf), "has the loss nan on this batch"),
    ],
)
def test_what_cannot_be_weighed_is_refused(
    module: nn.Module, data: Batch | None, message: str
) -> None:
    before = state_of(module)
    with pytest.raises(ValueError, match=message):
        DataBayesKalman()(module, seed=0, batch=data)
    assert all(torch.equal(value, before[name]) for name, value in state_of(module).items())


def test_a_bare_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match="DataBayesKalman has to run the network"):
        initialize_(torch.empty(3, 2), DataBayesKalman())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, r"samples must be in \[1, inf\), got 0"),
        ({"stop": 1.0}, r"stop must be in \[0, 1\)"),
        ({"noise_correlation": 1.0}, r"noise_correlation must be in \[0, 1\)"),
        ({"prior": 0.0}, r"prior must be in \(0, inf\)"),
        ({"output": "median"}, "output must be one of mean, sample"),
    ],
)
def test_values_that_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"BayesKalman: {message}"):
        BayesKalman(**options)  # type: ignore[arg-type]
