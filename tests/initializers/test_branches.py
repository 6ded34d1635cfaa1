"""Residual branches found by structure."""

import pytest
import torch
from torch import nn
from torchvision import models

from initializers import PerLayer, residual_branches
from initializers.branches import branch_ends
from initializers.layers import plan_module
from initializers.testing_modules import network, structured_network
from initializers.topology import layer_name, trace
from lightning_modules import build_network


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_projects_resnet(shortcut: str) -> None:
    module = build_network(f"resnet20:shortcut={shortcut}", input_shape=(3, 8, 8), num_classes=10)
    branches = residual_branches(module)
    assert [branch.block for branch in branches] == [
        f"stage{stage}.{block}" for stage in (1, 2, 3) for block in range(3)
    ]
    assert branches[3].weights == ("stage2.0.conv1.weight", "stage2.0.conv2.weight")
    projections = [branch.shortcut for branch in branches if branch.shortcut]
    if shortcut == "A":
        assert projections == []
    else:
        assert projections == [("stage2.0.shortcut.0.weight",), ("stage3.0.shortcut.0.weight",)]


@pytest.mark.parametrize(
    ("name", "blocks", "weights"),
    [("resnet18", 8, 2), ("resnet50", 16, 3), ("wide_resnet50_2", 16, 3)],
)
def test_torchvisions_resnets(name: str, blocks: int, weights: int) -> None:
    with torch.device("meta"):
        module = models.get_model(name)
    branches = residual_branches(module)
    assert len(branches) == blocks
    assert all(len(branch.weights) == weights for branch in branches)
    downsampled = [branch for branch in branches if branch.shortcut]
    assert len(downsampled) == (3 if name == "resnet18" else 4)
    assert all("downsample" in branch.shortcut[0] for branch in downsampled)


def test_plain_networks_have_none_unless_they_are_named() -> None:
    assert residual_branches(network()) == ()
    assert branch_ends(network()) == frozenset()
    pair = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), nn.Linear(3, 2))
    (branch,) = residual_branches(pair, "0")
    assert (branch.block, branch.weights) == ("0", ("0.0.weight", "0.1.weight"))
    assert residual_branches(pair, "1") != ()
    assert residual_branches(pair, "nothing*") == ()


def test_the_innermost_of_nested_blocks_counts() -> None:
    outer = nn.Module()
    outer.skip = None
    outer.inside = structured_network()
    assert [branch.block for branch in residual_branches(outer)] == ["inside.1", "inside.2"]
    assert branch_ends(outer) == {"inside.1.conv2.weight", "inside.2.conv2.weight"}


def test_the_whole_module_may_be_the_block() -> None:
    block = structured_network()[1]
    (branch,) = residual_branches(block)
    assert (branch.block, branch.weights) == ("", ("conv1.weight", "conv2.weight"))


AGREEING = ("resnet20", "resnet:depth=14,shortcut=B", "fixup_resnet20", "wn_resnet20")


@pytest.mark.parametrize("name", [*AGREEING, "torchvision:resnet18", "torchvision:resnet50"])
def test_the_forward_pass_tells_the_same_branches(name: str) -> None:
    module = build_network(name, input_shape=(3, 32, 32), num_classes=10)
    traced = trace("test", module, plan_module(module, "test").weights, "nothing")
    assert [
        (tuple(map(layer_name, branch.weights)), tuple(map(layer_name, branch.shortcut)))
        for branch in residual_branches(module)
    ] == [(block.branch, block.shortcut) for block in traced.blocks]
    assert traced.blocks


def test_weight_normalised_branches_end_where_plain_ones_do() -> None:
    module = build_network("wn_resnet20", input_shape=(3, 8, 8), num_classes=10)
    ends = {f"stage{stage}.{block}.conv2.weight" for stage in (1, 2, 3) for block in range(3)}
    assert branch_ends(module) == ends
    record = PerLayer("he_normal", {"branch_end": "zeros"})(module, seed=0)
    assert {layer.name for layer in record.layers if layer.zero_fraction == 1.0} == ends
