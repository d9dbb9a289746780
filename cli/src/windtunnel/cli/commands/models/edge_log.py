"""`windtunnel log`: what the monitor in an app recorded: shown, compared, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from windtunnel.cli.commands.options import threshold_option
from windtunnel.cli.io.console import json_option, print_json, say
from windtunnel.cli.io.files import require_file, write_file_whole, write_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from windtunnel.diagnosis.recording.edge_log import EdgeSession

_PATH: Final = click.Path(path_type=Path)
_session_option = click.option("--session", metavar="NAME", help="Only this session, as `log show` names it.")


@click.group("log")
def log() -> None:
    """Shows, compares and exports edge logs: what the monitor in an app recorded on a device.

    LOG is a .mcap file, or a folder with the files of one or more sessions.

    \b
    windtunnel log show edge-log/
    windtunnel log diff good-phone/ bad-phone/
    windtunnel log export edge-log/ --npz edge.npz
    """


@log.command("show")
@click.argument("path", metavar="LOG", type=_PATH)
@_session_option
@json_option
def show(path: Path, session: str | None, as_json: bool) -> int:
    """Shows sessions, devices, frames, tensors with statistics, latencies, sensors, and what is missing.

    Exit code 0: shown; 2: nothing in the log can be read; 64: wrong usage. Damaged or missing parts do not change the
    exit code: they are listed under "missing".

    \b
    windtunnel log show edge-log/
    windtunnel log show 20261130T153000-812-9f3c-000001.mcap
    windtunnel log show edge-log/ --json | jq '.sessions[].gaps'
    """
    from windtunnel.diagnosis.edge_logs.summary import summary_document

    document = summary_document(_sessions(path, session), str(path))
    if as_json:
        print_json(document)
        return 0
    from rich.console import Console

    from windtunnel.cli.report.edge_log.show_text import render_log

    render_log(document, Console())
    return 0


@log.command("diff")
@click.argument("first", type=_PATH)
@click.argument("second", type=_PATH)
@threshold_option("nRMSE above which a tensor diverges.")
@json_option
def diff(first: Path, second: Path, threshold: float, as_json: bool) -> int:
    """Compares two edge logs of the same samples, frame by frame and tensor by tensor.

    FIRST is the reference, SECOND the candidate; each has one session. Frames of one number belong together. Recorded
    values give exact figures. If a log has only statistics, figures are estimates from its random projections, and the
    table shows their standard deviation.
    Exit code 0: no tensor diverges; 1: a tensor diverges, or has no figure (NaN, another shape, another text); 2: the
    logs could not be compared; 64: wrong usage.

    \b
    windtunnel log diff desktop/ phone/
    windtunnel log diff 4.1/ 4.2/ --threshold 0.01
    windtunnel log diff desktop/ phone/ --json | jq '.first_over'
    """
    from windtunnel.cli.report.edge_log.diff_text import EXITS, diff_document, render_diff
    from windtunnel.diagnosis.edge_logs.compare_sessions import compare_sessions

    sides = _only(first), _only(second)
    document = diff_document(compare_sessions(*sides), sides, (str(first), str(second)), threshold)
    for text in document["notes"]:
        say(text)
    if as_json:
        print_json(document)
    else:
        from rich.console import Console

        render_diff(document, Console())
    return EXITS[document["verdict"]]


@log.command("export")
@click.argument("path", metavar="LOG", type=_PATH)
@click.option("--npz", type=_PATH, help="All values of one session, in the form of edge.npz.")
@click.option("--csv", type=_PATH, help="A table of latencies, statistics, memory and sensors.")
@click.option("--json", "json_file", type=_PATH, help="Everything but the values of tensors.")
@click.option("--perfetto", type=_PATH, help="A trace for https://ui.perfetto.dev: stages, layers, memory, sensors.")
@_session_option
@force_option
def export(
    path: Path,
    npz: Path | None,
    csv: Path | None,
    json_file: Path | None,
    perfetto: Path | None,
    session: str | None,
    force: bool,
) -> int:
    """Writes an edge log in other forms.

    Exit code 0: written; 2: the log cannot be read, or a file cannot be written; 64: wrong usage.

    \b
    windtunnel log export edge-log/ --npz edge.npz
    windtunnel log export edge-log/ --csv latencies.csv --json frames.json
    windtunnel log export edge-log/ --perfetto app.perfetto-trace
    """
    outputs = (npz, csv, json_file, perfetto)
    if not any(outputs):
        raise click.UsageError("give at least one of --npz, --csv, --json and --perfetto")
    require_outputs(outputs, inputs=(path,), force=force)
    sessions = _sessions(path, session)
    if npz is not None:
        _write_npz(sessions, path, npz, force=force)
    if csv is not None:
        _write_csv(sessions, csv, force=force)
    if json_file is not None:
        _write_json(sessions, path, json_file, force=force)
    if perfetto is not None:
        from windtunnel.diagnosis.edge_logs.perfetto_trace import perfetto_trace

        write_whole(perfetto, perfetto_trace(sessions), force=force)
    for output in outputs:
        if output is not None:
            say(f"wrote {output}")
    for gap in dict.fromkeys(gap for one in sessions for gap in one.gaps):
        say(f"missing: {gap}")
    return 0


def _sessions(path: Path, name: str | None) -> tuple[EdgeSession, ...]:
    from windtunnel.diagnosis.recording.read_sessions import read_sessions

    require_file(path, "edge log")
    sessions = read_sessions(path)
    if name is None:
        return sessions
    chosen = tuple(one for one in sessions if one.name == name)
    if not chosen:
        raise NotFound(f"{path} has no session {name!r}", hint=f"it has {_names(sessions)}")
    return chosen


def _names(sessions: tuple[EdgeSession, ...]) -> str:
    more = f" and {len(sessions) - 5} more" if len(sessions) > 5 else ""
    return ", ".join(one.name for one in sessions[:5]) + more


def _only(path: Path) -> EdgeSession:
    sessions = _sessions(path, None)
    if len(sessions) > 1:
        raise InvalidInput(
            f"{path} has {len(sessions)} sessions: {_names(sessions)}",
            hint="give the file of one session, or a folder that has only its files",
        )
    return sessions[0]


def _write_npz(sessions: tuple[EdgeSession, ...], path: Path, out: Path, *, force: bool) -> None:
    from windtunnel.diagnosis.recording.build_recording import build_recording
    from windtunnel.diagnosis.recording.write_npz import write_npz_recording

    if len(sessions) > 1:
        raise click.UsageError(
            f"{path} has {len(sessions)} sessions, and an edge.npz holds one: give --session, one of {_names(sessions)}"
        )
    recording = build_recording(sessions[0], str(path))
    left_out: list[str] = []
    write_file_whole(out, lambda target: left_out.extend(write_npz_recording(recording, target)), force=force)
    for text in [*(f"missing: {gap}" for gap in recording.gaps if gap not in sessions[0].gaps), *left_out]:
        say(text)


def _write_csv(sessions: tuple[EdgeSession, ...], out: Path, *, force: bool) -> None:
    from windtunnel.diagnosis.edge_logs.frame_rows import write_rows

    def write(target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as file:
            write_rows(sessions, file)

    write_file_whole(out, write, force=force)


def _write_json(sessions: tuple[EdgeSession, ...], path: Path, out: Path, *, force: bool) -> None:
    from windtunnel.diagnosis.edge_logs.frames_document import frames_document

    text = json.dumps(frames_document(sessions, str(path)), ensure_ascii=False, allow_nan=False, indent=1)
    write_whole(out, text.encode(errors="replace"), force=force)
