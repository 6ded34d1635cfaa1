import math
from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import Tensor, nn

from initializers import InitRecord, ResidualScaling, WeightNormResNet
from initializers.layers import plan_module
from initializers.topology import Block, Topology, layer_name, trace
from lightning_modules.networks import build_network


def topology(network: nn.Module) -> Topology:
    return trace("Test", network, plan_module(network).weights, "do something else")


def gammas(record: InitRecord) -> dict[str, float]:
    """gamma of each layer, from the aimed-at standard deviation of fan_out mode."""
    return {
        layer_name(row.name): float(row.nominal_std or 0.0) ** 2 * row.fan_out
        for row in record.layers
    }


def empty(name: str) -> nn.Module:
    """A torchvision network without torch's own, slow initialisation."""
    with torch.device("meta"):
        network: nn.Module = getattr(torchvision.models, name)(weights=None)
    network.to_empty(device="cpu")
    return network


class MLPBlock(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnet20_has_three_stages_of_three_blocks(shortcut: str) -> None:
    network = build_network(
        {"name": "resnet20", "shortcut": shortcut}, input_shape=(3, 8, 8), num_classes=10
    )
    found = topology(network)
    assert found.blocks == tuple(
        Block(
            (f"stage{stage}.{number}.conv1", f"stage{stage}.{number}.conv2"),
            (f"stage{stage}.{number}.shortcut.0",)
            if shortcut == "B" and stage > 1 and number == 0
            else (),
            stage,
            number + 1,
        )
        for stage in (1, 2, 3)
        for number in range(3)
    )
    assert found.source["conv1"] == ""
    assert found.source["stage1.0.conv2"] == "stage1.0.conv1"
    assert found.source["fc"] is None
    assert found.activation["conv1"] == "relu"
    assert found.activation["stage1.0.conv2"] == ""


@pytest.mark.parametrize(
    ("name", "counts", "length"),
    [
        ("resnet18", [2, 2, 2, 2], 2),
        ("resnet34", [3, 4, 6, 3], 2),
        ("resnet50", [3, 4, 6, 3], 3),
    ],
)
def test_torchvision_resnets(name: str, counts: list[int], length: int) -> None:
    network = empty(name)
    record = ResidualScaling(mode="fan_out")(network, seed=0)
    found = gammas(record)
    last = f"conv{length}"
    for stage, count in enumerate(counts, start=1):
        for block in range(count):
            where = f"layer{stage}.{block}"
            for number in range(1, length):
                assert found[f"{where}.conv{number}"] == pytest.approx(2.0)
            assert found[f"{where}.{last}"] == pytest.approx(1.0 / count)
    shortcuts = [value for key, value in found.items() if "downsample" in key]
    assert len(shortcuts) == (4 if length == 3 else 3)
    assert shortcuts == pytest.approx([1.0] * len(shortcuts))
    assert found["conv1"] == pytest.approx(2.0)  # bn, then ReLU
    notes = {row.name: row.note for row in record.layers}
    assert notes[f"layer2.1.{last}.weight"] == (
        f"gamma {1 / counts[1]:.4g} (end of block 2 of {counts[1]} in stage 2)"
    )
    assert notes["fc.weight"] == "output layer: torch's default law"


def test_wn_resnet_stem_has_gamma_one_and_shortcuts_too() -> None:
    network = build_network("wn_resnet20", input_shape=(3, 8, 8), num_classes=10)
    record = WeightNormResNet()(network, seed=0)
    found = gammas(record)
    assert found.pop("conv1") == pytest.approx(1.0)  # no ReLU before the first sum
    found.pop("fc")
    assert [name for name, gamma in found.items() if gamma == pytest.approx(1.0)] == [
        "stage2.0.shortcut", "stage3.0.shortcut",
    ]  # fmt: skip
    assert sum(gamma == pytest.approx(2.0) for gamma in found.values()) == 9
    assert sum(gamma == pytest.approx(1 / 3) for gamma in found.values()) == 9


def test_hanin_gives_powers_of_nine_tenths_within_each_stage() -> None:
    network = build_network("wn_resnet20", input_shape=(3, 8, 8), num_classes=10)
    found = gammas(WeightNormResNet(rule="hanin")(network, seed=0))
    for stage in (1, 2, 3):
        ends = [found[f"stage{stage}.{block}.conv2"] for block in range(3)]
        assert ends == pytest.approx([0.9**2, 0.9**4, 0.9**6])


def test_named_patterns_give_what_tracing_gives() -> None:
    ends = "stage1.*.conv2 stage2.*.conv2 stage3.*.conv2"
    one = build_network("wn_resnet20", input_shape=(3, 8, 8), num_classes=10)
    two = build_network("wn_resnet20", input_shape=(3, 8, 8), num_classes=10)
    traced = WeightNormResNet()(one, seed=0)
    named = WeightNormResNet(ends=ends, linear="conv1 *.shortcut")(two, seed=0)
    assert gammas(traced) == gammas(named)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_a_network_that_cannot_be_traced_needs_names_and_is_not_changed() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([MLPBlock(4, 6), MLPBlock(4, 6)])

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x) if float(x.sum()) > -1e9 else x
            return x

    network = Branching()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for initializer in (ResidualScaling(), WeightNormResNet()):
        with pytest.raises(ValueError, match=r"cannot be traced \(TypeError: .*name the last"):
            initializer(network, seed=0)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    record = ResidualScaling(mode="fan_out", ends="blocks.*.second")(network, seed=0)
    assert list(gammas(record).values()) == pytest.approx([2.0, 0.5, 2.0, 0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ends": "stage9.*"}, r"pattern 'stage9\.\*' matches no layer.*the layers are conv1, "),
        (
            {"ends": "stage1.*.conv2 *.conv2"},
            r"stage1\.0\.conv2 is matched by 'stage1\.\*\.conv2' and by '\*\.conv2'",
        ),
        ({"ends": "*.conv2", "linear": "fc *.1.conv2"}, r"is matched by '\*\.conv2' and by"),
    ],
)
def test_patterns_that_do_not_fit_are_one_sentence(options: dict[str, str], message: str) -> None:
    network = build_network("resnet20", input_shape=(3, 8, 8), num_classes=10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        ResidualScaling(**options)(network, seed=0)  # type: ignore[arg-type]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_two_paths_of_one_layer_each_are_refused() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.add(self.left(x), self.right(x))

    with pytest.raises(ValueError, match="sum of left and right has two paths with as many layers"):
        ResidualScaling()(Twins(), seed=0)


def test_a_layer_with_two_roles_is_refused() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.other(torch.relu(self.layer(x)))
            return x + self.layer(torch.relu(self.other(x)))

    with pytest.raises(ValueError, match="is used in several places"):
        ResidualScaling()(Reused(), seed=0)


def test_sums_with_sizes_constants_and_nested_blocks_are_read_right() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("position", torch.zeros(4))
            self.inner, self.outer = MLPBlock(4, 6), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = x.view(x.size(0), -1) + self.position + 1.0
            x += self.outer(torch.relu(self.inner(x)))
            return x.reshape(x.shape[0], 2, 2)

    found = topology(Odd())
    assert found.blocks == (
        Block(("inner.first", "inner.second"), (), 1, 1),
        Block(("inner.first", "inner.second", "outer"), (), 1, 2),
    )


def test_scalars_and_attention_in_the_network_do_not_confuse_the_tracing() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = MLPBlock(8, 6)
            self.alpha = nn.Parameter(torch.ones(1))
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.alpha * self.block(x)
            return self.head(x + self.attention(x, x, x)[0])  # type: ignore[no-any-return]

    found = topology(Attends())
    assert [(block.branch, block.stage) for block in found.blocks] == [
        (("block.first", "block.second"), 1),
        (("block.first", "block.second"), 1),
        (("attention", "attention.out_proj"), 1),
    ]
    assert found.order[-1] == "head"


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_variances_follow_gamma_and_fan(mode: str) -> None:
    network = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), MLPBlock(300, 500), MLPBlock(300, 500))
    record = ResidualScaling(mode=mode, scale=1.5)(network, seed=0)
    for row, gamma in zip(record.layers, (2.0, 2.0, 0.5, 2.0, 0.5), strict=True):
        fan = row.fan_in if mode == "fan_in" else row.fan_out
        count = math.prod(row.shape)
        # mean square of n Gaussian numbers: relative standard error sqrt(2/n), four of them
        assert row.std**2 * fan / gamma / 2.25 == pytest.approx(1.0, abs=4 * (2 / count) ** 0.5)
        assert row.effective_gain == pytest.approx(1.5, abs=6 * (2 / count) ** 0.5)


