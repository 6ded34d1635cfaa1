"""A throw-away PostgreSQL server on a loopback port, for tests."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PASSWORD = "s3cret"


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None if there is none."""
    found = shutil.which("pg_ctl")
    if found and shutil.which("initdb", path=str(Path(found).resolve().parent)):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return versions[-1].parent if versions else None


def why_not() -> str | None:
    """What is missing on this machine; None if nothing is."""
    if binaries() is None:
        return "PostgreSQL's programs (initdb, pg_ctl) are not installed"
    if not (importlib.util.find_spec("psycopg2") or importlib.util.find_spec("psycopg")):
        return "no driver for PostgreSQL is installed (pip install psycopg2-binary)"
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """Server, user "study" with a password, and database "study", until `close`."""

    def __init__(self) -> None:
        programs = binaries()
        assert programs is not None
        self._programs = programs
        # The server refuses to run as root, and another user cannot enter pytest's own folders.
        self._user = pwd.getpwnam(_other_user()).pw_name if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.port = free_port()
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            for path in (self.folder, secret):
                shutil.chown(path, self._user)
        data = str(self.folder / "data")
        self._run(
            *("initdb", "-D", data, "-U", "study", "-A", "scram-sha-256", "--no-sync"),
            *("--pwfile", str(secret), "-E", "UTF8", "--locale", "C"),
        )
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "study", "study")

    def url(self, password: str = PASSWORD, database: str = "study") -> str:
        return f"postgresql://study:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._control("start", "-o", f"-p {self.port} -c listen_addresses=127.0.0.1 "
                      f"-c fsync=off -k {self.folder}")  # fmt: skip

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def create_database(self, name: str) -> str:
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "study", name)
        return self.url(database=name)

    def sql(self, database: str, statement: str) -> None:
        self._run(
            *("psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "study"),
            *("-v", "ON_ERROR_STOP=1", "-c", statement, database),
        )

    def close(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, action: str, *options: str) -> None:
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", log, action, *options)

    def _run(self, program: str, *arguments: str) -> None:
        # Not captured: the server inherits the output and would hold a pipe open.
        with (self.folder / "output").open("ab") as output:
            subprocess.run(
                [str(self._programs / program), *arguments],
                check=True,
                timeout=120,
                user=self._user,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "PGPASSWORD": PASSWORD, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


def _other_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
