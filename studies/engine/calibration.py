"""Which form of training is the fastest here, measured on a few steps and remembered."""

from __future__ import annotations

import dataclasses

from datamodules import TensorDataModule
from studies.engine.bench import Bench, first_line, rate
from studies.engine.data import load_data
from studies.engine.forms import Form
from studies.engine.remembered import Memory
from studies.engine.run import Environment, Recipe
from studies.engine.trainer import make_trainer

SIZES = (2, 4, 8, 16, 32)
# Another form has to be clearly faster: near a tie, noise would decide, and with it last digits.
ADVANTAGE = 1.05
# Where all steps of a stack take less than so many seconds, so many blocks share a Trainer.
_SHORT, _BLOCKS = 2.0, 4
# The smallest stack is taken whose rate is the best one's but for this.
_SAME = 0.985


def calibrate(recipe: Recipe, environment: Environment, workers: int, stack: int | None) -> Form:
    """The form in which this device trains a recipe's runs fastest.

    Remembered for the same recipe, network code, device and version of torch in the user's cache,
    so that the same command trains in the same form next time.

    Args:
        recipe: what will be trained.
        environment: where.
        workers: processes that will train at the same time; they share the memory.
        stack: most networks in a stack, 1 for none; None for no limit.
    """
    data = load_data(recipe, environment)
    device = make_trainer(recipe, environment).strategy.root_device
    bench = Bench(recipe, data, device)
    if stack == 1:
        return _because(_alone(bench), "--stack 1")
    # The processes of several CPU "devices" share the memory; an accelerator is one's own.
    most = bench.most(workers * environment.devices if device.type == "cpu" else workers)
    if most < 2:  # true today: the reason is not remembered
        return _because(_alone(bench), "two networks at once would not fit into the memory")
    if environment.world_size > 1 and bench.normalizes:
        reason = "batch normalisation is synchronised between devices network by network"
        return _because(_alone(bench), reason)
    memory = Memory(bench.facts())
    form = memory.recall() or _measure(bench, most)
    memory.remember(form)
    if not form.stacked:
        return form
    # A Trainer's own work counts where all steps of a stack take less than some seconds: then
    # several blocks share one Trainer.
    short = form.size * recipe.epochs * len(data.train_dataloader()) / form.rate < _SHORT
    mixed = not bench.draws and isinstance(data, TensorDataModule)
    form = dataclasses.replace(form, blocks=_BLOCKS if short else 1, mixed_seeds=mixed)
    return form.bounded(most if stack is None else min(most, stack))


def _alone(bench: Bench) -> Form:
    memory = Memory(bench.facts() | {"alone": True})
    form = memory.recall() or _one_by_one(bench)[0]
    memory.remember(form)
    return form


def _one_by_one(bench: Bench) -> tuple[Form, str]:
    """The better format and optimiser for lone networks, and the format's name where there is a
    choice.
    """
    rates = {False: rate(bench.alone(False), 1)}
    if bench.has_images:
        rates[True] = rate(bench.alone(True), 1)
    channels_last = rates.get(True, 0.0) > ADVANTAGE * rates[False]
    layout = f" in {'channels-last' if channels_last else 'default'} format" * bench.has_images
    best = rates[channels_last]
    if not bench.fuses:
        return Form("alone", channels_last=channels_last, rate=best, fused=False), layout
    by_parts = rate(bench.alone(channels_last, fused=False), 1)
    fused = by_parts <= ADVANTAGE * best
    form = Form("alone", channels_last=channels_last, rate=best if fused else by_parts, fused=fused)
    return form, layout


def _measure(bench: Bench, most: int) -> Form:
    single, layout = _one_by_one(bench)
    kind, reason = bench.kind()
    if kind is None:
        return _because(single, reason)
    try:
        forms = [_fastest(bench, kind, single, most)]
        rival = bench.rival(kind)
        if rival is not None:
            other = _fastest(bench, rival, single, most)
            forms.insert(0 if other.rate > ADVANTAGE * forms[0].rate else 1, other)
        trusted = (form for form in forms if bench.agrees(form))
        chosen = next(trusted, None)
    except Exception as error:  # whatever a user's network does with more examples than a batch
        return _because(single, f"in a stack its code fails: {first_line(error)}")
    best = (chosen or forms[0]).rate
    measured = f"{_round(best)} steps/s in stacks, {_round(single.rate)} one by one{layout}"
    if best < ADVANTAGE * single.rate:
        return _because(single, measured)
    if chosen is None:
        return _because(single, "in a stack its networks would influence each other's numbers")
    return _because(chosen, measured)


def _fastest(bench: Bench, kind: str, single: Form, most: int) -> Form:
    """The fastest stacks of a kind, in the memory format of the lone network."""
    rates = _stacked_rates(bench, kind, single, most)
    best = max(rates.values())
    size = min(size for size, value in rates.items() if value > _SAME * best)
    by_parts = rate(bench.stack(kind, size, single.channels_last, fused=False), size)
    fused = by_parts <= ADVANTAGE * best
    best = best if fused else by_parts
    return Form(kind, size, channels_last=single.channels_last, rate=best, fused=fused)


def _stacked_rates(bench: Bench, kind: str, single: Form, most: int) -> dict[int, float]:
    """Model-steps per second by size of the stack, as far as growing it looks promising."""
    rates: dict[int, float] = {}
    for _ in range(2):  # a second look, because one moment's disturbance must not decide
        for size in (size for size in SIZES if size <= most):
            measured = rate(bench.stack(kind, size, single.channels_last), size)
            rates[size] = max(measured, rates.get(size, 0.0))
            if rates[size] < 0.8 * max(single.rate, *rates.values()):
                break
    return rates


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _because(form: Form, reason: str) -> Form:
    return dataclasses.replace(form, reason=reason)
