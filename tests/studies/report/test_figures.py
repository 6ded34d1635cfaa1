"""The figures: what they draw, and files that a paper can take."""

import dataclasses
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from initializers import Ternary
from studies.engine.report.figures import Drawing, draw_study, inline_svg, save
from studies.engine.report.figures.course import draw_course
from studies.engine.report.figures.curves import mean_and_half
from studies.engine.report.figures.diagnostics import draw_diagnostics, rank_correlation
from studies.engine.report.figures.search import unscaled_scale
from studies.engine.report.figures.style import COLOURS, house_style, percent_floor, wrapped
from studies.engine.report.stored import StoredStudy, load_study


@pytest.fixture(scope="module")
def study(fashion: Path) -> StoredStudy:
    return load_study(fashion)


@pytest.fixture(scope="module")
def drawings(study: StoredStudy) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in draw_study(study)}


def test_every_figure_is_there_and_says_how_to_read_it(drawings: dict[str, Drawing]) -> None:
    assert list(drawings) == [
        "landscape", "seeds", "differences", "curves", "search", "importance",
    ]  # fmt: skip
    for drawing in drawings.values():
        assert drawing.reading.endswith(".")
        assert drawing.alt.endswith(".")
        assert drawing.figure.get_size_inches()[0] == pytest.approx(3.4)


def test_every_seed_of_every_arm_is_a_point_and_pairs_are_joined(
    study: StoredStudy, drawings: dict[str, Drawing]
) -> None:
    lines = drawings["seeds"].figure.axes[0].lines
    points = [line for line in lines if len(line.get_xdata()) == 10]  # type: ignore[arg-type]
    assert len(points) == 2 * 7
    drawn = sorted(float(x) for line in points[:2] for x in np.asarray(line.get_xdata()))
    pair = ("ternary (tuned)", "Glorot (tuned)")
    assert drawn == pytest.approx(
        sorted(100 * v for a in pair for v in study.accuracies[a].values())
    )
    joins = drawings["seeds"].figure.axes[0].collections
    assert [len(each.get_paths()) for each in joins] == [10] * 7
    ends = joins[0].get_paths()[0].vertices
    seed = min(study.accuracies[pair[0]])
    assert ends[:, 0] == pytest.approx([100 * study.accuracies[arm][seed] for arm in pair])


def test_differences_are_the_comparisons(study: StoredStudy, drawings: dict[str, Drawing]) -> None:
    axes = drawings["differences"].figure.axes[0]
    intervals = [line for line in axes.lines if line.get_linewidth() == 1.6]
    ends = [tuple(np.asarray(line.get_xdata())) for line in intervals]
    rows = study.comparisons.comparisons
    assert ends == [(pytest.approx(c.low), pytest.approx(c.high)) for c in rows]
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == (pytest.approx(-0.5), pytest.approx(0.5))


def test_every_trial_is_a_point_of_the_search(
    study: StoredStudy, drawings: dict[str, Drawing]
) -> None:
    plane = drawings["landscape"].figure.axes[0]
    drawn = {
        (round(float(x), 6), round(float(y), 6))
        for collection in plane.collections
        for x, y in np.asarray(collection.get_offsets())
    }
    own = {
        (round(t.values["density"], 6), round(t.values["scale"], 6))
        for t in study.families["ternary"]
    }
    assert own <= drawn
    star = next(line for line in plane.lines if line.get_marker() == "*")
    assert np.asarray(star.get_xdata())[0] == pytest.approx(0.81, abs=0.005)


def test_on_the_curve_ternary_weights_are_ones() -> None:
    import torch

    for density, fan_in in ((0.25, 64), (1.0, 16)):
        weight = torch.empty(32, fan_in)
        scale = unscaled_scale(density, fan_in)
        layer = torch.nn.Linear(fan_in, 32)
        Ternary(density=density, scale=scale)(layer, seed=0)
        weight = layer.weight.detach()
        assert set(weight.abs().unique().round(decimals=5).tolist()) <= {0.0, 1.0}
        assert float((weight != 0).float().mean()) == density


def test_bands_are_t_intervals_and_ended_runs_leave_them() -> None:
    table = np.array([[1.0, 2.0, 5.0], [3.0, 4.0, np.nan], [5.0, 9.0, np.nan]])
    mean, half = mean_and_half(table)
    assert mean.tolist() == [3.0, 5.0, 5.0]
    expected = student.ppf(0.975, 2) * np.array([2.0, np.sqrt(13)]) / np.sqrt(3)
    assert half[:2] == pytest.approx(expected)
    assert half[2] == 0.0


