"""What a shell completes: run ids, models, variants; nothing if Windtunnel is not running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from windtunnel.metrics_store.adapters.database import open_database
from windtunnel.plan import BUILTIN_VARIANTS


def complete(home: Path, words: str, **environment: str) -> tuple[list[str], str]:
    """What bash completes for the last of `words`, and standard error."""
    parts = words.split(" ")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WINDTUNNEL_")}
    own = {"COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1), "_WINDTUNNEL_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "from windtunnel.cli.main import cli; cli(prog_name='windtunnel')"],
        env={**bare, "WINDTUNNEL_HOME": str(home), **own, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line], done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose database knows two runs."""
    database = open_database(f"sqlite:///{tmp_path / 'metrics.db'}")
    common = "version, model_name, model_version, model_sha256, labels, started_at, started_sure, deadline, state, due"
    with database.engine.begin() as connection:
        for id, model, started in (("r-aaa", "ssd", 1), ("r-abc", "digits", 2)):
            connection.exec_driver_sql(
                f"INSERT INTO runs (run_id, {common}, reasons) VALUES "
                f"('{id}', 1, '{model}', '7', '', '{{}}', {started}, 1, 9, 'running', 0, '[]')"
            )
        connection.exec_driver_sql("INSERT INTO variants (run_id, name, planned) VALUES ('r-aaa', 'int8', 0)")
    database.engine.dispose()
    return tmp_path


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("windtunnel report ", ["r-abc", "r-aaa"]),
        ("windtunnel report r-aa", ["r-aaa"]),
        ("windtunnel watch r-ab", ["r-abc"]),
        ("windtunnel cancel x", []),
        ("windtunnel compare r-aaa r-", ["r-abc", "r-aaa"]),
        ("windtunnel artifacts get r-aaa --variant ", ["int8"]),
        ("windtunnel runs --model s", ["ssd"]),
        ("windtunnel history ", ["digits", "ssd"]),
        ("windtunnel quantize m.tflite --variant int", ["int8", "int16x8"]),
    ],
)
def test_what_a_home_knows(home: Path, words: str, offered: list[str]) -> None:
    assert complete(home, words) == (offered, "")


@pytest.mark.heavy
def test_the_database_that_a_variable_names_is_asked(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    named = {"WINDTUNNEL_DATABASE_URL": f"sqlite:///{home / 'metrics.db'}"}
    assert complete(other, "windtunnel report ", **named) == (["r-abc", "r-aaa"], "")
    # The runs are elsewhere: those of an older database in the home are not offered.
    elsewhere = {"WINDTUNNEL_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}
    assert complete(home, "windtunnel report ", **elsewhere) == ([], "")


def test_the_built_in_variants_that_a_shell_offers_are_those_of_plans(tmp_path: Path) -> None:
    offered, _ = complete(tmp_path, "windtunnel quantize m.tflite --variant ")
    assert offered == list(BUILTIN_VARIANTS)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "words",
    [
        "windtunnel report ",
        "windtunnel plans get ",
        "windtunnel deadletters show ",
        "windtunnel submit m --plan-name ",
    ],
)
def test_where_nothing_runs_there_is_nothing_and_no_word(tmp_path: Path, words: str) -> None:
    assert complete(tmp_path / "none", words) == ([], "")


@pytest.mark.heavy
@pytest.mark.parametrize("words", ["windtunnel report ", "windtunnel plans get ", "windtunnel deadletters show "])
def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path: Path, words: str) -> None:
    # An address of a documentation network: packets to it get no answer at all.
    away = {"WINDTUNNEL_METRICS_STORE_ADDRESS": "192.0.2.1:50051", "WINDTUNNEL_NATS_URL": "nats://192.0.2.1:4222"}
    began = time.monotonic()
    assert complete(tmp_path, words, **away) == ([], "")
    assert time.monotonic() - began < 15


def test_a_damaged_database_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.db").write_bytes(b"not a database, at all" * 100)
    assert complete(tmp_path, "windtunnel report ") == ([], "")
