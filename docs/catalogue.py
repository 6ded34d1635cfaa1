"""Write docs/catalogue.md and its figures from the docstrings of the initialisers.

    python docs/catalogue.py            the page and the figures
    python docs/catalogue.py --page     the page alone

The output depends on the code alone: the same version gives the same bytes.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from initializers import get_initializer
from initializers.figures import draw_histogram
from initializers.layers import plan_module
from initializers.listing import Entry, catalogue_entries
from initializers.texttable import joined

PAGE = Path(__file__).with_suffix(".md")
FOLDER = Path(__file__).with_suffix("")
NO_FIGURE = ("pretrained",)  # it needs a file
DRAWN_AS = {  # where the default shows nothing, or takes minutes
    "per_layer": "per_layer:base=he_normal,rules=(first=orthogonal,last=ternary)",
    "metainit": "metainit:steps=20",
    "gradinit": "gradinit:steps=20,lr=0.1",
    "sparse": "sparse:degree=5",
}
_INTRO = """\
# The catalogue

Written by `python docs/catalogue.py` from the docstrings; change those. On the command line:

    python -m initializers                                   # this list
    python -m initializers lsuv                              # one of them
    python -m initializers lsuv ternary:density=0.1 --network resnet20 --figure weights.png

`fan` is the mean number of inputs (`fan_in`) or of uses (`fan_out`) of a value, `N(m, v)` has the
variance v, and `[a = b]` is 1 where that is true, else 0. *Needs* says what a method looks at
beside the weights: `data` and `labels` (a batch), `topology` (a kind of network),
`second derivatives`.

The figures show each method on a small network: the weight matrices (rows are units; blue is
negative, red positive, white 0) and below them the share of the weights per bin, on a root scale,
over the range of the matrix.
"""


class Block(nn.Module):
    """Two layers beside an identity, with a scalar bias and a multiplier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Linear(width, width)
        self.two = nn.Linear(width, width)
        self.alpha = nn.Parameter(torch.ones(1))
        self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        out: Tensor = self.shortcut(x) + self.alpha * self.two(torch.relu(self.one(x)))
        return out


class Attention(nn.Module):
    """Self-attention over four positions of a signal of 32 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(24, 32)
        self.attention = nn.MultiheadAttention(32, 2, batch_first=True)
        self.output = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        h = self.input(x)[:, None].expand(-1, 4, -1)
        out: Tensor = self.output(self.attention(h, h, h)[0].mean(1))
        return out


def network_for(entry: Entry) -> nn.Module:
    """Return the small network on which a method is drawn."""
    if entry.name == "mimetic":
        return Attention()
    if "topology" in entry.needs:
        return nn.Sequential(nn.Linear(24, 32), nn.ReLU(), Block(32), nn.ReLU(), nn.Linear(32, 8))
    if entry.name in ("delta_orthogonal", "dirac"):
        return nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
    return nn.Sequential(
        nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8)
    )


def draw(entry: Entry, path: Path) -> None:
    """Draw one method on its small network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = network_for(entry)
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(64, 24, generator=generator), torch.randint(8, (64,), generator=generator)
    get_initializer(DRAWN_AS.get(entry.name, entry.name))(module, seed=0, batch=batch)
    weights = [(w.name, w.read().detach().flatten(1)) for w in plan_module(module, "docs").weights]
    if entry.name == "mimetic":
        weights = weights[1:]  # the attention alone
    weights = weights[:4]
    figure = Figure(figsize=(1.35 * len(weights) + 0.45, 2.3), dpi=80)
    axes = figure.subplots(2, len(weights), squeeze=False, height_ratios=[1.5, 1.0])
    for number, (name, weight) in enumerate(weights):
        limit = float(weight.abs().max()) or 1.0
        above, below = axes[0][number], axes[1][number]
        above.imshow(
            weight, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        title = name.partition("[")[2].rstrip("]") or name.removesuffix(".weight")
        above.set_title(title, fontsize=6, pad=2)
        above.set_xticks([])
        above.set_yticks([])
        draw_histogram(below, [weight])
        if number:
            below.set_yticklabels([])
    figure.subplots_adjust(left=0.09, right=0.98, top=0.92, bottom=0.09, wspace=0.14, hspace=0.12)
    figure.savefig(path, metadata={"Software": None})


def page() -> str:
    """Return the text of the page."""
    entries = catalogue_entries()
    parts, family = [_INTRO, *_contents(entries)], ""
    for entry in entries:
        if entry.family != family:
            family = entry.family
            parts.append(f"\n## {family[0].upper()}{family[1:]}\n")
        parts.append(_section(entry))
    return "\n".join(parts)


def _contents(entries: tuple[Entry, ...]) -> list[str]:
    lines = ["| name | family | needs | what it is |", "| --- | --- | --- | --- |"]
    for entry in entries:
        link = f"[`{entry.name}`](#{entry.name})"
        summary = _markdown(entry.summary).replace("|", "\\|")
        lines.append(f"| {link} | {entry.family} | {joined(entry.needs)} | {summary} |")
    return lines


def _section(entry: Entry) -> str:
    facts = [entry.citation or "Without a publication", f"Needs: {joined(entry.needs)}"]
    parts = [f"### {entry.name}", ". ".join(facts if entry.needs else facts[:1]) + "."]
    parts += [f"```text\n{entry.formula}\n```"]
    if entry.name not in NO_FIGURE:
        parts.append(f"![{entry.name}]({FOLDER.name}/{entry.name}.png)")
    if entry.name in DRAWN_AS:
        parts.append(f"Drawn as `{DRAWN_AS[entry.name]}`.")
    parts.append(_markdown(entry.description))
    if entry.options:
        parts.append("\n".join(_options(entry.options)))
    return "\n\n".join(parts) + "\n"


def _options(text: str) -> list[str]:
    """Return an ``Args`` section as a list."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith(" "):
            name, _, rest = line.partition(":")
            lines.append(f"* `{name}`:{_markdown(rest)}")
        else:
            lines.append(f"  {_markdown(line.strip())}")
    return lines


def _markdown(text: str) -> str:
    """Return a paragraph or several of a docstring as Markdown."""
    parts = []
    for part in text.split("\n\n"):
        if part.lstrip().startswith("==="):  # a table in plain text
            part = f"```text\n{textwrap.dedent(part)}\n```"
        elif not part.startswith("    "):
            part = part.replace("``", "`")
            part = f"{part[:-1]}" if part.endswith("::") else part
        parts.append(part)
    return "\n\n".join(parts)


def main() -> None:
    """Write the page, and the figures unless --page is given."""
    PAGE.write_text(page(), encoding="utf-8")
    if "--page" in sys.argv[1:]:
        return
    FOLDER.mkdir(exist_ok=True)
    for entry in catalogue_entries():
        if entry.name not in NO_FIGURE:
            draw(entry, FOLDER / f"{entry.name}.png")


if __name__ == "__main__":
    main()
