"""Mask criteria, mask actions, masks around initialisers and around checkpoints."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from initializers import FromState, Initializer, Masked, Pretrained, SignConstant, get_initializer
from initializers import testing as contract
from initializers import testing_modules as modules
from initializers.layers import oriented, plan_module
from initializers.mask_actions import ONES_ACTIONS, ZEROS_ACTIONS, restart
from initializers.mask_criteria import MASK_CRITERIA, kept_mask, needs_final, pruned_count
from initializers.mask_layers import kept_masks, masks_of_parameters


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def states() -> tuple[nn.Sequential, FromState, FromState]:
    """Return a network, an initial and a trained state of it."""
    module = modules.network()
    pair = []
    for seed in (1, 2):
        get_initializer("torch_default")(module, seed=seed)
        module[1].running_mean.fill_(float(seed))
        pair.append(FromState(module.state_dict()))
    return module, pair[0], pair[1]


# Criteria

INITIAL = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.5, -0.6])
FINAL = torch.tensor([0.7, -0.1, -0.2, -0.5, 0.5, 0.3])


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("large_final", {0, 3}),  # .7 .1 .2 .5 .5 .3, without place 4
        ("small_final", {1, 2}),
        ("large_init", {5, 3}),
        ("small_init", {0, 1}),
        ("magnitude_increase", {0, 3}),  # .6 -.1 -.1 .1 . -.3
        ("movement", {5, 0}),  # .6 .1 .5 .1 . .9
        ("large_final_same_sign", {0, 3}),
        ("large_final_diff_sign", {5, 2}),
        ("large_init_same_sign", {3, 1}),
        ("large_init_diff_sign", {5, 2}),
        ("movement_same_sign", {0, 3}),  # .1 at place 1 is a little less than at place 3
        ("movement_diff_sign", {5, 2}),
    ],
)
def test_criteria_by_hand(criterion: str, expected: set[int]) -> None:
    initial = INITIAL + torch.tensor([0.0, 0.0, 0.0, 0.001, 0.0, 0.0])
    alive = torch.tensor([True, True, True, True, False, True])
    final = FINAL - torch.tensor([0.0, 0.0, 0.0, 0.01, 0.0, 0.0])
    mask = kept_mask(criterion, initial, final, 2, generator(), alive)
    assert set(mask.nonzero().flatten().tolist()) == expected


def test_unchanged_signs_are_kept_without_a_ranking() -> None:
    mask = kept_mask("large_final_same_sign_single", INITIAL, FINAL, 0, generator())
    assert mask.tolist() == [True, True, False, True, True, False]


@pytest.mark.parametrize("sign", [1, -1])
def test_joint_criteria_keep_what_passes_a_common_percentile(sign: int) -> None:
    name = "large_init_large_final" if sign > 0 else "small_init_small_final"
    initial, final = normal(301, seed=0), normal(301, seed=1)
    ranks = [(sign * values.abs()).argsort().argsort() for values in (initial, final)]
    for level in (0, 30, 150, 290):  # the definition, for counts that a percentile hits
        passing = (ranks[0] >= level) & (ranks[1] >= level)
        mask = kept_mask(name, initial, final, int(passing.sum()), generator())
        assert torch.equal(mask, passing)


@pytest.mark.parametrize("criterion", MASK_CRITERIA)
def test_every_criterion_keeps_the_exact_count_and_revives_nothing(criterion: str) -> None:
    initial, final = normal(20, 15, seed=0), normal(20, 15, seed=1)
    alive = normal(20, 15, seed=2) > 0.0
    there = int(alive.sum())
    for kept in (0, 1, 77, there):
        mask = kept_mask(criterion, initial, final, kept, generator(), alive)
        if criterion != "large_final_same_sign_single":
            assert int(mask.sum()) == kept
        assert not bool((mask & ~alive).any())
    with pytest.raises(ValueError, match=f"between 0 and {there} weights"):
        kept_mask(criterion, initial, final, there + 1, generator(), alive)


def test_ties_are_broken_at_random_and_evenly() -> None:
    equal = torch.ones(4)
    counts = torch.zeros(4)
    for seed in range(800):
        counts += kept_mask("large_init", equal, None, 1, generator(seed)).float()
    # binomial(800, 1/4): standard deviation 12.25
    assert float((counts - 200.0).abs().max()) < 4 * 12.25


def test_criteria_refuse_what_they_cannot_rank() -> None:
    with pytest.raises(ValueError, match="must be one of large_final, small_final"):
        kept_mask("largest", INITIAL, FINAL, 2, generator())
    with pytest.raises(ValueError, match="'movement' needs trained weights"):
        kept_mask("movement", INITIAL, None, 2, generator())
    with pytest.raises(ValueError, match="must be finite"):
        kept_mask("large_final", INITIAL, FINAL / 0.0, 2, generator())
    assert [name for name in MASK_CRITERIA if not needs_final(name)] == [
        "large_init",
        "small_init",
        "random",
    ]


@pytest.mark.parametrize("rate", [0.1, 0.15, 0.2, 1 - 0.8, 1 - 0.9, 1 - 0.85])
def test_counts_are_those_of_exact_arithmetic(rate: float) -> None:
    percent = round(100 * rate)
    for alive in (1, 7, 10, 100, 1000, 266_200, 4_300_992):
        assert pruned_count(alive, rate) == alive * percent // 100


def test_a_global_ranking_takes_the_highest_of_all_layers() -> None:
    layers = [normal(10, 10, seed=0) * 0.1, normal(5, 10, seed=1), normal(3, 5, seed=2)]
    alive = [torch.ones_like(layer, dtype=torch.bool) for layer in layers]
    arguments = ([None] * 3, alive, [0.6] * 3)
    streams = [generator(), generator(), generator()]
    masks = kept_masks("large_init", layers, *arguments, "global", streams)
    joined = torch.cat([layer.abs().flatten() for layer in layers])
    threshold = joined.sort().values[99]  # 165 weights, 99 pruned, 66 kept
    assert sum(int(mask.sum()) for mask in masks) == 66
    assert all(torch.equal(m, w.abs() >= threshold) for m, w in zip(masks, layers, strict=True))
    by_layer = kept_masks("large_init", layers, *arguments, "layer", streams)
    assert [int(mask.sum()) for mask in by_layer] == [40, 20, 6]


# Actions

W = normal(30, 20, seed=5)
TRAINED = normal(30, 20, seed=6)
MASK = normal(30, 20, seed=7) > 0.3


def act(ones: str = "rewind", zeros: str = "zero", rescale: bool = False) -> Tensor:
    return restart(W, TRAINED, MASK, ones, zeros, generator(), rescale=rescale)


def ordered(values: Tensor) -> Tensor:
    return values.flatten().sort().values


def test_rewind_restores_and_zero_zeroes() -> None:
    assert torch.equal(act(), W * MASK)


@pytest.mark.parametrize("ones", ONES_ACTIONS)
@pytest.mark.parametrize("zeros", ["zero", "freeze_init"])
def test_actions_on_the_survivors_do_not_touch_the_others(ones: str, zeros: str) -> None:
    before = W.clone()
    result = act(ones, zeros)
    assert torch.equal(W, before)
    assert torch.equal(result[~MASK], torch.zeros_like(W[~MASK]) if zeros == "zero" else W[~MASK])


def test_reshuffles_keep_the_survivors_as_a_set() -> None:
    shuffled, signed = act("random_reshuffle"), act("signed_reshuffle")
    assert torch.equal(ordered(shuffled[MASK]), ordered(W[MASK]))
    assert torch.equal(ordered(signed[MASK].abs()), ordered(W[MASK].abs()))
    assert torch.equal(signed[MASK].sign(), W[MASK].sign())
    for result in (shuffled, signed):
        assert not torch.equal(result[MASK], W[MASK])


def test_reshuffled_signs_keep_magnitudes_and_how_many_are_positive() -> None:
    result = act("reshuffled_signs")
    assert torch.equal(result[MASK].abs(), W[MASK].abs())
    assert int((result[MASK] > 0).sum()) == int((W[MASK] > 0).sum())
    assert not torch.equal(result[MASK], W[MASK])


def test_reinits_draw_from_all_weights_of_the_layer() -> None:
    whole = torch.ones_like(MASK)
    values = restart(W, None, whole, "random_reinit", "zero", generator())
    signed = restart(W, None, whole, "signed_reinit", "zero", generator())
    assert torch.equal(ordered(values), ordered(W))
    assert torch.equal(ordered(signed.abs()), ordered(W.abs()))
    assert torch.equal(signed.sign(), W.sign())
    # on a mask, values come from pruned places, too
    pruned = set(W[~MASK].tolist())
    assert pruned & set(act("random_reinit")[MASK].tolist())
    assert torch.equal(act("random_reinit")[MASK], values[MASK])


def test_signed_constants() -> None:
    alpha = float((W - W.mean()).square().mean().sqrt())
    signed = act("signed_constant")
    torch.testing.assert_close(signed, alpha * W.sign() * MASK, rtol=1e-12, atol=0.0)
    control = act("rand_signed_constant")
    torch.testing.assert_close(control.abs(), alpha * MASK.double(), rtol=1e-12, atol=0.0)
    agreeing = float((control.sign() == W.sign())[MASK].double().mean())
    assert abs(agreeing - 0.5) < 4 * 0.5 / int(MASK.sum()) ** 0.5


def test_zero_actions_that_look_at_training() -> None:
    grown = TRAINED.abs() > W.abs()
    expected = torch.where(grown, W, 0.0)
    partly = act(zeros="freeze_init_zero_mask")
    assert torch.equal(partly[~MASK], expected[~MASK])
    assert torch.equal(partly[MASK], W[MASK])
    assert torch.equal(act(zeros="freeze_init_zero_all"), expected)


def test_rescaling_keeps_the_expected_sum_of_magnitudes() -> None:
    kept, total = 150, W.numel()
    sums = []
    for seed in range(200):
        mask = kept_mask("random", W, None, kept, generator(seed))
        scaled = restart(W, None, mask, "rewind", "zero", generator(), rescale=True)
        torch.testing.assert_close(scaled, W * mask * (total / kept))
        sums.append(float(scaled.abs().sum()))
    # a sum of n of N numbers drawn without replacement, times N / n
    error = total * float(W.abs().std()) * ((1 - kept / total) / kept) ** 0.5
    assert abs(sum(sums) / 200 - float(W.abs().sum())) < 4 * error / 200**0.5
    whole = torch.ones_like(MASK)
    assert torch.equal(restart(W, None, whole, "rewind", "zero", generator(), rescale=True), W)


def test_actions_refuse_unknown_names_and_missing_weights() -> None:
    with pytest.raises(ValueError, match="Mask-1 action 'rewin' must be one of rewind"):
        act(ones="rewin")
    with pytest.raises(ValueError, match="Mask-0 action 'ones' must be one of zero"):
        act(zeros="ones")
    with pytest.raises(ValueError, match="'freeze_init_zero_all' needs trained weights"):
        restart(W, None, MASK, "rewind", "freeze_init_zero_all", generator())


# Masks around initialisers and checkpoints


def test_densities_by_layer_type_hit_exact_counts() -> None:
    module = modules.network()
    masked = Masked("he_normal", density=0.3, conv_density=0.55, last_density=0.8)
    record = masked(module, seed=0)
    sizes = [216, 576, 864, 60]
    kept = [n - n * percent // 100 for n, percent in zip(sizes, [45, 45, 70, 20], strict=True)]
    alive = [round((1 - layer.zero_fraction) * n) for layer, n in zip(record.layers, sizes)]  # noqa: B905
    assert alive == kept == [119, 317, 260, 48]
    assert record.layers[0].note == "119 of 216 weights kept"


@pytest.mark.parametrize("ones", ONES_ACTIONS)
@pytest.mark.parametrize("zeros", ZEROS_ACTIONS)
def test_masks_around_a_pair_of_states(ones: str, zeros: str) -> None:
    module, initial, trained = states()
    masked = Masked(initial, trained, "large_final", 0.4, ones=ones, zeros=zeros)
    masks = masked.masks(module, seed=3)
    masked(module, seed=3)
    state = module.state_dict()
    for name, value in initial.state().items():
        if name not in masks:
            assert torch.equal(state[name], value)  # biases, norm layers, running statistics
            continue
        n = value.numel()
        expected = kept_mask(
            "large_final", value, trained.state()[name], n - n * 60 // 100, generator()
        )
        assert torch.equal(masks[name], expected)  # no ties: no randomness
        if ones == "rewind" and zeros == "freeze_init":
            assert torch.equal(state[name], value)
        if ones == "signed_constant" and zeros == "zero":
            std = value.double().std(correction=0)
            torch.testing.assert_close(state[name], (std * value.sign() * expected).float())


def test_the_mask_of_equal_seeds_is_the_same_around_every_base() -> None:
    module = modules.network()
    masks = [
        Masked(base, criterion="random", ones=ones).masks(module, seed=4)
        for base, ones in (("he_normal", "rewind"), ("ternary:density=0.5", "random_reinit"))
    ]
    assert modules.same(*masks)
    other = Masked("he_normal", criterion="random").masks(module, seed=5)
    assert not modules.same(masks[0], other)


def test_masks_come_in_the_layout_of_the_parameters() -> None:
    zoo = nn.ModuleDict(
        {
            "up": nn.ConvTranspose2d(4, 6, 3, groups=2),
            "attention": nn.MultiheadAttention(8, 2),
            "embedding": nn.Embedding(7, 6, padding_idx=2),
        }
    )
    masked = Masked("he_normal", criterion="random", density=0.5)
    masks = masked.masks(zoo, seed=0)
    before = modules.state_of(zoo)
    masked(zoo, seed=0)
    assert not modules.same(before, modules.state_of(zoo))
    for name, mask in masks.items():
        nonzero = zoo.state_dict()[name] != 0
        if name == "embedding.weight":
            nonzero[2] = True  # the padding row is no weight
        assert torch.equal(mask, nonzero), name
    assert masks["attention.in_proj_weight"].view(3, -1).sum(1).tolist() == [32, 32, 32]


def test_masks_of_parameters_invert_the_orientation() -> None:
    module = nn.ModuleDict(
        {"up": nn.ConvTranspose2d(4, 6, 3, groups=2), "attention": nn.MultiheadAttention(8, 2)}
    )
    chosen = {
        weight.name: normal(*weight.shape, seed=number) > 0
        for number, weight in enumerate(plan_module(module).weights)
    }
    assert "attention.in_proj_weight[key]" in chosen
    by_parameter = masks_of_parameters(module, chosen)
    for weight in plan_module(module).weights:
        values = by_parameter[weight.name.partition("[")[0]]
        assert torch.equal(oriented(weight.name, weight.module, values).read(), chosen[weight.name])


def test_a_mask_can_stand_inside_and_outside_of_other_transforms() -> None:
    module = nn.Linear(40, 30)
    inside = SignConstant(Masked("he_normal", density=0.25))
    inside(module, seed=0)
    assert int((module.weight != 0).sum()) == 300
    outside = Masked(SignConstant("he_normal"), criterion="random", density=0.25)
    outside(module, seed=0)
    assert int((module.weight != 0).sum()) == 300
    assert len(module.weight.abs().unique()) == 2
    assert Initializer.from_dict(outside.to_dict()) == outside


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "large_final"}, "criterion='large_final' looks at trained weights"),
        ({"zeros": "freeze_init_zero_mask"}, "zeros='freeze_init_zero_mask' looks at trained"),
        ({"density": 0.0}, r"density must be in \(0, 1\]"),
        ({"scope": "global", "last_density": 0.5}, "one density for all layers"),
        ({"ones": "rewinds"}, "did you mean 'rewind'"),
    ],
)
def test_masked_refuses_on_construction(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Masked("he_normal", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="final must be trained weights"):
        Masked("he_normal", "he_normal")  # type: ignore[arg-type]


# Stored weights


def test_files_and_objects_give_the_same(tmp_path: Path) -> None:
    module, initial, trained = states()
    torch.save(dict(initial.state()), tmp_path / "initial.pt")
    checkpoint = {f"network.{name}": value for name, value in trained.state().items()}
    torch.save(
        {"pytorch-lightning_version": "2.6", "state_dict": checkpoint}, tmp_path / "trained.ckpt"
    )
    from_files = get_initializer(
        f"masked:base=(pretrained:path={tmp_path}/initial.pt),criterion=movement,"
        f"final=(pretrained:path={tmp_path}/trained.ckpt,prefix=network.)"
    )
    assert isinstance(from_files, Masked)
    assert Initializer.from_dict(from_files.to_dict()) == from_files
    from_files(module, seed=0)
    twin = modules.network()
    Masked(initial, trained, criterion="movement")(twin, seed=0)
    assert modules.equal(module, twin)
    assert float(module[1].running_mean[0]) == 1.0


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_pretrained_keeps_the_contract(check: contract.Check, tmp_path: Path) -> None:
    torch.save(dict(states()[1].state()), tmp_path / "state.pt")
    check(Pretrained(str(tmp_path / "state.pt")))


def test_a_file_that_changes_is_read_anew_and_a_checksum_pins_it(tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pt")
    layer = nn.Linear(3, 2)
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path)
    Pretrained(path)(layer, seed=0)
    pinned = Pretrained(path, sha256="0" * 64)
    with pytest.raises(ValueError, match="has the checksum"):
        pinned(layer, seed=0)
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "x": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="the module has no 'x'"):
        Pretrained(path)(layer, seed=0)
    assert bool(layer.weight.eq(1.0).all())
    torch.save({"weight": torch.zeros(2, 3, dtype=torch.float64), "bias": torch.zeros(2)}, path)
    Pretrained(path)(layer, seed=0)
    assert not layer.weight.any()


def test_files_that_are_no_state_are_refused_in_one_sentence(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    paths = [tmp_path / name for name in ("none.pt", "text.pt", "object.pt", "list.pt", "deep.pt")]
    paths[1].write_text("hello")
    torch.save(nn.Linear(3, 2), paths[2])  # a pickled object: refused by weights_only
    torch.save([torch.ones(1)], paths[3])
    torch.save({"weight": {"a": torch.ones(1)}}, paths[4])
    reasons = ["cannot read", "cannot read it safely", "safely", "holds a list", "not all of its"]
    for path, reason in zip(paths, reasons, strict=True):
        with pytest.raises(ValueError, match=reason) as caught:
            Pretrained(str(path))(layer, seed=0)
        assert "\n" not in str(caught.value)


def test_states_that_do_not_fit_are_refused_before_any_change() -> None:
    layer = nn.Linear(3, 2)
    before = modules.state_of(layer)
    weight, bias = torch.ones(2, 3), torch.ones(2)
    for state, message in (
        ({"weight": weight}, "no 'bias'"),
        ({"weight": weight.T, "bias": bias}, r"weight is stored with shape \(3, 2\)"),
        ({"network.weight": weight, "network.bias": bias}, "give prefix='network.'"),
    ):
        with pytest.raises(ValueError, match=message):
            FromState(state)(layer, seed=0)
    with pytest.raises(ValueError, match=r"weight is stored with shape \(3, 2\)"):
        Masked("he_normal", FromState({"weight": weight.T}))(layer, seed=0)
    recurrent = nn.Sequential(nn.Linear(3, 2), nn.PReLU())
    with pytest.raises(ValueError, match=r"1\.weight would be left alone \(slope of PReLU\)"):
        FromState(recurrent.state_dict())(recurrent, seed=0)
    assert modules.same(before, modules.state_of(layer))


def test_a_state_is_a_value_by_its_contents() -> None:
    tensors = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    one, two = FromState(tensors), FromState({name: v.clone() for name, v in tensors.items()})
    assert one == two
    assert hash(one) == hash(two)
    tensors["weight"].fill_(5.0)  # the value holds copies
    layer = nn.Linear(3, 2)
    one(layer, seed=0)
    assert bool(layer.weight.eq(1.0).all())
    assert FromState(tensors) != one
    assert one.to_dict()["sha256"] == two.sha256
    shapes = [{"a": torch.zeros(2, 3)}, {"a": torch.zeros(3, 2)}, {"a": torch.zeros(6).int()}]
    for left, right in itertools.combinations(shapes, 2):
        assert FromState(left) != FromState(right)
