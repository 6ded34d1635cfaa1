import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations, prune

from initializers import HeNormal, Orthogonal, Ternary, TorchDefault, Zeros

# two non-zero values out of four: exact counts show the layout
ROWS = Ternary(density=0.5, sampling="exact_row", gain=1.0)


@pytest.mark.parametrize(
    ("name", "weights", "norms", "skipped"),
    [
        ("resnet18", 21, 40, ()),
        ("vgg11", 11, 0, ()),
        ("mobilenet_v3_small", 54, 68, ()),
        ("vit_b_16", 74, 50, ("class_token", "encoder.pos_embedding")),
    ],
)
def test_torchvision_networks(
    name: str, weights: int, norms: int, skipped: tuple[str, ...]
) -> None:
    with torch.device("meta"):  # torch's own initialisation would take most of the time
        network = getattr(torchvision.models, name)(weights=None)
    network.to_empty(device="cpu")
    for parameter in network.parameters():
        parameter.data.fill_(0.0)
    record = Ternary.he_twin(sampling="exact")(network, seed=0)
    assert len(record.layers) == weights
    assert len(record.norms) == norms
    assert tuple(skip.name for skip in record.skipped) == skipped
    told = {layer.name.partition("[")[0] for layer in record.layers}
    told |= {*record.biases, *record.norms, *skipped}
    assert told == {parameter for parameter, _ in network.named_parameters()}
    for layer in record.layers:
        if "depthwise" not in layer.note:  # exact: one rounded count per weight
            half_step = 0.5 / (layer.shape[0] * layer.fan_in * layer.nominal_std**2)
            assert layer.effective_gain == pytest.approx(1.0, abs=half_step + 1e-9)
        else:
            assert layer.empty_rows == 0


def test_packed_attention_is_three_square_matrices() -> None:
    attention = nn.MultiheadAttention(16, 4)
    record = HeNormal()(attention, seed=0)
    names = [layer.name for layer in record.layers]
    assert names == [
        "in_proj_weight[query]", "in_proj_weight[key]", "in_proj_weight[value]", "out_proj.weight",
    ]  # fmt: skip
    assert all((layer.fan_in, layer.fan_out) == (16, 16) for layer in record.layers)
    assert all(layer.shape == (16, 16) for layer in record.layers)
    assert record.biases == ("in_proj_bias", "out_proj.bias")
    Orthogonal()(attention, seed=0)
    for part in attention.in_proj_weight.detach().chunk(3):
        assert torch.allclose(part @ part.T, torch.eye(16), atol=1e-5)
    query, key, _ = attention.in_proj_weight.detach().chunk(3)
    assert not torch.equal(query, key)


def test_separate_attention_projections_have_their_own_fans() -> None:
    attention = nn.MultiheadAttention(16, 4, kdim=10, vdim=20, add_bias_kv=True)
    record = HeNormal()(attention, seed=0)
    assert [(layer.name, layer.fan_in, layer.fan_out) for layer in record.layers] == [
        ("q_proj_weight", 16, 16), ("k_proj_weight", 10, 16), ("v_proj_weight", 20, 16),
        ("out_proj.weight", 16, 16),
    ]  # fmt: skip
    assert [(skip.name, "learned token" in skip.reason) for skip in record.skipped] == [
        ("bias_k", True), ("bias_v", True),
    ]  # fmt: skip


@pytest.mark.parametrize("padding", [0, 3, 6])
@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_the_padding_row_stays_zero_and_is_not_counted(kind: type, padding: int) -> None:
    table = kind(7, 4, padding_idx=padding)
    record = ROWS(table, seed=0)
    counts = table.weight.count_nonzero(1).tolist()
    assert counts.pop(padding) == 0
    assert counts == [2] * 6
    assert record.layers[0].shape == (6, 4)
    assert record.layers[0].zero_fraction == 0.5
    assert record.layers[0].empty_rows == 0


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_rows_of_a_transposed_convolution_are_its_output_channels(groups: int) -> None:
    layer = nn.ConvTranspose2d(4, 8, 3, stride=2, groups=groups)
    record = ROWS(layer, seed=0)
    per_unit = 4 // groups * 9
    assert record.layers[0].shape == (8, 4 // groups, 3, 3)
    stored = layer.weight.detach().reshape(groups, 4 // groups, 8 // groups, 9)
    counts = stored.transpose(1, 2).reshape(8, per_unit).count_nonzero(1)
    assert counts.tolist() == [(per_unit + 1) // 2] * 8
    assert record.layers[0].fan_in == per_unit / 4


def test_shared_parameters_are_set_once_and_noted() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.empty(0))
            self.embed = nn.Embedding(11, 6)
            self.decode = nn.Linear(6, 11)
            self.decode.weight = self.embed.weight
            self.first = self.embed.weight  # a known layer wins over a bare parameter

    module = Tied()
    record = HeNormal()(module, seed=0)
    assert [layer.name for layer in record.layers] == ["embed.weight"]
    assert record.layers[0].note == "shared with first, decode.weight"
    assert record.layers[0].fan_in == 1
    assert record.skipped == ()
    reused = nn.Linear(3, 3)
    assert len(HeNormal()(nn.Sequential(reused, nn.ReLU(), reused), seed=0).layers) == 1


def test_what_cannot_be_set_is_listed_with_a_reason_and_unchanged() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own remark about the empty layer
        empty = nn.Linear(0, 4)
    pruned = nn.Linear(4, 4)
    prune.random_unstructured(pruned, "weight", amount=0.5)
    module = nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 4),
            "cell": nn.GRUCell(3, 4),
            "prelu": nn.PReLU(),
            "normed": parametrizations.spectral_norm(nn.Linear(4, 4)),
            "pruned": pruned,
            "empty": empty,
            "complex": nn.Linear(2, 2, dtype=torch.complex64),
        }
    )
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    record = HeNormal()(module, seed=0)
    reasons = {skip.name: skip.reason for skip in record.skipped}
    assert "recurrent layers (LSTM)" in reasons["lstm.weight_ih_l0"]
    assert "recurrent layers (GRUCell)" in reasons["cell.weight_hh"]
    assert reasons["prelu.weight"] == "slope of PReLU"
    assert "re-parametrised" in reasons["normed.parametrizations.weight.original"]
    assert "re-parametrised" in reasons["pruned.weight_orig"]
    assert reasons["empty.weight"] == "holds no values"
    assert "torch.complex64" in reasons["complex.weight"]
    assert record.layers == ()
    assert record.biases == ("normed.bias", "pruned.bias", "empty.bias")
    for name in reasons:
        assert torch.equal(before[name], module.get_parameter(name))


