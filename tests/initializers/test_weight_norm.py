import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from initializers import (
    HeNormal,
    Initializer,
    Orthogonal,
    Ternary,
    WeightNormData,
    WeightNormForward,
    WeightNormResNet,
    Zeros,
    get_initializer,
)


def perceptron(*widths: int, normalised: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        layers += [weight_norm(linear) if normalised else linear, nn.ReLU()]
    return nn.Sequential(*layers)


def kinds() -> nn.ModuleDict:
    """One layer of each kind that may be weight-normalised, with other axes as well."""
    return nn.ModuleDict(
        {
            "linear": nn.Linear(7, 5),
            "columns": nn.Linear(7, 5),
            "whole": nn.Linear(7, 5),
            "conv": nn.Conv2d(6, 8, 3, groups=2),
            "transposed": nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2),
            "bilinear": nn.Bilinear(3, 4, 5),
        }
    )


AXES = {"columns": 1, "whole": None}


def normalised_kinds() -> nn.ModuleDict:
    module = kinds()
    for name, layer in module.items():
        weight_norm(layer, dim=AXES.get(name, 0))
    return module


def parts(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """g and v."""
    return (
        layer.get_parameter("parametrizations.weight.original0").detach(),
        layer.get_parameter("parametrizations.weight.original1").detach(),
    )


@pytest.mark.parametrize(
    "spec",
    ["he_normal", "orthogonal", "ternary:density=0.05,signs=random", "zeros", "torch_default"],
)
def test_a_plain_initialiser_gives_the_weights_it_gives_without_weight_normalisation(
    spec: str,
) -> None:
    plain, normed = kinds().double(), normalised_kinds().double()
    initializer = get_initializer(spec)
    first, second = initializer(plain, seed=3), initializer(normed, seed=3)
    assert {layer.name for layer in first.layers} == {layer.name for layer in second.layers}
    assert first.biases == second.biases
    for name, layer in normed.items():
        expected, weight = plain[name].weight.detach(), layer.weight.detach()
        assert bool(weight.isfinite().all())
        torch.testing.assert_close(weight, expected, rtol=1e-14, atol=0.0)
        g, v = parts(layer)
        if spec in ("he_normal", "orthogonal"):
            assert torch.equal(v, expected)
            axis = AXES.get(name, 0)
            norms = torch.norm_except_dim(v, 2, -1 if axis is None else axis)
            assert torch.allclose(g, norms, rtol=1e-14)
    for a, b in zip(first.layers, second.layers, strict=True):
        assert (a.name, a.shape, a.fan_in) == (b.name, b.shape, b.fan_in)
        assert b.std == pytest.approx(a.std, rel=1e-12)
        assert (a.zero_fraction, a.empty_rows) == (b.zero_fraction, b.empty_rows)
        assert "weight-normalised" in b.note
        assert "weight-normalised" not in a.note


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("spec", ["he_normal", "weight_norm:output=rule"])
def test_every_dtype_gives_the_same_weights_to_rounding(
    spec: str, dtype: torch.dtype, tolerance: float
) -> None:
    exact, rounded = normalised_kinds().double(), normalised_kinds().to(dtype)
    get_initializer(spec)(exact, seed=2)
    get_initializer(spec)(rounded, seed=2)
    for name, layer in rounded.items():
        weight, expected = layer.weight.detach(), exact[name].weight.detach()
        assert weight.dtype == dtype
        worst = float((weight.double() - expected).abs().max())
        assert worst <= tolerance * float(expected.abs().max()), name


def test_an_empty_row_has_magnitude_zero_and_a_direction_of_its_own() -> None:
    layer = weight_norm(nn.Linear(3, 5))
    Zeros()(layer, seed=0)
    g, v = parts(layer)
    assert not g.any()
    assert torch.equal(v, torch.eye(3)[[0, 1, 2, 0, 1]])
    assert not layer.weight.any()
    layer(torch.ones(2, 3)).sum().backward()  # no 0 / 0 in the gradient either
    gradient = layer.get_parameter("parametrizations.weight.original0").grad
    assert gradient is not None
    assert torch.equal(gradient, torch.full((5, 1), 2.0))


def test_a_shared_weight_normalised_layer_is_set_once_and_noted() -> None:
    layer = weight_norm(nn.Linear(4, 4))
    module = nn.ModuleDict({"a": layer, "b": layer})
    record = HeNormal()(module, seed=0)
    assert [row.name for row in record.layers] == ["a.weight"]
    assert "shared with b.weight" in record.layers[0].note


def test_the_order_of_layers_and_the_output_layer_are_those_without_weight_normalisation() -> None:
    network = nn.Sequential(weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    record = Ternary(density=0.5, last="zero")(network, seed=0)
    assert [layer.name for layer in record.layers] == ["0.weight", "2.weight"]
    assert [layer.zero_fraction for layer in record.layers] == [0.5, 1.0]


CHANNELS = [(3, 8, 1), (8, 16, 1), (16, 4, 1), (8, 12, 4)]


@pytest.mark.parametrize("directions", ["orthogonal", "normal"])
@pytest.mark.parametrize(("rule", "scale"), [("forward", 1.0), ("backward", 1.0), ("forward", 0.5)])
@pytest.mark.parametrize("normalised", [True, False])
def test_row_norms_equal_the_formula(
    rule: str, scale: float, directions: str, normalised: bool
) -> None:
    layers: list[nn.Module] = [nn.Conv2d(i, o, 3, stride=2, groups=g) for i, o, g in CHANNELS]
    layers += [nn.Linear(20, 50), nn.ConvTranspose2d(8, 6, 3, stride=2)]
    if normalised:
        layers = [weight_norm(layer, dim=1) if isinstance(layer, nn.ConvTranspose2d)
                  else weight_norm(layer) for layer in layers]  # fmt: skip
    module = nn.ModuleList(layers)
    initializer = WeightNormForward(scale, directions, "rule", rule)
    record = initializer(module, seed=1)
    ratios = [i / o for i, o, _ in CHANNELS] + [20 / 50, 8 / 6]
    for layer, row, ratio in zip(layers, record.layers, ratios, strict=True):
        g = scale * math.sqrt(2.0 * ratio if rule == "forward" else 2.0)
        weight = layer.weight.detach()
        rows = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
        norms = rows.flatten(1).norm(dim=1)
        assert torch.allclose(norms, torch.full_like(norms, g), rtol=1e-6), row.name
        assert row.effective_gain == pytest.approx(scale, rel=1e-6)
        if normalised:
            magnitude, direction = parts(layer)
            assert torch.allclose(magnitude, torch.full_like(magnitude, g), rtol=1e-6)
            axes = [axis for axis in range(direction.ndim) if magnitude.shape[axis] == 1]
            lengths = torch.linalg.vector_norm(direction, dim=axes)
            assert torch.allclose(lengths, torch.ones_like(lengths), rtol=1e-6)


def test_orthogonal_directions_are_orthogonal_where_there_is_room() -> None:
    wide = nn.Conv2d(8, 16, 3)
    WeightNormForward(output="rule")(wide, seed=0)
    rows = wide.weight.detach().flatten(1)
    assert torch.allclose(rows @ rows.T, torch.eye(16), atol=1e-6)  # g^2 = 2 * 8 / 16


def test_the_output_layer_has_the_law_of_a_new_torch_layer() -> None:
    network = nn.Sequential(weight_norm(nn.Linear(30, 400)), nn.ReLU(), nn.Linear(400, 250))
    record = WeightNormForward()(network, seed=0)
    weight = network[2].weight.detach()
    assert float(weight.abs().max()) <= 1 / math.sqrt(400)
    # variance 1/(3 * 400); the mean square of n uniform numbers has relative error sqrt(0.8/n)
    n = weight.numel()
    square = float(weight.double().square().mean())
    assert square * 1200 == pytest.approx(1.0, abs=4 * (0.8 / n) ** 0.5)
    assert "torch's default law" in record.layers[1].note
    assert record.layers[1].nominal_std == pytest.approx(1 / math.sqrt(1200))
    assert record.layers[0].nominal_std == pytest.approx(math.sqrt(2 / 400))


@pytest.mark.parametrize("directions", ["orthogonal", "normal"])
def test_the_squared_norm_is_kept_in_expectation(directions: str) -> None:
    """Mean over 100 networks of 5 layers within 4 standard errors of 1, widths 100 +- 5.

    A ReLU layer of n units has relative variance 5 / n at most (Gaussian pre-activations), five
    layers about 0.27; the spread of one network's squared norm was measured as 0.26.
    """
    generator = torch.Generator().manual_seed(4)
    widths = (torch.randint(-5, 6, (6,), generator=generator) + 100).tolist()
    network = perceptron(*widths)
    x = torch.randn(50, widths[0], generator=generator)
    squares = []
    for seed in range(100):
        WeightNormForward(directions=directions, output="rule")(network, seed=seed)
        with torch.no_grad():
            squares.append(float((network(x).square().sum(1) / x.square().sum(1)).mean()))
    values = torch.tensor(squares)
    assert float(values.std()) < 0.4
    assert float(values.mean()) == pytest.approx(1.0, abs=4 * float(values.std()) / 10)


class Residual(nn.Module):
    """``x + second(relu(first(x)))``."""

    def __init__(self, width: int, inner: int, normalised: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, width)
        if normalised:
            weight_norm(self.first)
            weight_norm(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))


def test_forty_blocks_multiply_the_norm_as_the_formula_says_forward_and_backward() -> None:
    """Norm (1 + 1/B)^(B/2) = 1.639 for B = 40 both ways; measured spread over seeds below 0.02."""
    blocks = nn.Sequential(*[Residual(250, 500) for _ in range(40)])
    record = WeightNormResNet()(blocks, seed=0)
    assert "gamma 0.025 (end of block 40 of 40 in stage 1)" in record.layers[-1].note
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 250, generator=generator, requires_grad=True)
    out = blocks(x)
    expected = (1 + 1 / 40) ** 20
    forward = float((out.norm(dim=1) / x.norm(dim=1)).mean().detach())
    assert forward == pytest.approx(expected, abs=0.05)
    (gradient,) = torch.autograd.grad(out, x, random := torch.randn(out.shape, generator=generator))
    backward = float((gradient.norm(dim=1) / random.norm(dim=1)).mean())
    assert backward == pytest.approx(expected, rel=0.05)


