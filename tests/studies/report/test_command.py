"""`python -m studies.report`, and the tables for papers."""

import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.engine.errors import UserError
from studies.engine.report.paper import latex, latex_table, markdown_table
from studies.engine.report.stored import load_study
from studies.report import report
from tests.studies.conftest import environment
from tests.studies.report.conftest import CURRENT

FILES = {"report.html", "comparison.tex", "comparison.md"}


def test_a_report_needs_no_torch_and_little_time(
    tmp_path: Path, make_study: Callable[..., Path]
) -> None:
    """A search of 1,920 trainings and a confirmation of 80: under 10 s."""
    folder = make_study(tmp_path / "large")
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    searched = [row for row in rows if row["stage"] == "search"]
    more = [
        {**searched[i % len(searched)], "trial": str(i // len(searched) * 12 + int(
            searched[i % len(searched)]["trial"]))}
        for i in range(1920)
    ]  # fmt: skip
    with (folder / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*more, *(row for row in rows if row["stage"] == "confirm")])
    program = (
        "import sys\nfrom studies.report import report\nfrom pathlib import Path\n"
        "report([Path(sys.argv[1])])\n"
        "heavy = {'torch', 'lightning', 'optuna', 'mlflow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    started = time.process_time(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2,000" in (folder / "report.html").read_text()
    assert (folder / "report.html").stat().st_size < 3_000_000
    assert time.monotonic() - started[1] < 60  # a hang; the 10 s are for an idle machine


def test_one_study_gets_its_files_and_prints_its_verdict(
    reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reported / "one"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert report([folder]) == 0  # again, over what the fixture made
    printed = capsys.readouterr().out
    assert f"{folder}/report.html and 14 files beside it" in printed
    assert "ternary (tuned)" in printed
    assert "all is <well> & equivalent" in printed
    assert {path.name for path in folder.iterdir()} == FILES | {"figures"} | {
        "runs.csv", "curves.csv", "results.json",
    }  # fmt: skip
    assert {path: path.read_bytes() for path in before} == before  # equal bytes, no date
    assert len(list((folder / "figures").glob("*.png"))) == 6
    assert len(list((folder / "figures").glob("*.pdf"))) == 6
    page = (folder / "report.html").read_text()
    assert "all is &lt;well&gt; &amp; equivalent" in page
    assert "python -m studies.ternary_sparsity --data one" in page
    assert "git commit 6545419a1b2c" in page
    assert "<script" not in page


def test_several_studies_meet_on_one_page(
    reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [reported / name for name in ("one", "two", "three")]
    output = reported / "all"
    table = (output / "comparison.md").read_text()
    glorot = next(line for line in table.splitlines() if line.startswith("| Glorot |"))
    assert re.findall(r"\d+\.\d+ ±", glorot) == ["88.33 ±", "90.33 ±", "90.33 ±"]
    page = (output / "report.html").read_text()
    assert [link for link in re.findall(r'href="([^"#]+)"', page) if link != "data:,"] == [
        f"../{name}/report.html" for name in ("one", "two", "three")
    ]
    assert {p.name for p in (output / "figures").iterdir()} == {
        "ranks.png", "ranks.pdf", "improvement.png", "improvement.pdf",
    }  # fmt: skip
    before = [(folder / "report.html").stat().st_mtime_ns for folder in folders]
    assert report(folders, output) == 0
    assert [(folder / "report.html").stat().st_mtime_ns for folder in folders] == before
    assert [(f / "report.html").read_text() == CURRENT for f in folders] == [False, True, True]
    # Ternary is first of the untouched means, and second where Glorot is lifted above all.
    said = "Over 3 studies ternary (tuned) has the best average rank (1.67 of 8)"
    assert said in capsys.readouterr().out


def test_mistakes_are_told_in_one_sentence(tmp_path: Path, make_study: Callable[..., Path]) -> None:
    one, two = make_study(tmp_path / "one"), make_study(tmp_path / "two")
    results = json.loads((two / "results.json").read_text())
    results["arms"] = [arm for arm in results["arms"] if arm["arm"] == "He"]
    results["comparisons"] = []
    (two / "results.json").write_text(json.dumps(results))
    for arguments, expected in (
        (([one, tmp_path / "x" / ".." / "one"],), "is named twice"),
        (([one], tmp_path / "out"), "--output is for the comparison"),
        (([one, two], one), "is a study's own folder"),
        (([one, two], one / "runs.csv"), "is not a folder"),
        (([one, two], tmp_path / "out"), "fewer than two arms in common"),
        (([tmp_path / "none"],), "does not exist"),
    ):
        with pytest.raises(UserError) as caught:
            report(*arguments)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)


def test_latex_escapes_and_has_a_row_per_line_of_the_table(fashion: Path) -> None:
    comparisons = load_study(fashion).comparisons
    text = latex_table(comparisons, caption="100 % of a_b & c", label="a_b c")
    assert r"\caption{100 \% of a\_b \& c}" in text
    assert r"\label{tab:a-b-c}" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 9
    assert all(row.count(" & ") == 6 and row.endswith(r" \\") for row in body)
    assert "88.35--88.71 & Glorot (tuned) & $+$0.15 & $-$0.12 to $+$0.38 & equivalent" in body[0]
    assert text.count("{") == text.count("}")
    assert latex("\\ ~ ^ {x} #1 $") == (
        r"\textbackslash{} \textasciitilde{} \textasciicircum{} \{x\} \#1 \$"
    )


def test_markdown_is_the_table_as_it_was_published(fashion: Path) -> None:
    text = markdown_table(load_study(fashion).comparisons)
    page = Path(__file__).with_name("fashion_mnist.md").read_text()
    ours = [[c.strip() for c in row.split("|")] for row in text.splitlines() if row]
    theirs = [[c.strip() for c in r.split("|")] for r in page.splitlines() if r.startswith("|")]
    assert ours[2:] == theirs[2:]