def test_old_weight_norm_is_skipped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.utils.weight_norm(nn.Linear(4, 4))
    reasons = {skip.name: skip.reason for skip in HeNormal()(module, seed=0).skipped}
    assert set(reasons) == {"weight_g", "weight_v"}
    assert all("re-parametrised" in reason for reason in reasons.values())


def test_a_module_of_which_nothing_can_be_set_warns() -> None:
    with pytest.warns(UserWarning, match="found nothing in LSTM .*weight_ih_l0 is skipped"):
        record = HeNormal()(nn.LSTM(3, 4), seed=0)
    assert len(record.skipped) == 4
    assert HeNormal()(nn.ReLU(), seed=0).layers == ()


@pytest.mark.parametrize("norm", [
    nn.BatchNorm1d(5), nn.BatchNorm3d(5), nn.SyncBatchNorm(5),
    nn.InstanceNorm2d(5, affine=True, track_running_stats=True),
    nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.RMSNorm(5),
])  # fmt: skip
def test_norm_layers_become_the_identity(norm: nn.Module) -> None:
    for tensor in norm.state_dict().values():
        tensor.fill_(7)
    record = HeNormal()(norm, seed=0)
    expected = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
    for name, value in norm.state_dict().items():
        assert bool((value == expected.get(name, 0)).all()), name
    assert record.norms == tuple(name for name, _ in norm.named_parameters())


def test_lazy_meta_and_non_modules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"HeNormal: parameter '1\.weight' of a lazy layer"):
        HeNormal()(nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3)), seed=0)
    with pytest.raises(ValueError, match="'weight' is on the meta device"):
        HeNormal()(nn.Linear(2, 2, device="meta"), seed=0)
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, got Tensor"):
        HeNormal()(torch.empty(2, 2), seed=0)  # type: ignore[arg-type]


def test_the_last_weight_in_order_of_registration_is_the_output_layer() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.BatchNorm1d(8))
    record = Ternary(density=0.5, last="zero")(module, seed=0)
    assert [layer.zero_fraction for layer in record.layers] == [0.5, 1.0]
    assert record.layers[1].note == "output layer set to 0"
    assert record.layers[1].kurtosis is None


def test_torch_default_follows_the_layers_own_reset() -> None:
    """The largest value of 10 000 and the spread agree with what torch itself draws."""
    torch.manual_seed(0)
    layers = {
        "linear": nn.Linear(100, 100),
        "conv": nn.Conv2d(24, 48, 3, groups=2),
        "transposed": nn.ConvTranspose2d(24, 48, 3, stride=2, groups=2),
        "bilinear": nn.Bilinear(20, 25, 20),
        "embedding": nn.Embedding(100, 100),
        "attention": nn.MultiheadAttention(60, 4),
        "cross": nn.MultiheadAttention(60, 4, kdim=200, vdim=90),
    }
    module = nn.ModuleDict(layers)
    own = {name: value.detach().clone() for name, value in module.named_parameters()}
    record = TorchDefault()(module, seed=0)
    assert record.skipped == ()
    for name, value in module.named_parameters():
        ours, theirs = value.detach(), own[name]
        if value.ndim > 1:
            assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.03), name
        if "embedding" not in name:
            bound = float(theirs.abs().max())
            # few values (a bias) reach less far towards the bound
            rel = 0.01 if value.ndim > 1 else 0.15
            assert float(ours.abs().max()) == pytest.approx(bound, rel=rel, abs=1e-12), name
    assert not module["attention"].out_proj.bias.any()


def test_zeros_everywhere_gives_equal_logits_and_gradients_in_the_output_bias_only() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    Zeros()(module, seed=0)
    generator = torch.Generator().manual_seed(0)
    logits = module(torch.randn(8, 6, generator=generator))
    assert not logits.any()
    nn.functional.cross_entropy(logits, torch.arange(8) % 3).backward()
    moved = [name for name, p in module.named_parameters() if p.grad.any()]
    assert moved == ["2.bias"]