def test_without_weight_normalisation_the_same_function_comes_out() -> None:
    normed = perceptron(9, 14, 6).double()
    plain = perceptron(9, 14, 6, normalised=False).double()
    for initializer in (WeightNormForward(), WeightNormForward(directions="normal")):
        initializer(normed, seed=5)
        initializer(plain, seed=5)
        x = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(normed(x), plain(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("normalised", [True, False])
def test_data_dependent_pre_activations_have_mean_zero_and_deviation_one(normalised: bool) -> None:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, stride=2, groups=2),
              nn.Linear(6 * 2 * 2, 10), nn.ConvTranspose2d(1, 4, 3)]  # fmt: skip
    if normalised:
        layers = [weight_norm(layer) for layer in layers]
    one, two, three, four = layers
    network = nn.Sequential(
        one, nn.ReLU(), two, nn.ReLU(), nn.Flatten(), three, nn.ReLU(), nn.Dropout(0.5),
        nn.Unflatten(1, (1, 2, 5)), four,
    )  # fmt: skip
    x = 3.0 + 2.0 * torch.randn(64, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    record = WeightNormData()(network, seed=0, batch=x)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert record.skipped == ()
    network.eval()
    with torch.no_grad():
        for layer in network:
            x = layer(x)
            if layer in layers:
                channels = x.movedim(1, -1) if x.ndim == 4 else x
                flat = channels.reshape(-1, channels.shape[-1]).double()
                deviation = flat.std(0, correction=0)
                assert torch.allclose(flat.mean(0), torch.zeros_like(flat[0]), atol=1e-5)
                assert torch.allclose(deviation, torch.ones_like(flat[0]), atol=1e-5)


def test_data_dependent_without_bias_normalises_the_deviation_only() -> None:
    layer = weight_norm(nn.Linear(5, 7, bias=False))
    x = 1.0 + torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    WeightNormData()(layer, seed=0, batch=x)
    with torch.no_grad():
        z = layer(x)
    assert torch.allclose(z.std(0, correction=0), torch.ones(7), atol=1e-5)
    assert float(z.mean(0).abs().max()) > 0.1


def test_data_dependent_sets_a_layer_by_its_first_use() -> None:
    layer = weight_norm(nn.Linear(6, 6))
    x = 2.0 + 3.0 * torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    WeightNormData()(nn.Sequential(layer, nn.ReLU(), layer), seed=0, batch=x)
    with torch.no_grad():
        z = layer(x)
    assert torch.allclose(z.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(z.std(0, correction=0), torch.ones(6), atol=1e-5)


def test_data_dependent_notes_what_the_batch_cannot_tell() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(3, 4)
            self.unused = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)  # type: ignore[no-any-return]

    network = Partly()
    record = WeightNormData()(network, seed=0, batch=torch.ones(6, 3))
    assert record.layers[0].note == "4 constant channels keep row norm 1"
    assert "not measured" in record.layers[1].note
    assert torch.allclose(network.used.weight.norm(dim=1), torch.ones(4))
    assert not network.used.bias.any()


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (None, ValueError, "WeightNormData needs data: call it with batch=inputs"),
        (torch.zeros(4, 9), ValueError, r"cannot process the batch of shape \(4, 9\)"),
        (torch.full((4, 3), torch.nan), ValueError, r"pre-activation of 0\.weight is not finite"),
        ("text", TypeError, "batch must be a tensor of inputs or a pair .*, got str"),
    ],
)
def test_data_dependent_refusals_change_nothing(
    batch: Tensor | None, error: type[Exception], message: str
) -> None:
    network = perceptron(3, 5, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(error, match=message):
        WeightNormData()(network, seed=0, batch=batch)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_data_dependent_takes_the_inputs_of_a_pair() -> None:
    one, two = perceptron(3, 5, 2), perceptron(3, 5, 2)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    WeightNormData()(one, seed=0, batch=x)
    WeightNormData()(two, seed=0, batch=(x, torch.zeros(20)))  # type: ignore[arg-type]
    assert torch.equal(one[2].weight, two[2].weight)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WeightNormForward(scale=0), "scale must be in"),
        (lambda: WeightNormForward(directions="x"), "directions must be one of orthogonal, normal"),
        (lambda: WeightNormForward(rule="x"), "rule must be one of forward, backward"),
        (lambda: WeightNormResNet(rule="forward"), "rule must be one of proposed, hanin"),
        (lambda: WeightNormResNet(linear="fc"), "linear goes with ends"),
        (lambda: WeightNormResNet(ends=" "), "ends must name a layer"),
    ],
)
def test_bad_hyperparameters_are_one_sentence(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_a_weight_normalised_network_starts_where_its_plain_twin_starts() -> None:
    """He on a weight-normalised layer is silently plain He: the same loss at the start."""
    x = torch.randn(8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    losses = []
    for normalised in (True, False):
        network = perceptron(12, 16, 16, 3, normalised=normalised).double()
        initializer: Initializer = Orthogonal(gain="relu")
        initializer(network, seed=9)
        losses.append(float(network(x).square().mean().detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)


def test_data_dependent_norms_make_gradients_explode_layer_by_layer() -> None:
    """The squared gradient grows by pi / (pi - 1) = 1.467 per layer, so that 100 layers fail.

    A rectified unit normal has variance (pi - 1) / (2 pi); its inverse is the squared row norm,
    and the rectifier's gate lets half of it through. Twelve layers of 128 units, to a tenth.
    """
    layers = perceptron(*[128] * 13)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 128, generator=generator)
    WeightNormData()(layers, seed=0, batch=x)
    signals = [x.requires_grad_()]
    for layer in layers:
        signals.append(layer(signals[-1]))
    ends = torch.randn(signals[-1].shape, generator=generator)
    early, late = torch.autograd.grad(signals[-1], [signals[4], signals[20]], ends)
    growth = math.log(float(early.square().mean() / late.square().mean())) / 8
    assert growth == pytest.approx(math.log(math.pi / (math.pi - 1)), rel=0.1)
