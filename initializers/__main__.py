"""The catalogue on the command line.

python -m initializers                                   the list
python -m initializers lsuv                              what the catalogue says about one
python -m initializers lsuv ternary:density=0.1 --network resnet20 --figure weights.png
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from torch import nn

from initializers.figures import FORMATS, save_distributions
from initializers.listing import catalogue_entries, entry_of, entry_text, list_text
from initializers.lookup import get_initializer
from initializers.show import (
    EXAMPLES,
    comparison_text,
    needs_data,
    panels,
    record_text,
    show,
    synthetic_batch,
    to_plain,
)
from initializers.spec import parse_spec
from initializers.texttable import wrapped


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv: Its arguments; None takes those of the process.

    Raises:
        SystemExit: With code 2 and one sentence on standard error after a mistake.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        print(_answer(options))
        sys.stdout.flush()
    except (TypeError, ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        parser.error(" ".join(str(error).split()))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m initializers",
        description=(
            "Without arguments: the list of all initialisers. With names: what they are. With "
            "--network: what they do to a network, without training."
        ),
    )
    parser.add_argument(
        "spec", nargs="*", help="name, or spec such as ternary:density=0.1 (see initializers.spec)"
    )
    parser.add_argument("--network", help="such as resnet20, torchvision:resnet18 or my.module:Net")
    parser.add_argument("--input-shape", default="3x32x32", help="of one example: 3x32x32 or 784")
    parser.add_argument("--num-classes", default="10", help="outputs of the network")
    parser.add_argument("--seed", default="0", help="seed of the weights")
    parser.add_argument("--figure", help="file for the weight distributions: .png, .svg or .pdf")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith((".", "?", "!")) else "."
        print(f"error: {message}{end}\nSee: {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _answer(options: argparse.Namespace) -> str:
    width = shutil.get_terminal_size().columns
    if options.network:
        return _shown(options, width)
    if options.figure:
        raise ValueError("--figure draws the weights of a network; name one with --network.")
    if not options.spec:
        if options.json:
            return _json([dataclasses.asdict(entry) for entry in catalogue_entries()])
        count = len(catalogue_entries())
        end = f"{count} initialisers; 'python -m initializers NAME' describes one."
        return f"{list_text(width)}\n\n{end}"
    names = []
    for spec in options.spec:
        name, values = parse_spec(spec)
        if values:
            get_initializer(spec)  # so that a wrong option does not go unnoticed
        names.append(name)
    if options.json:
        return _json([dataclasses.asdict(entry_of(name)) for name in names])
    return "\n\n\n".join(entry_text(name) for name in names)


def _shown(options: argparse.Namespace, width: int) -> str:
    if not options.spec:
        raise ValueError("--network shows what an initialiser does to it; name one or several.")
    initializers = [(spec, get_initializer(spec)) for spec in options.spec]
    shape = _shape(options.input_shape)
    classes = _integer("--num-classes", options.num_classes, 2)
    seed = _integer("--seed", options.seed, 0)
    figure = _figure(options.figure)
    module = _network(options.network, shape, classes)
    shown = show(module, initializers, synthetic_batch(shape, classes, seed), seed)
    title = f"{options.network}, input {options.input_shape}, {classes} classes, seed {seed}"
    lines = [title]
    looking = needs_data(initializers)
    if looking:
        lines += wrapped(
            f"{', '.join(looking)}: on a synthetic batch of {EXAMPLES} inputs N(0, 1) with uniform "
            "labels; real data give other weights.",
            width,
        )
    if figure is not None:
        drawn = panels(shown)
        if not drawn:
            raise ValueError(f"{options.network} has no weights to draw.")
        count = save_distributions(figure, title, options.spec, drawn)
        lines.append(f"figure: {figure} ({count} of {len(drawn)} layers)")
    if options.json:
        facts = {"network": options.network, "input_shape": shape, "num_classes": classes}
        return _json(to_plain(shown, {**facts, "seed": seed, "synthetic_batch": looking}))
    body = record_text(shown[0].record, width)
    if len(shown) > 1:
        body = comparison_text(shown, width)
    else:
        lines.insert(0, shown[0].label)
    return "\n".join([*lines, "", body])


def _network(spec: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    # the one look outside of this package (see the import contract): only to resolve --network
    from lightning_modules.networks import build_network

    return build_network(spec, input_shape=shape, num_classes=classes)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--input-shape must be sizes joined by x, as in 3x32x32, got {text!r}.")
    return tuple(int(part) for part in parts)


def _integer(flag: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ValueError(f"{flag} must be a whole number, at least {least}, got {text!r}.")
    return int(text)


def _figure(text: str | None) -> Path | None:
    """Return the file to draw into, checked before any work is done."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix not in FORMATS:
        raise ValueError(f"--figure must end in {', '.join(FORMATS)}, got {text!r}.")
    if not path.parent.is_dir():
        raise ValueError(f"--figure: there is no folder {str(path.parent)!r}.")
    return path


def _json(data: object) -> str:
    return json.dumps(data, indent=2)


if __name__ == "__main__":
    main()
