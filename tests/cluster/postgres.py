"""A PostgreSQL server of a test's own: Debian's package, a private cluster in a temporary folder, on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interplay.cluster.session import free_port

PASSWORD = "not-a-secret"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, or None if it is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent  # not where links to some of them are
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


@contextmanager
def running_postgres() -> Iterator[str]:
    """A server for this block; its address with neither data base nor password."""
    bin_ = programs()
    assert bin_ is not None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []  # it refuses to be run by root
    if user:
        for path in (folder, secret):
            shutil.chown(path, "nobody")
    port = free_port()
    settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c max_connections=200"
    init = ["initdb", "-D", str(data), "-U", "interplay", "-A", "scram-sha-256", f"--pwfile={secret}"]
    start = ["pg_ctl", "-D", str(data), "-w", "-t", "120", "-l", str(folder / "log"), "-o", settings, "start"]

    def run(command: list[str]) -> None:
        subprocess.run([*user, str(bin_ / command[0]), *command[1:]], check=True, stdout=subprocess.DEVNULL, cwd="/")

    try:
        run(init)
        run(start)
        yield f"postgresql://interplay@127.0.0.1:{port}"
    finally:
        if (data / "postmaster.pid").exists():
            run(["pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def create(server: str, name: str) -> str:
    """Makes a data base; its address, without the password."""
    bin_ = programs()
    assert bin_ is not None
    subprocess.run(
        [str(bin_ / "createdb"), f"--maintenance-db={server}/postgres", name],
        check=True,
        env={"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"]},
    )
    return f"{server}/{name}"
