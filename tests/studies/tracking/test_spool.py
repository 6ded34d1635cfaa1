"""The spool's file: what a kill at any byte, a secret or a stranger's line does to it."""

import json
import math
from pathlib import Path

import pytest

from studies.engine.tracking.operations import (
    EndStudy,
    Operation,
    WriteFile,
    WriteGroup,
    WriteNote,
    WriteRun,
    WriteSingle,
    WriteStudy,
    WriteText,
)
from studies.engine.tracking.records import Record
from studies.engine.tracking.spool import (
    DamagedSpoolError,
    Spool,
    SpoolInUseError,
    read_spool,
)

SECRET = "s3cr3t"
URL = f"postgresql://ada:{SECRET}@db/x"
HEADER = {"tracking_uri": "http://127.0.0.1:1", "experiment": "e"}


def operations(folder: Path) -> list[Operation]:
    record = Record(
        "seed 3",
        {"lr": "0.1", "nesterov": "true"},
        {"family": "he, ü ' \" \\ \n"},
        {"loss": math.inf, "best": 1 / 3, "nan": -0.0},
        [{"loss": 1e-300}, {"loss": -math.inf}],
        "pruned",
        1_000,
        2_000,
    )
    return [
        WriteStudy(study="s", record=Record("study", status="running", start_ms=5, time_ms=7)),
        WriteGroup(study="s", group="g", record=record),
        WriteRun(study="s", group="g", key="k", record=record),
        WriteSingle(study="t", key="k", record=record),
        WriteNote(study="s", group=None, text="**better**"),
        WriteText(study="s", group="g", file="notes/a.json", text="{}\n"),
        WriteFile(study="s", group=None, path=folder / "sub" / "runs.csv", folder="results"),
        WriteFile(study="s", group=None, path=Path("/elsewhere/model.ckpt"), folder=None),
        EndStudy(study="s", status="finished", time_ms=9, open_only=True),
    ]


def same(operation: Operation) -> tuple[object, ...]:
    """An operation without the mark that it comes from a file, fit for comparing."""
    fields = {name: value for name, value in vars(operation).items() if name != "late"}
    return operation.kind, fields


def test_every_operation_reads_back_as_it_was(tmp_path: Path) -> None:
    given = operations(tmp_path)
    spool = Spool(tmp_path / "tracking-0.jsonl", HEADER)
    spool.append(given)
    spool.sitting("s")
    spool.close(remove=False)
    content = read_spool(tmp_path / "tracking-0.jsonl")
    assert [same(op) for op in content.operations] == [same(op) for op in given]
    assert all(op.late for op in content.operations)
    assert content.sittings == ("s",)
    assert content.header == {**HEADER, "spool": 1}
    times = [op.record.time_ms for op in given if isinstance(op, WriteRun)]
    assert times == [op.record.time_ms for op in content.operations if isinstance(op, WriteRun)]
    # Plain JSON, by everybody's rules.
    for line in (tmp_path / "tracking-0.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_the_folder_may_move(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    spool = Spool(tmp_path / "a" / "tracking-0.jsonl", HEADER)
    spool.append(operations(tmp_path / "a"))
    spool.close(remove=False)
    (tmp_path / "a").rename(tmp_path / "b")
    read = read_spool(tmp_path / "b" / "tracking-0.jsonl").operations
    paths = [op.path for op in read if isinstance(op, WriteFile)]
    assert paths == [tmp_path / "b" / "sub" / "runs.csv", Path("/elsewhere/model.ckpt")]


def test_a_kill_at_any_byte_leaves_a_spool_with_the_operations_before(tmp_path: Path) -> None:
    file = tmp_path / "tracking-0.jsonl"
    notes = [WriteNote(study="s", group=None, text=f"note {i}, ü") for i in range(4)]
    spool = Spool(file, HEADER)
    spool.append(notes[:2])
    whole = file.stat().st_size
    spool.append(notes[2:])
    spool.sent(1)
    spool.close(remove=False)
    content = file.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == 10]
    assert len(ends) == 6
    for cut in range(whole, len(content) + 1):
        file.write_bytes(content[:cut])
        lines = sum(end <= cut for end in ends)
        expected = [same(op) for op in (notes[: lines - 1] if lines < 6 else notes[1:])]
        assert [same(op) for op in read_spool(file).operations] == expected
    # Whoever opens it next cuts the broken line off and appends behind it.
    file.write_bytes(content[: ends[2] + 7])
    spool = Spool(file)
    spool.append(notes[3:])
    spool.close(remove=False)
    texts = [op.text for op in read_spool(file).operations if isinstance(op, WriteNote)]
    assert texts == ["note 0, ü", "note 1, ü", "note 3, ü"]


