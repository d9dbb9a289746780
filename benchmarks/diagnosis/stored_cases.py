"""The cases of the fault matrix as stored runs: made and run once, judged again as often as needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from benchmarks.diagnosis.cases import Outcome
from support.architectures import architecture
from support.faults import Case, Spec, make
from windtunnel.errors import WindtunnelError
from windtunnel.isolation import ChildPool

_TIMEOUT_S, _MEMORY_MB, _MOST_JOBS = 600.0, 6000, 400


@dataclass(frozen=True)
class StoredCase:
    """A case of the matrix, and the file of its run.

    `case`: what its diagnosis must say; its models and samples no longer exist. `samples` does.
    """

    case: Case
    run: Path

    @property
    def samples(self) -> Path:
        """The samples on which the models ran."""
        return architecture(self.case.spec.arch).samples

    def outcome(self, document: dict[str, Any]) -> Outcome:
        """Judges a diagnosis of this case; `document`: of `Comparison.to_json`."""
        return Outcome.of(self.case, document)


def store_case(name: str, target: Path, root: Path) -> bool:
    """Makes a case, runs it, and writes `target` (.wtr) and what is expected of it (.json). A job of a child process.

    Args:
        name: of the case.
        target: the file of the run.
        root: the folder of the networks.

    Returns:
        Whether there is such a case.
    """
    from windtunnel.diagnosis import compare_models

    with TemporaryDirectory(prefix="windtunnel-sweep-") as folder:
        case = make(name, Path(folder), root)
        if case is None:
            return False
        compare_models(case.reference, case.candidate, case.samples, save=target)
    _about(target).write_text(json.dumps(_case_json(case)) + "\n")
    return True


async def store_cases(specs: Sequence[Spec], folder: Path) -> list[StoredCase]:
    """The stored runs of the cases in `folder`; makes those that it lacks, and prints each.

    A case that does not exist, or whose run fails, is noted by an empty .json and left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left = [spec for spec in specs if not _about(_file(folder, spec)).is_file()]
    pool = ChildPool(
        preload=("benchmarks.diagnosis.stored_cases", "windtunnel.diagnosis.comparison.compare_models"),
        size=1,
        timeout_s=_TIMEOUT_S,
        memory_mb=_MEMORY_MB,
        max_jobs=_MOST_JOBS,
    )
    async with pool:
        for number, spec in enumerate(left, 1):
            target = _file(folder, spec)
            try:
                made = await pool.run(store_case, spec.name, target, Path(gettempdir()))
            except WindtunnelError as error:
                print(f"{spec.name}: {error}", flush=True)
                made = False
            if not made:
                _about(target).write_text("null\n")
            print(f"[{number} of {len(left)}] {spec.name}: {'stored' if made else 'left out'}", flush=True)
    return list(stored_cases(specs, folder))


def stored_cases(specs: Sequence[Spec], folder: Path) -> Iterator[StoredCase]:
    """The cases of `specs` that the folder has."""
    for spec in specs:
        path = _file(folder, spec)
        kept = json.loads(_about(path).read_text()) if _about(path).is_file() else None
        if kept is not None:
            yield StoredCase(_case(spec, kept, path), path)


def _file(folder: Path, spec: Spec) -> Path:
    return folder / f"{spec.name.replace('/', '.')}.wtr"


def _about(run: Path) -> Path:
    return run.with_suffix(".json")


def _case_json(case: Case) -> dict[str, Any]:
    plain = replace(case, reference=Path(), candidate=Path(), samples=Path())
    kept = asdict(plain) | {"layers": sorted(case.layers), "op_indices": sorted(case.op_indices)}
    return {key: value for key, value in kept.items() if key not in ("spec", "reference", "candidate", "samples")}


def _case(spec: Spec, kept: dict[str, Any], path: Path) -> Case:
    return Case(
        spec,
        path,
        path,
        path,
        tuple(kept["codes"]),
        frozenset(kept["layers"]),
        frozenset(kept["op_indices"]),
        kept["what"],
        kept["effect"],
        kept["noise"],
    )
