"""What launchers put into the environment, and whether the options fit it."""

import pytest

from studies.engine.devices import check_devices
from studies.engine.errors import UserError
from studies.engine.options import StudyOptions
from studies.engine.run import Environment, Recipe
from studies.engine.world import SINGLE, World, crew, first_host, launched_rank, launched_world

ELASTIC = {
    "TORCHELASTIC_RUN_ID": "1",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "gpu07",
    "MASTER_PORT": "29400",
}
SLURM = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-09,12],login",
}
# What a batch script sees beside the variables of its job's name and folder (SLURM 22.05).
BATCH = {
    "SLURM_JOB_ID": "1234",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


def test_a_process_without_a_launcher_is_alone() -> None:
    assert launched_world({}) == SINGLE == World()
    assert launched_rank({}) is None


@pytest.mark.parametrize(
    ("extra", "launcher"),
    [
        ({}, "torchrun"),
        ({"LT_CLI_USED": "1"}, "fabric run"),
        ({"TERNARY_STUDIES_LAUNCHER": "lightning run"}, "lightning run"),
    ],
)
def test_the_elastic_launcher(extra: dict[str, str], launcher: str) -> None:
    world = World(5, 1, 8, 4, 2, launcher, "gpu07", 29400)
    assert launched_world(ELASTIC | extra) == world
    # Inside a task of srun, the elastic launcher's world counts.
    assert launched_world(SLURM | ELASTIC | extra) == world
    assert launched_rank(SLURM | ELASTIC) == "5"
    assert world.describe() == f"{launcher} started 8 processes on 2 hosts"


def test_a_world_of_one_process_is_none() -> None:
    one = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    assert launched_world(ELASTIC | one) == SINGLE
    assert launched_world(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) == SINGLE


def test_srun() -> None:
    world = launched_world(SLURM)
    assert world == World(3, 1, 4, 2, 2, "srun", "gpu07", 15000 + 7 * 1234 + 1)
    others = [launched_world(SLURM | {"SLURM_PROCID": str(rank)}) for rank in (2, 3)]
    assert len({(each.address, each.port) for each in others}) == 1
    one_host = SLURM | {"SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": "3"}
    assert launched_world(one_host).address == "127.0.0.1"
    named = SLURM | {"MASTER_ADDR": "gpu09", "MASTER_PORT": "4711"}
    assert (launched_world(named).address, launched_world(named).port) == ("gpu09", 4711)


def test_a_batch_script_without_srun_is_a_single_process() -> None:
    assert launched_world(BATCH) == SINGLE
    assert launched_rank(BATCH) is None


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu07,gpu08", "gpu07"),
        ("gpu[07-09,12],login", "gpu07"),
        ("gpu[3,7]-ib,x", "gpu3-ib"),
        ("rack-1-node[010-020]", "rack-1-node010"),
    ],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host({"SLURM_STEP_NODELIST": hosts}) == first
    assert first_host({"SLURM_JOB_NODELIST": hosts}) == first


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        (ELASTIC | {"RANK": "x"}, "RANK in the environment must be a whole number, got 'x'"),
        (ELASTIC | {"RANK": "8"}, "process 8 of 8"),
        (ELASTIC | {"LOCAL_RANK": "4"}, "4 of 4 on its host"),
        (ELASTIC | {"WORLD_SIZE": "7"}, "equally many processes on every host"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR and MASTER_PORT not"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "5"}, "use --ntasks-per-node"),
        ({**SLURM, "SLURM_STEP_NODELIST": ""}, "names no host"),
    ],
)
def test_an_impossible_environment_is_one_sentence(environ: dict[str, str], what: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        launched_world(environ)
    assert "\n" not in str(caught.value)


FOUR = World(size=4, local_size=2, nodes=2, launcher="srun")


@pytest.mark.parametrize(
    ("world", "options"),
    [
        (SINGLE, {}),
        (SINGLE, {"devices": 1, "workers": 2, "num_nodes": 1}),
        (SINGLE, {"devices": 4, "workers": 1}),
        (FOUR, {}),
        (FOUR, {"devices": 2, "num_nodes": 2, "workers": 1}),
    ],
)
def test_options_that_fit(world: World, options: dict[str, int]) -> None:
    check_devices(StudyOptions(**options), world)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("world", "options", "what"),
    [
        (FOUR, {"devices": 4}, "--devices 4 does not fit: srun started 4 processes on 2 hosts"),
        (FOUR, {"devices": 1}, "which makes 2 devices per host"),
        (FOUR, {"num_nodes": 1}, "--num-nodes 1 does not fit"),
        (World(size=2, local_size=2), {"num_nodes": 2}, "which makes 1 host; leave --num-nodes"),
        (FOUR, {"workers": 2}, "--workers 2 does not go with several devices"),
        (SINGLE, {"devices": 2, "workers": 2}, "start the command several times with one --storag"),
        (SINGLE, {"num_nodes": 2}, "lightning run --num-nodes 2"),
    ],
)
def test_options_that_do_not_fit(world: World, options: dict[str, int], what: str) -> None:
    with pytest.raises(UserError, match=what):
        check_devices(StudyOptions(**options), world)  # type: ignore[arg-type]


def test_no_option_is_below_one() -> None:
    for name in ("devices", "num_nodes"):
        with pytest.raises(UserError, match="must be at least 1, got 0"):
            StudyOptions(**{name: 0})


def test_a_trainer_that_would_train_copies_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from studies.engine.trainer import make_trainer

    recipe = Recipe("digits", "mlp:hidden=4", 1, 10)
    with pytest.raises(ValueError, match=r"2 device\(s\) .* but this process was launched alone"):
        make_trainer(recipe, Environment(accelerator="cpu", devices=2))
    for name, value in ELASTIC.items():
        monkeypatch.setenv(name, value)
    assert crew(1) == "on 8 devices together"
    with pytest.raises(ValueError, match="but torchrun started 8 processes on 2 hosts"):
        make_trainer(recipe, Environment(accelerator="cpu"))
    trainer = make_trainer(recipe, Environment(accelerator="cpu", devices=4, num_nodes=2))
    assert (trainer.world_size, trainer.global_rank, trainer.local_rank) == (8, 5, 1)
    assert (trainer.node_rank, trainer.num_nodes, trainer.num_devices) == (1, 2, 4)


@pytest.mark.parametrize("tasks", [{}, {"SLURM_NTASKS_PER_NODE": "2"}])
def test_a_lone_process_in_a_job_of_several_tasks_trains_alone(
    tasks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch script without srun, in the allocation of a job that has two tasks on two hosts."""
    from studies.engine.trainer import LaunchedWorld, make_trainer

    for name, value in {**BATCH, **tasks}.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(Recipe("digits", "mlp:hidden=4", 1, 10), Environment(accelerator="cpu"))
    assert (trainer.world_size, trainer.global_rank, trainer.num_nodes) == (1, 0, 1)
    # Not SLURM's, which would save and requeue the job at a signal.
    assert isinstance(trainer._accelerator_connector.cluster_environment, LaunchedWorld)
