"""The whole catalogue on the networks that people use: set correctly, or refused beforehand."""

import math
import re
import warnings
from functools import cache

import pytest
import torch
from torch import nn
from torchvision import models

from initializers import InitRecord, get_initializer, initializer_names
from initializers.testing_modules import same, state_of
from tests.initializers.networks import NETWORKS, batch_for

# The defaults take minutes (metainit, gradinit) or draw a hundred times (strength_stabilized).
SPECS = {
    "metainit": "metainit:steps=1",
    "gradinit": "gradinit:steps=1",
    "strength_stabilized": "strength_stabilized:tries=2",
    "per_layer": "per_layer:base=he_normal,rules=(first=lecun_normal,last=(ternary:density=0.3))",
}
NAMES = [name for name in initializer_names() if name != "pretrained"]  # needs a file
MIRRORED = ("looks_linear", "gaussian_submatrix", "orthogonal_submatrix", "ternary_submatrix")
REFUSALS = {
    "resnet18": {
        "fixup": "without norm layers, but NarrowResNet has bn1.weight",
        "skipinit": "no one-element parameter of NarrowResNet fits",
        "mimetic": "sets nn.MultiheadAttention, of which this module has none",
        "delta_orthogonal": "layer1.0.conv1.weight has more input than output channels",
        **dict.fromkeys(MIRRORED, "layer1.0.conv2 ends a residual block"),
    },
    "vgg11": {
        "fixup": "no residual block in VGG",
        "skipinit": "no one-element parameter of VGG fits",
        "mimetic": "sets nn.MultiheadAttention, of which this module has none",
    },
    "mobilenet_v3_small": {
        "fixup": "without norm layers, but MobileNetV3 has features.0.1.weight",
        "skipinit": "no one-element parameter of MobileNetV3 fits",
        "mimetic": "sets nn.MultiheadAttention, of which this module has none",
        "delta_orthogonal": "features.2.block.2.0.weight has more input than output channels",
        "metainit": "no second derivative of features.1.block.1.scale_activation",
        "gradinit": "no second derivative of features.1.block.1.scale_activation",
        **dict.fromkeys(MIRRORED, "features.3.block.2.0 ends a residual block"),
    },
    "vit": {
        "fixup": "has encoder.layers.encoder_layer_0.ln_1.weight",
        "skipinit": "no one-element parameter of VisionTransformer fits",
        **dict.fromkeys(MIRRORED, "belongs to a layer of kind attention"),
    },
    "language_model": {
        "fixup": "has layers.0.norm1.weight",
        "skipinit": "no one-element parameter of LanguageModel fits",
        "metainit": "draws Gaussian inputs, which this network does not take",
        "weight_norm_resnet": "its forward pass cannot be traced",
        "residual": "its forward pass cannot be traced",
        **dict.fromkeys(MIRRORED, "tokens.weight belongs to a layer of kind embedding"),
    },
}


@cache
def built(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return the network, the same one in every test, and its first state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = NETWORKS[name]()
    return module, state_of(module)


def covered(record: InitRecord) -> set[str]:
    names = {layer.name.partition("[")[0] for layer in record.layers}
    return names | {*record.biases, *record.norms} | {skip.name for skip in record.skipped}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("spec", [SPECS.get(name, name) for name in NAMES])
def test_set_correctly_or_refused_before_any_change(spec: str, name: str) -> None:
    initializer = get_initializer(spec)
    module, start = built(name)
    module.load_state_dict(start)
    batch = batch_for(name)
    reason = REFUSALS[name].get(spec.partition(":")[0])
    if reason is not None:
        with pytest.raises(ValueError, match=re.escape(reason)):
            initializer(module, seed=3, batch=batch)
        assert same(start, state_of(module))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing to set would be a warning
        record = initializer(module, seed=3, batch=batch)
    parameters = dict(module.named_parameters())
    assert covered(record) == set(parameters)
    assert all(skip.reason for skip in record.skipped)
    assert all(math.isfinite(layer.std) for layer in record.layers)
    skipped = {skip.name for skip in record.skipped}
    assert all(torch.equal(start[skip], parameters[skip]) for skip in skipped)
    result = state_of(module)
    assert forward_is_finite(module, batch[0])
    with torch.no_grad():
        for key, parameter in parameters.items():
            if key not in skipped:
                parameter.fill_(torch.nan)  # what was there before has no say
    again = initializer(module, seed=3, batch=batch)
    assert again.to_dict() == record.to_dict()
    assert same(result, state_of(module))


def forward_is_finite(module: nn.Module, inputs: torch.Tensor) -> bool:
    """Run the network in both modes."""
    with torch.no_grad():
        outputs = [module.train(training)(inputs) for training in (False, True)]
    return all(bool(torch.isfinite(output).all()) for output in outputs)


def test_every_refusal_is_of_the_catalogue() -> None:
    assert {name for table in REFUSALS.values() for name in table} <= set(NAMES)


def test_a_tied_weight_is_set_once_and_stays_tied() -> None:
    module, _ = built("language_model")
    record = get_initializer("he_normal")(module, seed=0)
    (shared,) = [layer for layer in record.layers if "shared" in layer.note]
    assert (shared.name, shared.note) == ("tokens.weight", "shared with head.weight")
    assert module.get_parameter("head.weight") is module.get_parameter("tokens.weight")
    assert module.get_parameter("tokens.weight")[0].count_nonzero() == 0  # the padding row


@pytest.mark.parametrize(
    ("model", "spec", "weights", "skipped"),
    [
        ("resnet18", "ternary:density=0.1", 21, 0),
        ("mobilenet_v3_small", "orthogonal", 54, 0),
        ("vgg11", "he_normal", 11, 0),
        ("vit_b_16", "ternary:density=0.5,sampling=bernoulli", 74, 2),
    ],
)
def test_torchvisions_own(model: str, spec: str, weights: int, skipped: int) -> None:
    with torch.device("meta"):  # their constructors draw for seconds what is overwritten
        module = models.get_model(model)
    module.to_empty(device="cpu")
    record = get_initializer(spec)(module, seed=0)
    assert covered(record) == {name for name, _ in module.named_parameters()}
    assert (len(record.layers), len(record.skipped)) == (weights, skipped)
    with torch.no_grad():
        for skip in record.skipped:
            module.get_parameter(skip.name).zero_()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, 224, 224, generator=generator)
    with torch.no_grad():
        assert bool(torch.isfinite(module.eval()(images)).all())
