"""Training twice, with a mask and a restart in between."""

import copy
import dataclasses
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from datamodules import Digits
from initializers import FromState, Masked, get_initializer
from initializers.mask_actions import ONES_ACTIONS
from lightning_modules import Classifier, Optimization, WholeEpoch, WholeEpochClassifier
from lightning_modules.methods import get_method
from lightning_modules.methods.restart import AppliedRestart, Restart
from studies.engine.inspection import inspect
from tests.lightning_modules.methods.test_training import StopAfter, assert_same, state, trainer
from tests.studies.stack_parts import CPU, RECIPE

SPEC = "restart:density=0.1,last_density=0.3,ones=signed_constant"


def network(seed: int) -> nn.Sequential:
    made = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.ReLU(), nn.Linear(24, 10)
    )
    get_initializer("torch_default")(made, seed=seed)
    return made


def restarted(method: Restart) -> tuple[nn.Sequential, dict[str, Tensor], dict[str, Tensor]]:
    """Return a network just restarted, and its states before and after the first training."""
    net = network(1)
    initial = copy.deepcopy(net.state_dict())
    applied = method.apply(net, seed=5)
    optimizer = applied.build_optimizer(Optimization(lr=0.1))
    trained = network(2)
    trained[1].running_mean.fill_(3.0)
    net.load_state_dict(trained.state_dict(), strict=False)  # as if it had been trained
    net(torch.ones(2, 2, 4, 4)).sum().backward()
    optimizer.step()
    net.load_state_dict(trained.state_dict(), strict=False)
    assert optimizer.state
    applied.begin(5)
    applied.at(1, 7)
    assert applied.metrics() == {"alive": 1.0}
    applied.at(2, 0)
    assert not optimizer.state  # the second training does not know of the first one's moments
    return net, initial, trained.state_dict()


@pytest.mark.parametrize("ones", ONES_ACTIONS)
def test_the_second_training_starts_as_the_masks_and_actions_say(ones: str) -> None:
    method = Restart(density=0.25, ones=ones)
    net, initial, trained = restarted(method)
    twin = network(9)
    masked = Masked(FromState(initial), FromState(trained), "large_final", 0.25, ones=ones)
    masks = masked.masks(twin, seed=5)
    masked(twin, seed=5)
    found, wanted = net.state_dict(), twin.state_dict()
    for name, value in wanted.items():
        if name in masks:
            assert torch.equal(found[f"{name}_alive"], masks[name])
            assert torch.equal(found[name] != 0, masks[name])
            if ones in ("rewind", "signed_constant"):  # the others draw from streams of their own
                assert torch.equal(found[name], value)
            if ones.startswith("signed"):
                assert torch.equal(found[name].sign(), initial[name].sign() * masks[name])
        else:
            assert torch.equal(found[name], value)  # biases, norm layers, running statistics
    # 108 and 240 weights: int(n * 0.75) are masked
    assert [int(masks[name].sum()) for name in masks] == [27, 60]


def test_trained_weights_keep_their_signs_or_their_magnitudes() -> None:
    for ones, signs, magnitudes in (
        ("rewind", True, True), ("signed_reshuffle", True, False),
        ("reshuffled_signs", False, True), ("random_reshuffle", False, False),
    ):  # fmt: skip
        net, _, trained = restarted(Restart(density=1.0, ones=ones, weights="trained"))
        found = net.state_dict()
        for name in ("0.weight", "4.weight"):
            assert torch.equal(found[name].sign(), trained[name].sign()) == signs
            assert torch.equal(found[name].abs(), trained[name].abs()) == magnitudes
            assert torch.equal(
                found[name].flatten().abs().sort().values,
                trained[name].flatten().abs().sort().values,
            )
        assert torch.equal(found["4.bias"], trained["4.bias"])
        assert torch.equal(found["1.running_mean"], trained["1.running_mean"])


