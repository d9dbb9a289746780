"""`windtunnel artifacts`: lists and downloads the files that a run used and made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from windtunnel.cli.commands.completion import complete_runs, complete_variants
from windtunnel.cli.io.console import json_option, print_json, run_async, say
from windtunnel.cli.io.files import create_folder
from windtunnel.cli.io.output_guard import force_option, require_free
from windtunnel.cli.io.progress import progress_bytes

if TYPE_CHECKING:
    from windtunnel.client import Artifact

# The same as windtunnel.client.artifacts.KINDS; importing it would slow every command down.
_KINDS = (
    "trained_model",
    "plan",
    "float_model",
    "variant",
    "diagnosis",
    "app",
    "log",
    "samples",
    "report",
    "edge_log",
    "app_diagnosis",
)
_WHICH = "choose one with --variant and --kind, or download all of them to a folder with -o FOLDER/"
_RUN = click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
_VARIANT = click.option(
    "--variant", help="Only those of this variant, for example int8.", shell_complete=complete_variants
)
_KIND = click.option("--kind", type=click.Choice(_KINDS), help="Only those of this kind.")


@click.group()
def artifacts() -> None:
    """Lists and downloads what a run used and made: models, diagnoses, apps, logs, reports.

    \b
    windtunnel artifacts list r-0f3c
    windtunnel artifacts get r-0f3c --variant int8 -o model.tflite
    """


@artifacts.command("list")
@_RUN
@_VARIANT
@_KIND
@json_option
def list_(run_id: str, variant: str | None, kind: str | None, as_json: bool) -> None:
    """Lists the artifacts of RUN, in the order of the steps.

    \b
    windtunnel artifacts list r-0f3c
    windtunnel artifacts list r-0f3c --variant int8
    windtunnel artifacts list r-0f3c --kind log --json
    """
    found = run_async(_list(run_id, variant or "", kind or ""))
    if as_json:
        print_json([dataclasses.asdict(artifact) for artifact in found])
        return
    for artifact in found:
        click.echo(f"{artifact.kind:<13} {artifact.size_bytes:>12}  {artifact.sha256[:12]}  {artifact.file_name}")
    if not found:
        say("no artifacts")


async def _list(run_id: str, variant: str, kind: str) -> list[Artifact]:
    from windtunnel.cli.home.reading import reading_client

    async with reading_client() as client:
        return await client.run(run_id).artifacts(variant=variant, kind=kind)


@artifacts.command()
@_RUN
@_VARIANT
@click.option("--kind", type=click.Choice(_KINDS), help="Kind of artifact; default with --variant: variant.")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="File, or a folder for all that match; a name that ends in '/' creates it. Default: a fitting name here.",
)
@force_option
@json_option
def get(run_id: str, variant: str | None, kind: str | None, output: str | None, force: bool, as_json: bool) -> None:
    """Downloads artifacts of RUN, verified by SHA-256. A download that was interrupted continues.

    \b
    windtunnel artifacts get r-0f3c --variant int8 -o model.tflite
    windtunnel artifacts get r-0f3c --variant int8 --kind diagnosis -o diagnosis.json
    windtunnel artifacts get r-0f3c --kind log -o logs/
    """
    written = run_async(_get(run_id, variant or "", kind or ("variant" if variant else ""), output, force))
    if as_json:
        print_json([{**dataclasses.asdict(artifact), "path": str(path)} for artifact, path in written])
        return
    for artifact, path in written:
        click.echo(f"{path}  ({artifact.size_bytes} bytes, sha256 {artifact.sha256})")


async def _get(run_id: str, variant: str, kind: str, output: str | None, force: bool) -> list[tuple[Artifact, Path]]:
    from windtunnel.cli.home.reading import reading_client
    from windtunnel.client.artifacts import download

    async with reading_client() as client:
        found = await client.run(run_id).artifacts(variant=variant, kind=kind)
        what = " ".join(filter(None, ("artifact", kind and f"of kind {kind}", variant and f"of variant {variant!r}")))
        if found and output is not None and output.endswith("/"):
            create_folder(Path(output))
        targets = _targets(found, f"{what} in run {run_id}", None if output is None else Path(output))
        for _, target in targets:
            require_free(target, force=force)
        for artifact, target in targets:
            with progress_bytes(target.name) as progress:
                await download(client.served, artifact, target, force=force, on_progress=progress)
    return targets


def _targets(found: Sequence[Artifact], what: str, output: Path | None) -> list[tuple[Artifact, Path]]:
    """The path for each artifact. Raises NotFound if there is none, InvalidInput if there are several for one file."""
    from windtunnel.client.artifacts import one_of

    if output is None or not output.is_dir():
        artifact = one_of(found, what, _WHICH)
        return [(artifact, output or Path(artifact.file_name))]
    if not found:
        one_of(found, what)
    # Artifacts with the same file name: different ones, or one that two steps of the run made.
    named: dict[Path, Artifact] = {}
    for artifact in found:
        path = output / artifact.file_name
        if path in named and named[path].sha256 != artifact.sha256:
            path = path.with_name(f"{path.stem}-{artifact.sha256[:8]}{path.suffix}")
        named[path] = artifact
    return [(artifact, path) for path, artifact in named.items()]