def test_an_svg_lives_in_a_page(drawings: dict[str, Drawing]) -> None:
    ids: set[str] = set()
    for drawing in drawings.values():
        text = inline_svg(drawing)
        root = ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="x" ', 1))
        assert root.get("role") == "img"
        assert root.get("aria-label") == drawing.alt
        own = set(re.findall(r'\bid="([^"]+)"', text))
        used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
        assert used <= own
        assert not own & ids
        ids |= own
        assert "currentColor" in text
        assert not re.search(r"http(?!://www\.w3\.org/)", text)


def test_files_have_embedded_fonts_enough_dots_and_equal_bytes(
    drawings: dict[str, Drawing], tmp_path: Path
) -> None:
    picture, paper = save(drawings["importance"], tmp_path)
    header = picture.read_bytes()
    width, height = struct.unpack(">II", header[16:24])
    assert width == round(3.4 * 300)
    assert height > 200
    content = paper.read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Type3" not in content
    assert any(b"BT" in zlib.decompress(s) for s in streams if s[:1] == b"x")  # text stays text
    page = [float(n) for n in re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+)", content)[0]]
    assert page[0] == pytest.approx(3.4 * 72)
    before = (header, content)
    save(drawings["importance"], tmp_path)
    assert (picture.read_bytes(), paper.read_bytes()) == before


def lightness(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_from_paper() -> None:
    # Graphical objects need 3:1 by WCAG; Okabe and Ito's lighter ones have marks and lines beside.
    ratios = [1.05 / (lightness(colour) + 0.05) for colour in COLOURS]
    assert min(ratios) > 2
    assert sum(ratio >= 3 for ratio in ratios) >= 5


def test_axes_leave_out_failures_but_not_the_rest() -> None:
    assert percent_floor([0.1, 0.9, 0.95, 0.96]) == pytest.approx(0.96 - 3 * 0.035)
    assert percent_floor([0.9, 0.95]) == 0.9
    assert percent_floor([0.1, 0.96, 0.96, 0.96]) == pytest.approx(0.95)


def test_labels_break_at_commas_or_evenly() -> None:
    assert wrapped("unscaled ternary, He twin") == "unscaled ternary,\nHe twin"
    assert wrapped("one two three four five six") == "one two three\nfour five six"
    assert wrapped("short") == "short"


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30)).round(1)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation(x, -(x**3)) == pytest.approx(-1)
    assert np.isnan(rank_correlation(x, np.ones(30)))


def test_diagnostics_are_drawn_where_they_were_measured(study: StoredStudy) -> None:
    import dataclasses

    assert draw_diagnostics(study) is None
    rows = tuple(
        {**row, "diagnostics.gradient_norm": row["test_accuracy"], "diagnostics.flat": "1"}
        for row in study.rows
    )
    with house_style():
        drawing = draw_diagnostics(dataclasses.replace(study, rows=rows))
    assert drawing is not None
    assert drawing.alt == "gradient norm: rank correlation +1.00."


def test_a_study_with_an_axis_draws_its_outcome_over_it(study: StoredStudy) -> None:
    assert draw_course(study) is None
    at = {"Glorot": "2", "He": "2", "torch default": "50", "unscaled ternary, He twin": "50"}
    family = {"Glorot": "A", "torch default": "A", "He": "B", "unscaled ternary, He twin": "B"}
    rows = tuple(
        {**row, "at.depth": at.get(row["arm"], ""), "family": family.get(row["arm"], "")}
        for row in study.rows
    )
    with house_style():
        drawing = draw_course(dataclasses.replace(study, rows=rows))
    assert drawing is not None
    axes = drawing.figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines if len(line.get_xdata()) == 2}
    assert set(lines) >= {"A", "B"}
    for name, (low, high) in {
        "A": ("Glorot", "torch default"), "B": ("He", "unscaled ternary, He twin"),
    }.items():  # fmt: skip
        means = [100 * study.comparisons.arm(arm).mean for arm in (low, high)]
        assert list(lines[name].get_ydata()) == pytest.approx(means)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "depth"
    # Ten seeds at each of two places of each of two families.
    points = [line for line in axes.lines if line.get_marker() in ("o", "^")]
    assert sum(len(line.get_xdata()) for line in points) == 40