def test_the_first_half_is_plain_training_and_masked_weights_stay_zero() -> None:
    plain = Classifier("lenet_300_100", "he_normal", seed=3)
    trainer(1).fit(plain, Digits(seed=3, train_limit=200))
    model = Classifier("lenet_300_100", "he_normal", seed=3, method=SPEC)
    trainer(3).fit(model, Digits(seed=3, train_limit=200))
    history = [dict(epoch) for epoch in model.history]
    assert [epoch.pop("alive") for epoch in history] == [1.0] + [(1920 + 3000 + 300) / 50200] * 2
    assert history[0] == plain.history[0]
    assert isinstance(model.applied, AppliedRestart)
    assert model.applied.report() == {
        "layers": {
            "fc1": {"weights": 19200, "alive": 1920},
            "fc2": {"weights": 30000, "alive": 3000},
            "fc3": {"weights": 1000, "alive": 300},
        }
    }
    for name, count in (("fc1", 1920), ("fc2", 3000), ("fc3", 300)):
        weight = model.network.get_parameter(f"{name}.weight")  # type: ignore[union-attr]
        assert int((weight != 0).sum()) == count
    model.applied.release()
    assert set(model.network.state_dict()) == set(plain.network.state_dict())  # type: ignore[union-attr]


def test_frozen_weights_withstand_weight_decay_and_momentum() -> None:
    options = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.1}
    spec = "restart:density=0.5,zeros=freeze_init"
    model = Classifier(
        "lenet_300_100", "he_normal", seed=3, method=spec, input_shape=(1, 8, 8), num_classes=10,
        **options,
    )  # fmt: skip
    trainer(2).fit(model, Digits(seed=3, train_limit=200))
    assert model.network is not None
    found = model.network.state_dict()
    for name in ("fc1.weight", "fc2.weight", "fc3.weight"):
        held = ~found[f"{name}_alive"]
        assert torch.equal(found[name][held], found[f"{name}_initial"][held])
        assert not torch.equal(found[name], found[f"{name}_initial"])


@pytest.mark.parametrize("epochs", [1, 2])
def test_resuming_equals_not_stopping(epochs: int, tmp_path: Path) -> None:
    class Stop(StopAfter):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch + 1 == epochs:
                trainer.should_stop = True

    whole, first, second = (Classifier("lenet_300_100", "he_normal", method=SPEC) for _ in "abc")
    data = [Digits(seed=0, train_limit=200) for _ in "abc"]
    trainer(3).fit(whole, data[0])
    stopped = trainer(3, callbacks=[Stop()])
    stopped.fit(first, data[1])
    assert len(first.history) == epochs
    stopped.save_checkpoint(tmp_path / "part.ckpt")
    trainer(3).fit(second, data[2], ckpt_path=tmp_path / "part.ckpt", weights_only=True)
    assert_same(state(whole), state(second))
    assert whole.history == second.history


def test_training_by_epochs_gives_the_same_bits() -> None:
    data = Digits(seed=3, train_limit=200)
    one = Classifier("lenet_300_100", "he_normal", method=SPEC, seed=3)
    trainer(2).fit(one, data)
    two = WholeEpochClassifier(
        "lenet_300_100", "he_normal", method=SPEC, seed=3, input_shape=(1, 8, 8), num_classes=10
    )
    trainer(2).fit(two, WholeEpoch(data.train_dataloader()), data.val_dataloader())
    assert_same(state(one), state(two))
    assert one.history == two.history


def test_one_epoch_is_too_few_for_two_trainings() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    with pytest.raises(ValueError, match=r"needs at least 2 epochs, and the recipe has 1; raise"):
        inspect(recipe, CPU, [{"name": "he_normal"}], [{"name": "restart"}])
    with pytest.raises(ValueError, match="half of the epochs are for each training"):
        get_method("restart").apply(network(1), seed=0).begin(None)
    with pytest.raises(ValueError, match="weights must be one of"):
        Restart(weights="final")
