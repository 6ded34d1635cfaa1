"""The Markdown pages of the repository, their code blocks and the commands that they show."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/results/*.md", "docs/api/*.md")
    for path in ROOT.glob(pattern)
)
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]

_BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$|^<!-- python\n((?:.*\n)*?)-->$", re.MULTILINE)
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_INLINE = re.compile(r"`(python -m [\w.]+)[^`]*`")
_COMMAND = re.compile(r"(\S+/)?(python3?|make|lightning|torchrun|srun|sbatch) ")


@dataclass(frozen=True)
class Block:
    """A fenced block, or one hidden in an HTML comment.

    Args:
        kind: the word behind the fence; "python" for a hidden one.
        code: its text.
        line: number of its first line in the page.
    """

    kind: str
    code: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that its first line names, as in ``# my_package/data.py``."""
        found = _FILE.match(self.code)
        return found and found[1]


def blocks(text: str) -> list[Block]:
    """All fenced and hidden blocks of a page, in order."""
    return [
        Block(
            kind="python" if found[1] is None else found[1].strip(),
            code=found[3] if found[1] is None else found[2],
            line=text.count("\n", 0, found.start()) + 2,
        )
        for found in _BLOCK.finditer(text)
    ]


def commands(text: str) -> list[list[str]]:
    """The words of every command that a page shows: in indented or console blocks, and inline.

    Of an inline command only the module: it names options, and need not be complete.
    """
    prose = text
    for block in blocks(text):
        if block.kind not in ("console", "sh", "bash"):
            prose = prose.replace(block.code, "")
    prose = re.sub(r" *\\\n *", " ", prose)
    lines = [line.strip().removeprefix("$ ") for line in prose.splitlines() if line[:4].isspace()]
    lines += [line for block in blocks(prose) for line in block.code.splitlines()]
    lines += _INLINE.findall(prose)
    return [shlex.split(line, comments=True) for line in lines if _COMMAND.match(line)]