def test_orthogonal_directions_meet_the_variance_exactly() -> None:
    record = ResidualScaling(directions="orthogonal", output="rule")(MLPBlock(20, 30), seed=0)
    assert [row.effective_gain for row in record.layers] == pytest.approx([1.0, 1.0], rel=1e-6)


def test_forty_blocks_multiply_the_norm_as_the_formula_says() -> None:
    """Norm (1 + 1/40)^20 = 1.639; per-seed spread about 0.02 at these widths."""
    blocks = nn.Sequential(OrderedDict({f"b{n}": MLPBlock(250, 500) for n in range(40)}))
    x = torch.randn(100, 250, generator=torch.Generator().manual_seed(0))
    ratios = []
    for seed in range(3):
        ResidualScaling()(blocks, seed=seed)
        with torch.no_grad():
            ratios.append(float((blocks(x).norm(dim=1) / x.norm(dim=1)).mean()))
    assert sum(ratios) / 3 == pytest.approx((1 + 1 / 40) ** 20, abs=0.05), ratios


def test_a_stage_grows_by_at_most_e_whatever_its_depth() -> None:
    """Squared norm (1 + 1/B)^B in [2, e): measured for the hidden signal of wn_resnet depths."""
    x = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    for count in (1, 4, 16):
        blocks = nn.Sequential(*[MLPBlock(64, 256) for _ in range(count)])
        squares = []
        for seed in range(8):
            ResidualScaling()(blocks, seed=seed)
            with torch.no_grad():
                squares.append(float(blocks(x).square().sum() / x.square().sum()))
        expected = (1 + 1 / count) ** count
        spread = torch.tensor(squares).std().item() / 8**0.5
        assert sum(squares) / 8 == pytest.approx(expected, abs=4 * spread + 0.02)


def test_a_chain_without_blocks_is_the_feed_forward_rule() -> None:
    network = nn.Sequential(nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3))
    record = ResidualScaling(mode="fan_out", output="rule")(network, seed=0)
    assert list(gammas(record).values()) == pytest.approx([2.0, 1.0, 1.0])
    assert record.layers[1].note == "gamma 1 (no rectifier)"
