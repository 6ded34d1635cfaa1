"""The command line of every study: typed options, YAML in and out, one sentence per mistake."""

from __future__ import annotations

import dataclasses
import difflib
import errno
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, get_type_hints

from jsonargparse import ArgumentParser

from studies.engine.errors import UserError
from studies.engine.options import flag
from studies.engine.secrets import mask

Options = TypeVar("Options")


def parse(
    options: type[Options],
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Options:
    """Read options from the command line and, with --config, from a YAML file.

    Args:
        options: a dataclass of options whose fields carry a "help" metadata entry.
        argv: the arguments; None reads those of the process.
        prog: how the command is typed.
        description: first lines of the help text.
        defaults: values that go before those of the dataclass where the user gives none.

    Raises:
        SystemExit: after --help and --print-config (code 0) or a mistake (code 2).
        UserError: a value that the dataclass refuses.
    """
    parser = _Parser(prog=prog, description=description, print_config="--print-%s")
    parser.add_argument("--config", action="config", help="read options from this YAML file")
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        name, text = flag(field.name), field.metadata["help"].replace("%", "%%")
        if hints[field.name] is bool:
            default = bool(defaults.get(field.name, False))
            parser.add_argument(name, action="store_true", default=default, help=text)
            continue
        default = defaults.get(field.name, _default(field))
        if "nargs" in field.metadata:  # words one after the other
            nargs = field.metadata["nargs"]
            parser.add_argument(name, nargs=nargs, type=str, default=default, help=text)
            continue
        parser.add_argument(name, type=hints[field.name], default=default, help=text)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            values = parser.parse_args(list(sys.argv[1:] if argv is None else argv)).as_dict()
    finally:
        sys.stdout.write(mask(printed.getvalue()))  # --print-config would show a URL's password
    values.pop("config", None)
    for name, value in values.items():
        if hints[name] is bool and not isinstance(value, bool):
            raise UserError(f"{flag(name)} must be true or false, got {value!r}.")
    return options(**values)


def run_main(
    body: Callable[[], int | None],
    interrupted: str = "Interrupted. Run the same command again to continue.",
) -> NoReturn:
    """Run a command's body and leave the process.

    Args:
        body: returns the exit code; None is 0.
        interrupted: what to say after Ctrl-C.

    Raises:
        SystemExit: 0; 2 after a mistake or a full disk, with one sentence; 130 after Ctrl-C, 143
            after SIGTERM (a scheduler's time limit).
    """
    terminated = False

    def terminate(number: int, frame: Any) -> None:
        nonlocal terminated
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows is orderly
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        code = body() or 0
        sys.stdout.flush()
    except UserError as error:
        sentence = mask(str(error))
        end = "" if sentence.endswith((".", "?", "!")) else "."
        print(f"error: {sentence}{end}", file=sys.stderr)
        code = 2
    except BrokenPipeError:
        # The reader (head, less) has seen enough; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"error: {error.strerror}{where}; what was finished is kept: put this right and run "
            "the same command again.",
            file=sys.stderr,
        )
        code = 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        code = 143 if terminated else 130
    sys.exit(code)


_ENVIRONMENT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}


class _Parser(ArgumentParser):
    """Turns argparse's and jsonargparse's messages into one sentence each."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        sentence = _sentence(message, sorted(self._option_string_actions))
        print(f"error: {mask(sentence)}\nSee: {self.prog} --help", file=sys.stderr)
        sys.exit(2)


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def _sentence(message: str, flags: list[str]) -> str:
    text = " ".join(message.split())
    if found := re.match(r"unrecognized arguments: (\S+)", text, re.IGNORECASE):
        return f"Unknown option {found[1]}{_nearest(found[1].split('=')[0], flags)}."
    if found := re.search(r"Option '([^']+)' is not accepted", text):
        keys = [name[2:].replace("-", "_") for name in flags]
        return f"Unknown key '{found[1]}' in the configuration{_nearest(found[1], keys)}."
    if found := re.match(r'Parser key "(\w+)": ?(.*)', text):
        name, detail = flag(found[1]), found[2]
        got = re.search(r"(?:Got|Given) value: (.*?)(?: \(type|$)", detail)
        if choices := re.search(r"Literal\[([^\]]*)\]", detail):
            allowed = choices[1].replace("'", "")
            number = re.search(r"<class '(int|float)'>", detail)
            wanted = f"{_KINDS[number[1]]} or {allowed}" if number else f"one of {allowed}"
            return f"{name} must be {wanted}{f', got {got[1]}' if got else ''}."
        if "list" in detail and got:
            return f"{name} must be a list such as [10,15], got {got[1]!r}."
        kind = re.search(r"<class '(\w+)'>", detail)
        if kind and got:
            return f"{name} must be {_KINDS.get(kind[1], kind[1])}, got {got[1]!r}."
        return f"{name}: {detail}"
    return text


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def command_line(
    module: str, options: Any, defaults: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """The command that repeats this, credentials masked: module and every non-default option.

    Args:
        module: as after `python -m`.
        options: what was used.
        defaults: as given to `parse`.
    """
    parts = ["python", "-m", module]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value == defaults.get(field.name, _default(field)) or field.name in (
            "dry_run",
            "fresh",
            "quiet",
        ):
            continue
        parts.append(flag(field.name))
        if "nargs" in field.metadata:
            parts += [shlex.quote(mask(str(item))) for item in value]
        elif value is not True:
            parts.append(shlex.quote(mask(str(value))))
    return " ".join(parts)
