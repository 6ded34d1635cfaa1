"""The examples of README and docs run, and the commands that they show are accepted."""

from __future__ import annotations

import doctest
import importlib.util
import io
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from initializers.__main__ import _parser as initializers_parser
from studies.engine.cli import parse
from studies.engine.diagnosis.options import DiagnoseOptions
from studies.engine.options import TrainOptions
from studies.engine.settings import sittings
from studies.proxy import ProxyOptions
from studies.run import parser as launcher_parser
from studies.run import program, split
from tests.docs.pages import NAMES, ROOT, Block, blocks, commands

_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_OPTIONS: dict[str, type[Any]] = {
    "studies.train": TrainOptions,
    "studies.diagnose": DiagnoseOptions,
    "studies.proxy": ProxyOptions,
}


@pytest.mark.parametrize("name", NAMES)
def test_page(name: str, playground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(text):
        if block.kind == "python":
            run(block, namespace, str(ROOT / name))
    empty = playground.parent / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for words in commands(text):
        check(words)


def test_examples_and_commands_are_found() -> None:
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
    python = {n: sum(b.kind == "python" for b in blocks(t)) for n, t in texts.items()}
    assert python["README.md"] >= 1
    assert python["docs/guide.md"] >= 3
    assert python["docs/statistics.md"] >= 5
    assert python["docs/extending.md"] >= 4
    assert python["docs/own_study.md"] >= 1
    assert len(commands(texts["README.md"])) >= 10
    assert len(commands(texts["docs/scaling.md"])) >= 8


def run(block: Block, namespace: dict[str, Any], page: str) -> None:
    """Run a block: a file is written and imported, a dialogue compared, anything else executed."""
    if block.file is not None:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(block.code, encoding="utf-8")
        importlib.invalidate_caches()
        importlib.import_module(".".join(path.with_suffix("").parts))
    elif block.code.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(
            block.code, namespace, page, page, block.line - 1
        )
        said: list[str] = []
        outcome = doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
        namespace.update(test.globs)
        assert outcome.failed == 0, "".join(said)
    else:
        # As many empty lines before it as the page has: a traceback then shows the page's lines.
        exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), namespace)


def check(words: Sequence[str]) -> None:
    """See that a command exists and takes these options; nothing is trained."""
    if words[0] == "make":
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{target}:", _MAKEFILE, re.MULTILINE), words
        return
    if words[0] == "lightning" or list(words[1:4]) == ["-m", "studies", "run"]:
        mine, rest = split(words[2:] if words[0] == "lightning" else words[4:])
        launcher_parser("run").parse_args(mine)
        words = ["python", *program(rest)]
    scripts = [w for w in words if re.match(r"(benchmarks|docs|studies)/\w+\.(py|sh)$", w)]
    for script in scripts:
        text = (ROOT / script).read_text(encoding="utf-8")
        options = (w.partition("=")[0] for w in words[words.index(script) :] if w[:2] == "--")
        assert all(f'"{option}"' in text for option in options), words
    if "-m" in words:
        place = len(words) - 1 - list(reversed(words)).index("-m")
        check_module(words[place + 1], list(words[place + 2 :]))


def check_module(module: str, argv: list[str]) -> None:
    """See that ``python -m MODULE`` is there and takes these arguments."""
    if module.rpartition(".")[2].isupper():  # studies.NAME
        return
    assert importlib.util.find_spec(module) is not None, module
    if not argv:
        return
    if module == "initializers":
        initializers_parser().parse_args(argv)
    elif module in _OPTIONS:
        parse(_OPTIONS[module], argv, prog=module, description="")
    elif module in ("studies.report", "studies.sync", "studies.ui"):
        found = importlib.import_module(module)
        assert read_arguments(found.main, argv), (module, argv)
    elif module.partition(".")[0] in ("studies", "my_package"):
        assert sittings(importlib.import_module(module).STUDY, argv)


def read_arguments(main: Callable[[list[str]], Any], argv: list[str]) -> bool:
    """Run a command that finds nothing to work on here; False if it did not take its arguments.

    Argument parsers say "usage:" before they leave; what comes later is about the empty folder.
    """
    said, handler = io.StringIO(), signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stderr(said), pytest.raises(SystemExit):
            main(argv)
    finally:
        signal.signal(signal.SIGTERM, handler)
    return "usage:" not in said.getvalue()
