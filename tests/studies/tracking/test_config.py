from pathlib import Path

import pytest

from studies.engine.tracking import TrackingConfig, TrackingError, load_tracking_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; the file lies elsewhere, so that the two can be told apart."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    file = folder / "there" / "mlflow.yaml"
    file.write_text(text)
    return file


def test_the_shipped_file_holds_the_defaults(folder: Path) -> None:
    shipped = Path(__file__).parents[3] / "mlflow.yaml"
    config = load_tracking_config(shipped, env={})
    empty = load_tracking_config(written(folder, ""), env={})
    assert config.tracking_uri == f"sqlite:///{shipped.parent / 'mlflow.db'}"
    assert config.artifact_location == str(shipped.parent / "mlartifacts")
    assert empty.tracking_uri == f"sqlite:///{folder / 'there' / 'mlflow.db'}"
    assert empty.artifact_location == str(folder / "there" / "mlartifacts")
    assert (config.experiment, config.tags) == (empty.experiment, empty.tags) == (None, {})
    # Without a file in the current folder the one beside the package is read.
    assert load_tracking_config(env={}) == config


def test_file_in_the_current_folder_is_found(folder: Path) -> None:
    Path("mlflow.yaml").write_text("experiment: mine\ntags: {runs: 3, fast: true, team: a b}")
    config = load_tracking_config(env={})
    assert config.experiment == "mine"
    assert config.tags == {"runs": "3", "fast": "true", "team": "a b"}
    assert config.database_file == folder / "here" / "mlflow.db"


def test_option_wins_over_environment_over_file(folder: Path) -> None:
    file = written(folder, "tracking_uri: sqlite:///file.db\nexperiment: file")
    env = {"MLFLOW_TRACKING_URI": "sqlite:///env.db", "MLFLOW_EXPERIMENT_NAME": "env"}
    unset = {"MLFLOW_TRACKING_URI": "", "MLFLOW_EXPERIMENT_NAME": ""}
    from_file = load_tracking_config(file, env=unset)
    from_env = load_tracking_config(file, env=env)
    from_option = load_tracking_config(
        file, tracking_uri="sqlite:///option.db", experiment="option", env=env
    )
    here, there = folder / "here", folder / "there"
    assert (from_file.experiment, from_file.database_file) == ("file", there / "file.db")
    assert (from_env.experiment, from_env.database_file) == ("env", here / "env.db")
    assert (from_option.experiment, from_option.database_file) == ("option", here / "option.db")
    # Artefacts of another database than the file's lie beside that database.
    assert from_file.artifact_location == str(there / "mlartifacts")
    assert from_env.artifact_location == str(here / "mlartifacts")
    assert from_option.artifact_location == str(here / "mlartifacts")


def test_artifacts_of_a_server_are_left_to_it(folder: Path) -> None:
    file = written(folder, "artifact_location: files")
    remote = load_tracking_config(file, tracking_uri="http://host:5000", env={})
    local = load_tracking_config(file, env={})
    bucket = load_tracking_config(written(folder, "artifact_location: s3://bucket/a"), env={})
    assert remote.artifact_uri is None
    assert local.artifact_uri == (folder / "there" / "files").as_uri()
    assert bucket.artifact_uri == "s3://bucket/a"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("traking_uri: x", ["mlflow.yaml", "'traking_uri'", "did you mean 'tracking_uri'"]),
        ("zzz: 1", ["'zzz'", "tracking_uri, experiment, artifact_location, tags"]),
        ("experiment: 2024", ["key experiment", "text or null", "int"]),
        ("experiment: ' '", ["key experiment", "empty text"]),
        ("artifact_location: [a]", ["key artifact_location", "list"]),
        ("tags: fast", ["key tags", "{team: vision}", "str"]),
        ("tags: {a: [1]}", ["tag 'a'", "list"]),
        ("tags: {1: a}", ["tag 1", "int"]),
        ("- a", ["tracking_uri", "list"]),
        ("a: [1\nb: 2", ["not valid YAML at line 2, column 2"]),
        ("tags: !!python/object/apply:os.getcwd []", ["not valid YAML", "python/object"]),
        ("tracking_uri: mlflow.db", ["key tracking_uri", "sqlite:///mlflow.db"]),
    ],
)
def test_a_bad_file_is_one_sentence(folder: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(TrackingError) as caught:
        load_tracking_config(written(folder, text), env={})
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_a_missing_file_is_one_sentence() -> None:
    with pytest.raises(TrackingError, match=r"no tracking configuration file 'no/such\.yaml'"):
        load_tracking_config("no/such.yaml", env={})


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("sqlite://mlflow.db", "three slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///100%.db", "must not hold % or ?"),
        ("file:./mlruns", "no file store; write for example sqlite:///mlflow.db"),
        ("file:///a/b", "no file store"),
        ("mlruns", "no file store"),
        ("postgres://host/db", "did you mean postgresql://?"),
        ("htp://host", "did you mean http://?"),
        ("gopher://host", "known are sqlite, postgresql, mysql, mssql, http, https"),
        ("http:///path", "no valid address"),
        ("http://[::1", "no valid address"),
        ("postgresql://u:my secret@host/db", "percent-encoded"),
    ],
)
def test_an_unusable_uri_is_one_sentence(folder: Path, uri: str, part: str) -> None:
    with pytest.raises(TrackingError) as caught:
        load_tracking_config(env={"MLFLOW_TRACKING_URI": uri})
    assert part in str(caught.value)
    assert "environment variable MLFLOW_TRACKING_URI" in str(caught.value)


def test_password_is_kept_for_use_and_hidden_from_view(folder: Path) -> None:
    uri = "postgresql+psycopg2://ada:s3cr3t@db:5432/mlflow"
    config = load_tracking_config(env={"MLFLOW_TRACKING_URI": uri})
    assert config.tracking_uri == uri
    assert config.masked_uri == "postgresql+psycopg2://ada:***@db:5432/mlflow"
    assert "s3cr3t" not in repr(config)
    assert hash(config) == hash(TrackingConfig(uri, None, config.artifact_location, {"a": "b"}))
    with pytest.raises(TrackingError) as caught:
        load_tracking_config(env={"MLFLOW_TRACKING_URI": "foo://ada:s3cr3t@db"})
    assert "s3cr3t" not in str(caught.value)
