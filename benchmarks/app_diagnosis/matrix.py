"""The command line of the matrix of apps: which cases, how many at a time, where the results are written."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.app_diagnosis.outcomes import Outcome, diagnose, judged
from benchmarks.app_diagnosis.tables import markdown, summary
from support.app_faults.cases import DOMAINS, make, plan


def main(description: str | None) -> int:
    """Runs the matrix.

    Args:
        description: shown by --help.

    Returns:
        The exit code: 0 if every case was right, or only named.
    """
    arguments = _parser(description).parse_args()
    if arguments.case:
        return _one(arguments.case, arguments.keep)
    if arguments.earlier:
        return _report(arguments, [one for path in arguments.earlier for one in _read(path)])
    names = _chosen(arguments)
    if arguments.list:
        print("\n".join(names))
        return 0
    outcomes: list[Outcome] = []
    for outcome in _run_all(names, arguments.jobs):
        outcomes.append(outcome)
        print(outcome.line(), flush=True)
        if arguments.json:
            _write(arguments.json, outcomes)
    return _report(arguments, outcomes)


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", default=",".join(DOMAINS))
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--all-models", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--from", dest="earlier", type=Path, nargs="+", help="tables of earlier runs' --json files")
    parser.add_argument("--case", help="run this one case")
    parser.add_argument("--keep", type=Path, default=Path("case"), help="where the files of --case stay")
    return parser


def _chosen(arguments: argparse.Namespace) -> list[str]:
    domains = arguments.domain.split(",")
    names = [name for domain in domains for name in plan(domain, arguments.seeds, all_models=arguments.all_models)]
    if arguments.only:
        names = [name for name in names if any(text in name for text in arguments.only.split(","))]
    return names[:: arguments.every]


def _run_all(names: Sequence[str], jobs: int) -> Iterator[Outcome]:
    """In the order of the names. Networks are trained here, one at a time, and commands run at the same time."""
    with TemporaryDirectory(prefix="windtunnel-apps-") as folder, ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda item: _outcome(item[1], Path(folder) / str(item[0])), enumerate(names))


def _outcome(name: str, folder: Path) -> Outcome:
    case = make(name, folder)
    outcome = judged(case, diagnose(case))
    for path in folder.iterdir():
        path.unlink()
    return outcome


def _one(name: str, folder: Path) -> int:
    case = make(name, folder)
    document = diagnose(case)
    (folder / "diagnosis.json").write_text(json.dumps(document, indent=1) + "\n")
    outcome = judged(case, document)
    print(outcome.line())
    print((folder / "expected.json").read_text())
    print(f"files: {folder}")
    return 0 if outcome.right else 1


def _read(path: Path) -> list[Outcome]:
    return [Outcome.from_json(entry) for entry in json.loads(path.read_text())["cases"]]


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    document: dict[str, Any] = {"cases": [one.to_json() for one in outcomes]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def _report(arguments: argparse.Namespace, outcomes: Sequence[Outcome]) -> int:
    print(summary(outcomes))
    if arguments.json:
        _write(arguments.json, outcomes)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(outcomes, time.strftime("%Y-%m-%d")))
    return 0 if all(one.right for one in outcomes) else 1
