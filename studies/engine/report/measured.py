"""How a study was measured, in words: the part of its page that says what the numbers rest on."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import Any

from studies.engine.report.stored import StoredStudy

_DEFAULTS = {
    "weight_decay": 0.0, "gamma": 0.1, "warmup_epochs": 0.0, "label_smoothing": 0.0,
    "gradient_clip": 0.0, "augment": "none", "precision": "32-true", "split_seed": 0,
    "schedule": "constant", "milestones": [], "train_limit": None,
}  # fmt: skip


def measured(study: StoredStudy) -> dict[str, str]:
    """How a study was measured: data, network, recipe, search, statistics, versions, device, time.

    Returns:
        What each is called, and what it was, as plain text.
    """
    results = study.results
    recipe, facts = results["recipe"], results.get("facts", {})
    items = {}
    if data := facts.get("data"):
        items["Data"] = (
            f"{data['name']}: {data['n_train']:,} training, {data['n_val']:,} validation and "
            f"{data['n_test']:,} test examples (fingerprint {data['fingerprint']})"
        )
    weights = f", {facts['parameters']:,} parameters" if "parameters" in facts else ""
    items["Network"] = f"{recipe['network']}{weights}"
    items["Recipe"] = _recipe(recipe)
    if study.trials:
        searches = len(results.get("search_seeds", ())) or 1
        items["Search"] = (
            f"{len(study.families)} families with {results.get('trials_per_family')} trials each, "
            f"up to {searches} seeds per trial, judged on the validation split"
        )
    items["Confirmation"] = (
        f"{len(study.comparisons.arms)} arms on the same {len(results['seeds'])} fresh seeds; the "
        "test split was opened only here"
    )
    items["Statistics"] = (
        "means with BCa bootstrap intervals; exact Wilcoxon signed-rank tests and two one-sided "
        f"t tests of equivalence (margin {study.comparisons.margin:g} "
        f"{study.comparisons.outcome.difference}), paired "
        f"by seed, each with Holm's correction over {len(study.comparisons.comparisons)} "
        f"comparisons at level {study.comparisons.alpha:g}"
    )
    if versions := results.get("versions"):
        items["Versions"] = ", ".join(
            _version(k, v) for k, v in versions.items() if (k, v) != ("git_dirty", "false")
        )
    if reduced := results.get("reduced"):
        items["Reduced"] = str(reduced)
    if "accelerator" in facts:
        machine = f" ({results['machine']})" if results.get("machine") else ""
        items["Device"] = f"{facts['accelerator']}{machine}"
    if seconds := results.get("seconds"):
        items["Time"] = f"{duration(seconds)} on the clock, without starts that were interrupted"
    return items


def also_rows(study: StoredStudy) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table of further outcomes: mean and standard deviation by arm."""
    rows = []
    for summary in study.comparisons.arms:
        found = [study.values(summary.arm, outcome.name) for outcome in study.also]
        cells = (
            f"{o.text(fmean(values))} ± {o.text(stdev(values))}" if len(values) > 1 else ""
            for o, values in zip(study.also, found, strict=True)
        )
        rows.append((summary.arm, *cells))
    return ("arm", *(outcome.heading for outcome in study.also)), rows


def _recipe(recipe: dict[str, Any]) -> str:
    known = {"data", "network", "epochs", "batch_size", "optimizer", "lr", "momentum"}
    momentum = f", momentum {recipe['momentum']:g}" if recipe.get("optimizer") == "sgd" else ""
    parts = [
        f"{recipe['epochs']} epochs of batches of {recipe['batch_size']}, {recipe['optimizer']} "
        f"with learning rate {recipe['lr']:g}{momentum}"
    ]
    for name, value in recipe.items():
        if name not in known and value != _DEFAULTS.get(name) and value not in ((), []):
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


def _version(name: str, value: str) -> str:
    short = value[:12] if name == "git_commit" else value
    return f"{name.removesuffix('_version').replace('_', ' ')} {short}"


def duration(seconds: float) -> str:
    """A time for people: "42 s", "7 min 03 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
