import subprocess
import sys

import pytest

from studies.engine.secrets import mask

SECRET = "s3cr3t"
# (text with the secret, the same text masked)
SHAPES = [
    (f"postgresql://ada:{SECRET}@db/x", "postgresql://ada:***@db/x"),
    (f"postgresql://ada:{SECRET}@db:5432/x", "postgresql://ada:***@db:5432/x"),
    (f"postgresql+psycopg2://ada:{SECRET}@db/x", "postgresql+psycopg2://ada:***@db/x"),
    (f"mysql+pymysql://ada:{SECRET}@[::1]:3306/x", "mysql+pymysql://ada:***@[::1]:3306/x"),
    (f"https://ada:{SECRET}@mlflow.example.org:5000/a?b=c", None),
    (f"redis://:{SECRET}@cache:6379/0", "redis://:***@cache:6379/0"),
    (f"postgresql://ada:%40{SECRET}%3A%2F@db/x", "postgresql://ada:***@db/x"),
    (f"postgresql://ada:a:{SECRET}:b@db/x", "postgresql://ada:***@db/x"),
    (f"postgresql://ada:a@{SECRET}@db/x", "postgresql://ada:***@db/x"),
    (f"postgresql://ada@server:{SECRET}@db/x", "postgresql://ada@server:***@db/x"),
    (f"postgresql://ada:1/{SECRET}@db/x", "postgresql://ada:***@db/x"),
    (f"postgresql://ada:a?{SECRET}#b@db/x", "postgresql://ada:***@db/x"),
    (f"postgresql://ada:{SECRET}'!$&()*+,;=~@db/x", "postgresql://ada:***@db/x"),
    (f"https://ada:x/{SECRET}@host/path", "https://ada:***@host/path"),
    (f"https://{SECRET}@github.com/a/b.git", "https://***@github.com/a/b.git"),
    (f"git+https://{SECRET}@github.com/a/b.git", "git+https://***@github.com/a/b.git"),
    (f"HTTPS://ADA:{SECRET}@HOST/", "HTTPS://ADA:***@HOST/"),
    (f"postgresql://db/x?user=ada&password={SECRET}", "postgresql://db/x?user=ada&password=***"),
    (f"https://host/p?token={SECRET}&page=2#top", "https://host/p?token=***&page=2#top"),
    (f"https://host/p?a=1&API_KEY={SECRET}", "https://host/p?a=1&API_KEY=***"),
    (f"https://host/p?access_token={SECRET};b=2", "https://host/p?access_token=***;b=2"),
    (f"/relative?sslpassword={SECRET}", "/relative?sslpassword=***"),
    (f"{{'uri': 'mysql://a:{SECRET}@h/d', 'n': 1}}", "{'uri': 'mysql://a:***@h/d', 'n': 1}"),
    (f'{{"uri":"mysql://a:{SECRET}@h/d","m":"a@b"}}', '{"uri":"mysql://a:***@h/d","m":"a@b"}'),
    (f"<mysql://a:{SECRET}@h/d> and (mysql://b:{SECRET}2@h/d).", None),
    (f"a://u:{SECRET}@h/x,b://v:{SECRET}@h/y", "a://u:***@h/x,b://v:***@h/y"),
    (f"cannot reach\nhttp://u:{SECRET}@h\nor ftp://v:{SECRET}@h", None),
]
UNTOUCHED = [
    "",
    "plain text, no address: a@b.org, 12:30, token=5, password=abc",
    "sqlite:////home/ada/mlflow.db",
    "sqlite:///C:/a@b/mlflow.db",
    "http://127.0.0.1:5000/#/experiments/1",
    "http://localhost:5000/users/ada@example.org",
    "postgresql://ada@db:5432/x",
    "ssh://git@github.com/a/b.git",
    "https://host/search?q=a@b&page=2",
    "ternary:density=0.1,scale=1.5",
    "s3://bucket/folder/file@2x.png",
    '{"uri":"postgresql://db:5432/x","mail":"ada@example.org"}',
]


@pytest.mark.parametrize(("text", "masked"), SHAPES)
def test_hides_the_secret_and_keeps_the_rest(text: str, masked: str | None) -> None:
    result = mask(text)
    assert SECRET not in result
    assert "***" in result
    if masked is not None:
        assert result == masked
    assert mask(result) == result


@pytest.mark.parametrize("text", UNTOUCHED)
def test_leaves_other_text_alone(text: str) -> None:
    assert mask(text) == text


def test_every_url_of_a_long_text_is_masked() -> None:
    text = " ".join(f"u{i}://name{i}:{SECRET}{i}@host{i}/p" for i in range(500))
    assert mask(text) == " ".join(f"u{i}://name{i}:***@host{i}/p" for i in range(500))


def test_time_grows_linearly_with_one_long_word() -> None:
    # A quadratic scan of two million characters would run for hours.
    word = "a" * 2_000_000
    assert mask(f"x://h {word}") == f"x://h {word}"


def test_needs_no_heavy_import() -> None:
    code = (
        "import sys, studies.engine.secrets, studies.engine.tracking;"
        "print(sorted({'torch', 'mlflow', 'sqlalchemy', 'lightning'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
