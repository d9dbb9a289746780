"""`windtunnel parse-log`: benchmark logs as JSON or a table."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from windtunnel.cli.io.console import json_option, print_json
from windtunnel.cli.io.files import require_file
from windtunnel.errors import InvalidInput

# How many unrecognized lines the text has without --unrecognized.
_SHOWN: Final = 5


@click.command("parse-log")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--unrecognized", is_flag=True, help="List every line that no rule recognized, with its number.")
@json_option
def parse_log(file: Path, unrecognized: bool, as_json: bool) -> int:
    """Reads a log of the TFLite or LiteRT benchmark tool. FILE "-" is standard input.

    FILE may also be a report in JSON or CSV, or a folder or archive (.zip, .tar, .tar.gz) of logs and reports, such as
    Test Lab results or the customer artifacts of AWS Device Farm. Prefixes of adb logcat, journald, CI systems,
    containers and loggers are removed. Exit code 0: at least one run was read; 2: there is no run.

    \b
    windtunnel parse-log benchmark.txt
    adb logcat -d | windtunnel parse-log - --json
    windtunnel parse-log Customer_Artifacts.zip --unrecognized
    """
    most = None if unrecognized else 0 if as_json else _SHOWN
    with _path_of(file) as path:
        document, lines = _read(path, most)
    if as_json:
        print_json({**document, "unrecognized": lines} if unrecognized else document)
        _require_run(document, file)
        return 0
    _require_run(document, file)
    from rich.console import Console

    from windtunnel.cli.report.text.report_text import render_log

    render_log({**document, "unrecognized": lines}, Console())
    return 0


def _read(path: Path, most: int | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document, and the first lines that were not recognized.

    Args:
        path: log, folder or archive.
        most: how many of the lines; None: all.

    Returns:
        `windtunnel.log/1`, and the lines: `line`, `text`, and `file` of a folder or archive.
    """
    from windtunnel.log_parser import read_results

    lines: list[dict[str, Any]] = []

    def take(file: str, number: int, text: str) -> bool:
        if most is None or len(lines) < most:
            lines.append({"file": file, "line": number, "text": text})
        return most is None or len(lines) < most

    results = read_results(path, None if most == 0 else take)
    if not results.of_folder:
        lines = [{"line": one["line"], "text": one["text"]} for one in lines]
    return results.to_json(), lines


def _require_run(document: dict[str, Any], file: Path) -> None:
    """Checks that a log has a run. The end of a process alone does not make a run.

    Raises:
        InvalidInput: it has none.
    """
    ends = ("crash", "out_of_memory")
    bare = [run for run in document["runs"] if run["error"] and run["error"]["kind"] in ends and not _says_more(run)]
    if len(bare) < len(document["runs"]):
        return
    where = "standard input" if str(file) == "-" else str(file)
    said = f"; it has the error {bare[0]['error']['message']!r:.200}" if bare else ""
    raise InvalidInput(
        f"no benchmark run was found in {where}: {document['unrecognized_lines']} lines were not recognized{said}",
        hint="give the output of benchmark_model, litert-benchmark or the benchmark app, or a logcat that contains it",
    )


def _says_more(run: dict[str, Any]) -> bool:
    """Whether a run has anything but its error."""
    figures = [*run["inference"].values(), *run["warmup"].values(), *run["memory"].values()]
    facts = [run[name] for name in ("model", "model_size_mb", "threads", "init_us", "delegate", "runtime_version")]
    lists = [run[name] for name in ("ops", "top_ops", "other_delegates")]
    return any(value is not None for value in (*figures, *facts)) or any(lists)


@contextmanager
def _path_of(file: Path) -> Iterator[Path]:
    """The file; standard input is kept in one, for a log is read twice."""
    if str(file) != "-":
        require_file(file, "benchmark log")
        yield file
        return
    with tempfile.NamedTemporaryFile(prefix="windtunnel-log-") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield Path(kept.name)
