"""Uploads of local files: they become artifacts, since the services may run on another machine."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from windtunnel.artifacts import ArtifactRef, pack
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.pipeline import Pipeline
from windtunnel.pipeline.pipeline_files import Place, beside, named_files, place_words, with_files
from windtunnel.plan import Plan, VariantSpec, parse_plan_text
from windtunnel.plan.read_plan import require_recipe_rules

_SCHEMES = ("s3://", "gs://", "https://", "sha256:", "file://")
# Plans, pipelines and recipes have a few kilobytes; arrays per channel may need more.
_MOST_TEXT: Final = 64 * 1024**2


class FileStore(Protocol):
    """The part of an artifact store that uploads use."""

    async def put_file(self, path: Path) -> ArtifactRef:
        """Stores a regular file.

        Args:
            path: of the file.

        Returns:
            Its name and size.
        """
        ...


def is_uri(text: str) -> bool:
    """Whether a text is a URI that services can fetch, not a local path.

    Args:
        text: path or URI.
    """
    return text.startswith(_SCHEMES)


def find_model(model: str, sha256: str | None = None) -> None:
    """Checks that a model is a URI that services can fetch, or a file or folder on this machine.

    Args:
        model: path or URI.
        sha256: hash of the content, 64 hex digits; required for https://.

    Raises:
        InvalidInput: the hash is missing or not a hash.
        NotFound: there is no such file or folder.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InvalidInput(f"sha256 is {sha256!r:.80}", hint="64 hex digits, as sha256sum prints them")
    if model.startswith("https://") and sha256 is None:
        raise InvalidInput(f"{model} has no sha256", hint="give the SHA-256 of the file with --sha256")
    if is_uri(model):
        return
    if sha256 is not None and "://" not in model:
        raise InvalidInput(f"{model} is a local file, which needs no sha256", hint="leave sha256 out")
    if "://" in model:
        raise InvalidInput(f"{model} cannot be fetched", hint=f"URIs begin with {', '.join(_SCHEMES)}")
    path = Path(model)
    if not path.exists() and not any(_checkpoint_files(path)):
        raise NotFound(f"there is no file or folder {path}", hint="check the path")


def read_plan(path: Path) -> Plan:
    """Reads the plan in a YAML file.

    Args:
        path: of the file.

    Returns:
        The plan.

    Raises:
        InvalidPlan: the plan is not valid; the message has line and column.
        NotFound: there is no such file.
        InvalidInput: the file cannot be read.
    """
    try:
        return parse_plan_text(_read_text(path, "plan"))
    except FileNotFoundError:
        raise NotFound(f"there is no plan {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def _read_text(path: Path, what: str) -> str:
    """The text of a file or pipe; one without an end, such as /dev/zero, is not read forever.

    Raises:
        InvalidInput: it is too large, or not text.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_TEXT + 1)
    if len(content) > _MOST_TEXT:
        raise InvalidInput(f"{path} is larger than {_MOST_TEXT} bytes", hint=f"is it a {what}?")
    return content.decode("utf-8")


async def upload(artifacts: FileStore, path: Path) -> str:
    """Stores a file, folder (as a zip file) or checkpoint prefix.

    Args:
        artifacts: the store.
        path: on this machine.

    Returns:
        The URI of the artifact.

    Raises:
        NotFound: there is no such file or folder.
        InvalidInput: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="windtunnel-upload-") as folder:
        source = checkpoint_folder(path, Path(folder, "checkpoint")) or path
        if source.is_dir():
            if not any(source.iterdir()):
                raise InvalidInput(f"{path} is an empty folder")
            source = pack(source, Path(folder, "packed.zip"))
        if not source.is_file():
            raise NotFound(f"there is no file or folder {path}", hint="check the path")
        return (await artifacts.put_file(source)).uri


def checkpoint_folder(path: Path, folder: Path) -> Path | None:
    """Copies a TF1 checkpoint to a folder.

    Args:
        path: its prefix, or one of its files.
        folder: the new folder.

    Returns:
        `folder`; None: `path` is not a checkpoint.
    """
    files = _checkpoint_files(path)
    if not files:
        return None
    folder.mkdir()
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return folder


