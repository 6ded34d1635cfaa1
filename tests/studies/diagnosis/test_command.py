import csv
import json
import math

import pytest
import torch
from matplotlib.image import imread

from studies.diagnose import main
from studies.engine.diagnosis.depth_figure import depth_figure
from studies.engine.diagnosis.depths import CURVE, SCALES, measure_depths
from studies.engine.diagnosis.figures import propagation, spectra
from studies.engine.diagnosis.measuring import Batch, measure_all
from studies.engine.diagnosis.options import DiagnoseOptions
from studies.engine.diagnosis.table import gaps_text, layer_table, summary_table
from studies.engine.errors import UserError


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((32, 1, 6, 6), generator=generator)
    return Batch(x, torch.randint(4, (32,), generator=generator), 4)


def test_initialisers_are_measured_beside_their_predictions(tmp_path):
    specs = ["he_normal", "ternary:density=0.5", "gaussian_submatrix"]
    measured, refused = measure_all("mlp:hidden=200-100", specs, batch(), 4)
    assert [one.label for one in measured] == specs
    assert not refused
    he = measured[0]
    theory = {(p.layer, p.quantity): p.predicted for p in he.predictions}
    for statistic in ("second_moment", "chi"):
        found = [d.values(statistic, "weight")["fc2"] for d in he.diagnoses]
        mean = sum(found) / 4
        assert mean == pytest.approx(theory["fc2", statistic], rel=4 * (5 / 100 / 4) ** 0.5)
    assert measured[2].reason
    assert "fc2" in layer_table(he)
    assert "gaussian_submatrix" in summary_table(measured)
    assert "no theory" in gaps_text(measured)
    for path in (
        propagation(measured, "t", tmp_path / "p.png"),
        spectra(measured, "t", tmp_path / "s.png"),
    ):
        assert path is not None
        image = imread(path)
        assert image.std() > 0.05  # not blank
    assert measured[0].summary().keys() >= {"signal_slope", "jacobian_max", "gradient_quotient"}


def test_an_initialiser_that_refuses_is_named_and_the_others_are_measured():
    measured, refused = measure_all(
        "resnet:depth=8", ["gaussian_submatrix", "he_normal"], batch(), 1
    )
    assert [one.label for one in measured] == ["he_normal"]
    assert "residual block" in refused["gaussian_submatrix"]
    assert "Likewise of" in gaps_text(measured)
    with pytest.raises(ValueError, match="residual block"):
        measure_all("resnet:depth=8", ["gaussian_submatrix"], batch(), 1)


def test_trainable_depths_follow_the_theory(tmp_path):
    decays, depths = measure_depths(["he_normal", "gaussian_submatrix"], 60, 100, "relu", 2)
    he, submatrix = depths
    predicted = dict(he.predicted)
    for scale, value in he.measured:
        if scale in (0.8, 1.2):
            # ReLU: chi = scale^2.
            assert value == pytest.approx(6 / abs(math.log(scale**2)), rel=0.15)
    assert [scale for scale, _ in he.measured] == [1.0, 1.0, *SCALES]
    near = min(CURVE, key=lambda m: abs(m - 0.8))
    assert predicted[near] == pytest.approx(6 / abs(math.log(near**2)), rel=1e-6)
    assert [scale for scale, _ in submatrix.measured] == [1.0, 1.0]
    assert submatrix.predicted == ()
    assert decays[0].predicted_gradients == pytest.approx([0.0] * 60, abs=1e-9)
    for measured, theory in zip(
        decays[0].correlations, decays[0].predicted_correlations, strict=True
    ):
        assert measured == pytest.approx(theory, abs=0.15)
    path = depth_figure(decays, depths, (10, 60), "t", tmp_path / "d.png")
    assert imread(path).std() > 0.05


def test_depths_need_no_data():
    with pytest.raises(ValueError, match="--depths measures without data, which lsuv needs"):
        measure_depths(["lsuv"], 5, 10, "relu", 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depths": "200:10"}, "--depths must be LOW:HIGH"),
        ({"depths": "ten"}, "--depths must be LOW:HIGH"),
        ({"input_shape": "3x"}, "--input-shape must be like 3x32x32, got '3x'"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
        ({"num_classes": 1}, "--num-classes must be at least 2"),
    ],
)
def test_options_that_cannot_be(options, sentence):
    with pytest.raises(UserError, match=sentence):
        DiagnoseOptions(**options)


def test_the_command_prints_and_leaves_its_files(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(
            ["--network", "mlp:hidden=20", "--initializers", "he_normal", "glorot_normal",
             "--data", "synthetic", "--input-shape", "6", "--num-classes", "3", "--seeds", "2",
             "--depths", "3:8", "--width", "10", "--output", str(tmp_path / "out"),
             "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
        )  # fmt: skip
    shown = capsys.readouterr()
    assert end.value.code == 0, shown.err
    assert "initialiser" in shown.out
    files = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert files >= {
        "diagnostics.csv", "diagnostics.json", "propagation.png", "jacobian.png", "depths.png",
        "depths.json",
    }  # fmt: skip
    with (tmp_path / "out" / "diagnostics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["initializer"] for row in rows} == {"he_normal", "glorot_normal"}
    assert {row["seed"] for row in rows} == {"0", "1"}
    content = json.loads((tmp_path / "out" / "diagnostics.json").read_text())
    assert content[0]["summary"]["loss"] > 0.0


def test_a_mistake_is_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--initializers", "he_norma", "--output", str(tmp_path)])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
