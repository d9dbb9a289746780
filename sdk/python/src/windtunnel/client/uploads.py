"""Local files of a submission become artifacts: the services may run elsewhere."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from windtunnel.artifacts import ArtifactStore, pack
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.plan import Plan, VariantSpec
from windtunnel.plan.parse import require_recipe_rules

_SCHEMES = ("s3://", "gs://", "sha256:", "file://")


def is_uri(text: str) -> bool:
    """Whether `text` is a URI that services can fetch, not a local path."""
    return text.startswith(_SCHEMES)


async def upload(artifacts: ArtifactStore, path: Path) -> str:
    """Stores a file, folder (as a zip file) or checkpoint prefix; returns its URI. Raises NotFound."""
    with tempfile.TemporaryDirectory(prefix="windtunnel-upload-") as folder:
        source = _checkpoint(path, Path(folder, "checkpoint")) or path
        if source.is_dir():
            if not any(source.iterdir()):
                raise InvalidInput(f"{path} is an empty folder")
            source = pack(source, Path(folder, "packed.zip"))
        if not source.is_file():
            raise NotFound(f"there is no file or folder {path}", hint="is the path right?")
        return (await artifacts.put_file(source)).uri


def _checkpoint(path: Path, folder: Path) -> Path | None:
    """The files of a TF1 checkpoint that `path` names by prefix or by one of its files, in a folder of their own."""
    prefix = path.with_suffix("") if path.suffix in (".meta", ".index") else path
    files = sorted(prefix.parent.glob(f"{prefix.name}.*")) if prefix.parent.is_dir() else []
    if path.is_dir() or not any(file.suffix == ".meta" for file in files):
        return None
    folder.mkdir()
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return folder


async def upload_plan_files(artifacts: ArtifactStore, plan: Plan, folder: Path) -> Plan:
    """The plan with its local paths (relative to `folder`) replaced: data by artifacts, JSON files by their content."""
    data = {}
    for field in ("samples", "calibration"):
        value = getattr(plan.data, field)
        data[field] = value if value is None or is_uri(value) else await upload(artifacts, folder / value)
    preprocessing = plan.preprocessing
    if isinstance(preprocessing, str) and not is_uri(preprocessing):
        preprocessing = _read_json(folder / preprocessing)
    variants = tuple(_with_recipe(variant, folder) for variant in plan.variants)
    return dataclasses.replace(
        plan, data=dataclasses.replace(plan.data, **data), preprocessing=preprocessing, variants=variants
    )


def _with_recipe(variant: VariantSpec, folder: Path) -> VariantSpec:
    if variant.recipe_uri is None or is_uri(variant.recipe_uri):
        return variant
    value = _read_json(folder / variant.recipe_uri)
    return VariantSpec(variant.name, recipe=require_recipe_rules(value, variant.name))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error