def _checkpoint_files(path: Path) -> list[Path]:
    """All files of the TF1 checkpoint that `path` names; empty if it is not a checkpoint."""
    prefix = path.with_suffix("") if path.suffix in (".meta", ".index") else path
    if path.is_dir() or not prefix.parent.is_dir():
        return []
    files = sorted(file for file in prefix.parent.iterdir() if file.name.startswith(f"{prefix.name}."))
    return files if any(file.suffix == ".meta" for file in files) else []


def check_plan_files(plan: Plan, folder: Path) -> None:
    """Checks the files that a plan names on this machine: data sets exist, pipeline and recipes can be read.

    Args:
        plan: to check.
        folder: that relative paths start from.

    Raises:
        NotFound: a file does not exist.
        InvalidInput: a file cannot be read.
        Unsupported: a file has a step or a format that is not supported.
    """
    for field in ("samples", "calibration"):
        value = getattr(plan.data, field)
        if value is not None and not is_uri(value) and not (folder / value).exists():
            raise NotFound(f"data.{field}: there is no {folder / value}", hint="paths are relative to the plan")
    preprocessing = _preprocessing(plan, folder)
    if preprocessing is not None and not isinstance(preprocessing, str):
        Pipeline.parse(preprocessing)
        for place, named in named_files(preprocessing):
            if not is_uri(named) and not Path(named).is_file():
                raise NotFound(
                    f"preprocessing: {place_words(place)}: there is no file {named}",
                    hint="paths are relative to the pipeline.json, or to the plan that holds the pipeline",
                )
    for variant in plan.variants:
        _with_recipe(variant, folder)


def names_local_files(plan: Plan, folder: Path) -> bool:
    """Whether data of the plan, or a file that its pipeline names, is on this machine and must be uploaded.

    Args:
        plan: to check.
        folder: that relative paths start from.

    Raises:
        NotFound: the pipeline.json does not exist.
        InvalidInput: it cannot be read.
    """
    pipeline = _preprocessing(plan, folder)
    named = [path for _, path in named_files(pipeline)] if isinstance(pipeline, Mapping) else []
    return any(path is not None and not is_uri(path) for path in (plan.data.samples, plan.data.calibration, *named))


async def upload_plan_files(artifacts: FileStore, plan: Plan, folder: Path) -> Plan:
    """Uploads the files that a plan names on this machine.

    Args:
        artifacts: the store.
        plan: with local paths.
        folder: that relative paths start from.

    Returns:
        The plan with data replaced by artifacts, and JSON files by their content.
    """
    data: dict[str, Any] = {}
    for field in ("samples", "calibration"):
        value = getattr(plan.data, field)
        data[field] = value if value is None or is_uri(value) else await upload(artifacts, folder / value)
    preprocessing = _preprocessing(plan, folder)
    if isinstance(preprocessing, Mapping):
        uploaded: dict[str, str] = {}

        async def as_artifact(named: str, place: Place) -> str:
            if named not in uploaded:
                uploaded[named] = named if is_uri(named) else await upload(artifacts, Path(named))
            return uploaded[named]

        preprocessing = await with_files(preprocessing, as_artifact)
    variants = tuple(_with_recipe(variant, folder) for variant in plan.variants)
    return dataclasses.replace(
        plan, data=dataclasses.replace(plan.data, **data), preprocessing=preprocessing, variants=variants
    )


def _preprocessing(plan: Plan, folder: Path) -> Mapping[str, Any] | str | None:
    """The pipeline of a plan, with whole paths of the files that it names; a URI stays.

    Raises:
        NotFound: the pipeline.json does not exist.
        InvalidInput: it cannot be read.
    """
    given = plan.preprocessing
    if given is None or (isinstance(given, str) and is_uri(given)):
        return given
    pipeline, beside_it = given, folder
    if isinstance(given, str):
        pipeline, beside_it = _read_json(folder / given), (folder / given).parent
    if not isinstance(pipeline, Mapping):
        raise InvalidInput(f"the pipeline {given} is {type(pipeline).__name__}, not an object")
    uris = [named for _, named in named_files(pipeline) if is_uri(named)]
    return dict(beside(pipeline, beside_it, keep=uris))


def _with_recipe(variant: VariantSpec, folder: Path) -> VariantSpec:
    if variant.recipe_uri is None or is_uri(variant.recipe_uri):
        return variant
    value = _read_json(folder / variant.recipe_uri)
    return dataclasses.replace(variant, recipe=require_recipe_rules(value, variant.name), recipe_uri=None)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path, "pipeline or a recipe"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error
