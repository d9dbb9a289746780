"""`windtunnel parse-log`: benchmark logs as JSON or a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.io.console import json_option, print_json
from windtunnel.cli.io.files import MAX_LOG_BYTES, read_bytes
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    pass


@click.command("parse-log")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@json_option
def parse_log(file: Path, as_json: bool) -> int:
    """Reads a log of the TFLite or LiteRT benchmark tool. FILE "-" is standard input.

    Prefixes of adb logcat, journald, CI systems, containers and loggers are removed. Exit code 0: at least one run was
    read; 2: the file has no run.

    \b
    windtunnel parse-log benchmark.txt
    adb logcat -d | windtunnel parse-log - --json
    """
    from windtunnel.log_parser import parse_log as parse

    document = parse(_log_of(file)).to_json()
    if as_json:
        print_json(document)
        _require_run(document, file)
        return 0
    _require_run(document, file)
    from rich.console import Console

    from windtunnel.cli.report.text.report_text import render_log

    render_log(document, Console())
    return 0


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


def _log_of(file: Path) -> bytes:
    if str(file) != "-":
        return read_bytes(file, "benchmark log", most=MAX_LOG_BYTES)
    content = sys.stdin.buffer.read(MAX_LOG_BYTES + 1)
    if len(content) > MAX_LOG_BYTES:
        raise InvalidInput(f"{file} is larger than {MAX_LOG_BYTES} bytes", hint="is it a benchmark log?")
    return content