def test_what_was_sent_is_dropped_on_opening_and_refused_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "tracking-0.jsonl"
    notes = [WriteNote(study="s", group=None, text=str(i)) for i in range(4)]
    spool = Spool(file, HEADER)
    spool.append(notes)
    spool.sent(1)
    spool.refuse(notes[1])
    spool.sent(2)
    spool.close(remove=False)
    spool = Spool(file)
    assert [same(op) for op in spool.content.operations] == [same(notes[1]), same(notes[3])]
    assert len(file.read_bytes().splitlines()) == 3
    spool.close(remove=True)
    assert not file.exists()


def test_starts_while_the_store_is_away_do_not_make_it_grow(tmp_path: Path) -> None:
    file = tmp_path / "tracking-0.jsonl"

    def start(runs: int, first_ms: int) -> list[Operation]:
        """What a start records: again what the starts before have recorded, and more."""
        study = Record("study", status="running", start_ms=first_ms, time_ms=first_ms)
        records = [Record("run", start_ms=1, end_ms=2, time_ms=first_ms + i) for i in range(runs)]
        return [
            WriteStudy(study="s", record=study),
            *(WriteRun(study="s", group="g", key=str(i), record=r) for i, r in enumerate(records)),
            EndStudy(study="s", status="interrupted", time_ms=first_ms + 99),
        ]

    for number in range(5):
        spool = Spool(file, HEADER)
        spool.append(start(number + 1, 1_000 * number))
        spool.close(remove=False)
    spool = Spool(file)
    assert [same(op) for op in spool.content.operations] == [same(op) for op in start(5, 4_000)]
    times = [op.record.time_ms for op in spool.content.operations if isinstance(op, WriteRun)]
    assert times == [4_000, 4_001, 4_002, 4_003, 4_004]
    spool.close(remove=True)


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0\0", b"[]", b"{}", b'"x"', b"{\"op\":\"note\"}", b'{"op":"nonsense"}',
        b'{"sent":"many"}', b'{"op":"note","study":"s","group":null,"text":"a","more":1}',
        b'{"op":"group","study":"s","group":"g","record":{"name":"n","status":"odd"}}', b"\xff{",
        b'{"op":"group","study":"s","group":"g","record":7}',
    ],
)  # fmt: skip
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "tracking-0.jsonl"
    spool = Spool(file, HEADER)
    spool.append([WriteNote(study="s", group=None, text=text) for text in "abc"])
    spool.close(remove=False)
    lines = file.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:2], line + b"\n", *lines[3:]])
    file.write_bytes(damaged)
    with pytest.raises(DamagedSpoolError, match=f"^line 3 of {file} is damaged; restore"):
        Spool(file)
    assert file.read_bytes() == damaged
    file.write_bytes(b"".join(lines))
    Spool(file).close(remove=True)  # the failed opening did not keep the lock


def test_secrets_do_not_reach_it(tmp_path: Path) -> None:
    record = Record(URL, {"url": [URL], URL: 1}, {"u": {"v": URL}}, {URL: 1.0}, [{URL: 2.0}])
    spool = Spool(tmp_path / "tracking-0.jsonl", HEADER)
    spool.append([WriteStudy(study="s", record=record)])
    spool.close(remove=False)
    text = (tmp_path / "tracking-0.jsonl").read_text()
    assert "ada:***@db" in text
    assert SECRET not in text


def test_two_processes_do_not_send_one_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "tracking-0.jsonl", HEADER)
    with pytest.raises(SpoolInUseError, match="another process is sending"):
        Spool(tmp_path / "tracking-0.jsonl")
    spool.close(remove=True)
    Spool(tmp_path / "tracking-0.jsonl", HEADER).close(remove=True)
