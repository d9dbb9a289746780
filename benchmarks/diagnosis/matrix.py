"""The command line of the fault matrix: which cases, how many at a time, where the results are written."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from benchmarks.diagnosis.cases import Outcome, diagnose
from benchmarks.diagnosis.tables import markdown, summary
from support.architectures import APPLICATIONS, SMALL, architecture
from support.faults import Spec, make, plan
from windtunnel.errors import WindtunnelError
from windtunnel.isolation import ChildPool

_TIMEOUT_S, _MEMORY_MB = 600.0, 6000


def chosen(arguments: argparse.Namespace) -> list[Spec]:
    """The cases that the command line asks for."""
    groups = {"small": SMALL, "all": SMALL + APPLICATIONS}
    names = groups.get(arguments.arch) or tuple(arguments.arch.split(","))
    found: list[Spec] = []
    for name in names:
        print(f"# {name}: {architecture(name).folder}", flush=True)
        found += plan(name, seeds=arguments.seeds)
    if arguments.only:
        found = [spec for spec in found if any(text in spec.name for text in arguments.only.split(","))]
    return found[::8] if arguments.quick else found


async def run_all(specs: Sequence[Spec], jobs: int) -> list[Outcome]:
    """Makes and diagnoses every case; prints each as it is known."""
    done: list[Outcome] = []
    left = iter(specs)
    preload = (
        "benchmarks.diagnosis.cases",
        "windtunnel.diagnosis.comparison.compare_models",
        "ai_edge_litert.interpreter",
        "litert_quantizer.quantizer",
    )
    pool = ChildPool(preload=preload, size=jobs, timeout_s=_TIMEOUT_S, memory_mb=_MEMORY_MB, max_jobs=400)

    async def worker() -> None:
        for spec in left:
            outcome = await _one(pool, spec)
            if outcome is not None:
                done.append(outcome)
                print(outcome.line(), flush=True)

    async with pool:
        await asyncio.gather(*(worker() for _ in range(jobs)))
    return done


async def _one(pool: ChildPool, spec: Spec) -> Outcome | None:
    with TemporaryDirectory(prefix="windtunnel-matrix-") as folder:
        case = await pool.run(make, spec.name, Path(folder), Path(gettempdir()))
        if case is None:
            return None
        try:
            found = await pool.run(diagnose, case.reference, case.candidate, case.samples)
        except WindtunnelError as error:
            return Outcome.of(case, {}, str(error))
    return Outcome.of(case, found)


def main(description: str | None) -> int:
    """Runs the matrix; `description` is shown by --help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="small")
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--from", dest="earlier", type=Path, nargs="+", help="tables of earlier runs' --json files")
    arguments = parser.parse_args()
    if arguments.earlier:
        return _report(arguments, [one for path in arguments.earlier for one in _read(path)], 0.0)
    specs = chosen(arguments)
    if arguments.list:
        print("\n".join(spec.name for spec in specs))
        return 0
    began = time.monotonic()
    outcomes = asyncio.run(run_all(specs, arguments.jobs))
    return _report(arguments, outcomes, time.monotonic() - began)


def _read(path: Path) -> list[Outcome]:
    return [Outcome.from_json(entry) for entry in json.loads(path.read_text())["cases"]]


def _report(arguments: argparse.Namespace, outcomes: Sequence[Outcome], seconds: float) -> int:
    print(summary(outcomes, seconds))
    if arguments.json:
        document: dict[str, Any] = {"cases": [one.to_json() for one in outcomes]}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(outcomes))
    return 0
