"""`windtunnel report` and `windtunnel runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.context import json_option, print_json, run_async, say
from windtunnel.cli.outputs import force_option, require_outputs, write_whole

if TYPE_CHECKING:
    from windtunnel.v1 import metrics_store_pb2


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page to this file.")
@force_option
@json_option
def report(run_id: str, html: Path | None, force: bool, as_json: bool) -> int:
    """Shows the report of RUN: verdict, evidence and cause.

    The exit code is the verdict's: 0 passed, 1 failed, 2 could not run; 0 too while the run still goes on.

    \b
    windtunnel report r-0f3c
    windtunnel report r-0f3c --html report.html
    windtunnel report r-0f3c --json | jq .variants[].accuracy
    """
    require_outputs((html,), inputs=(), force=force)
    return run_async(_report(run_id, html, force=force, as_json=as_json))


async def _report(run_id: str, html: Path | None, *, force: bool, as_json: bool) -> int:
    from windtunnel.cli.home.reading import reading_client
    from windtunnel.cli.submit import exit_code, show_report

    async with reading_client() as client:
        found = await client.run(run_id).report()
    if html is not None:
        from windtunnel.cli.report_html import report_html

        write_whole(html, report_html(dict(found.json)).encode(), force=force)
        say(f"wrote {html}")
    if html is None or as_json:
        show_report(found, as_json=as_json)
    return exit_code(found)


@click.command()
@click.option("--model", help="Only runs of this model.")
@click.option("--state", type=click.Choice(["running", "completed"]), help="Only runs in this state.")
@click.option(
    "--verdict", type=click.Choice(["passed", "failed", "could_not_run"]), help="Only runs with this verdict."
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@json_option
def runs(model: str | None, state: str | None, verdict: str | None, limit: int, as_json: bool) -> None:
    """Lists runs, newest first.

    \b
    windtunnel runs --model ssd --verdict failed
    windtunnel runs --json --limit 1000
    """
    found = run_async(_runs(model or "", state or "", verdict, limit))
    if as_json:
        print_json(found)
        return
    for run in found:
        shown = run["verdict"] or run["state"]
        click.echo(f"{run['run_id']:<24} {shown:<14} {run['model']} {run['version']}  {run['started_at'] or ''}")
    if not found:
        say("no runs")


async def _runs(model: str, state: str, verdict: str | None, limit: int) -> list[dict[str, Any]]:
    from windtunnel.cli.home.reading import reading_client
    from windtunnel.v1 import metrics_store_pb2, types_pb2

    wanted = types_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}") if verdict else types_pb2.VERDICT_UNSPECIFIED
    found: list[dict[str, Any]] = []
    token = ""
    async with reading_client() as client:
        while len(found) < limit:
            request = metrics_store_pb2.ListRunsRequest(
                model_name=model, state=state, verdict=wanted, page_size=min(1000, limit - len(found)), page_token=token
            )
            page = await client.call(client.store.ListRuns, request)
            found += [_run_to_json(run) for run in page.runs]
            token = page.next_page_token
            if not token:
                break
    return found


def _run_to_json(run: metrics_store_pb2.Run) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToJson

    from windtunnel.client.client import verdict_name

    return {
        "run_id": run.run_id,
        "model": run.model_name,
        "version": run.model_version,
        "state": run.state,
        "verdict": verdict_name(run.verdict),
        "started_at": json.loads(MessageToJson(run.started_at)) if run.HasField("started_at") else None,
        "ended_at": json.loads(MessageToJson(run.ended_at)) if run.HasField("ended_at") else None,
    }
