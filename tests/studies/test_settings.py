"""What a study sets by itself: per data set, for --quick, at each of its places."""

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from studies.engine.cli import command_line
from studies.engine.errors import UserError
from studies.engine.run import Arm
from studies.engine.settings import settings_for, sittings
from studies.engine.study import Study
from tests.studies.conftest import environment

ONE = Study(
    name="one",
    title="One",
    question="Is it so?",
    claim="it is",
    arms=(Arm("a", {"name": "he_normal"}), Arm("b", {"name": "glorot_normal"})),
    families=(),
    comparisons=(("a", "b"),),
    primary=(("a", "b"),),
    data="mnist",
    recipes={"mnist": {"epochs": 7, "seeds": 30}, "digits": {"seeds": 9}},
    quick={"seeds": 3, "train_limit": 500},
)
TWO = dataclasses.replace(
    ONE,
    data="all",
    places=({"data": "mnist", "epochs": 2}, {"data": "digits", "network": "conv2"}),
)


def test_full_quick_and_the_users_word() -> None:
    (full,) = sittings(ONE, [])
    assert (full.options.data, full.options.epochs, full.options.seeds) == ("mnist", 7, 30)
    (quick,) = sittings(ONE, ["--quick", "--epochs", "4"])
    chosen = quick.options
    assert (chosen.epochs, chosen.seeds, chosen.train_limit) == (4, 3, 500)
    (other,) = sittings(ONE, ["--data=digits"])
    assert (other.options.epochs, other.options.seeds) == (None, 9)
    assert settings_for(ONE, "cifar10", quick=False) == {"data": "cifar10"}


def test_the_command_names_only_what_the_study_does_not_set() -> None:
    (sitting,) = sittings(ONE, ["--quick", "--seeds", "5", "--lr", "0.1"])
    line = command_line("studies.one", sitting.options, sitting.defaults)
    assert line == "python -m studies.one --lr 0.1 --seeds 5 --quick"
    (again,) = sittings(ONE, shlex.split(line)[3:])
    assert again.options == sitting.options
    (other,) = sittings(ONE, ["--data", "digits"])
    line = command_line("studies.one", other.options, other.defaults)
    assert line == "python -m studies.one --data digits"


def test_places_come_one_after_the_other_and_each_can_be_had_alone() -> None:
    first, second = sittings(TWO, ["--output", "here"])
    assert (first.options.data, first.options.epochs) == ("mnist", 2)
    assert (second.options.data, second.options.network) == ("digits", "conv2")
    assert first.options.output == str(Path("here") / "mnist-lenet_300_100")
    assert second.options.output == str(Path("here") / "digits-conv2")
    (alone,) = sittings(TWO, ["--data", "digits"])
    assert (alone.options.network, alone.options.seeds) == ("conv2", 9)
    # With a network named it is a place of the user's own.
    (own,) = sittings(TWO, ["--data", "mnist", "--network", "conv4"])
    assert (own.options.network, own.options.epochs) == ("conv4", 7)


def test_the_command_of_a_place_repeats_that_place() -> None:
    for sitting in sittings(TWO, []):
        line = command_line("studies.two", sitting.options, sitting.defaults)
        (again,) = sittings(TWO, shlex.split(line)[3:])
        assert again.options == sitting.options


def test_data_and_quick_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("data: digits\nquick: true\nlr: 0.02\n")
    (sitting,) = sittings(ONE, ["--config", str(file)])
    options = sitting.options
    assert (options.data, options.seeds, options.lr, options.quick) == ("digits", 3, 0.02, True)


def test_a_network_for_all_places_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"--network conv4 needs --data too.*mnist, digits"):
        sittings(TWO, ["--network", "conv4"])


def test_places_and_all_belong_together() -> None:
    with pytest.raises(ValueError, match="belong together"):
        dataclasses.replace(ONE, data="all")


def test_a_study_elsewhere_is_called_by_its_own_name(tmp_path: Path) -> None:
    assert ONE.module == "studies.one"
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    text = Path(__file__).parents[2].joinpath("studies", "ternary_sparsity.py").read_text()
    (package / "own.py").write_text(text)
    shown = subprocess.run(
        [sys.executable, "-m", "my_package.own", "--help"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.startswith("usage: python -m my_package.own ")
