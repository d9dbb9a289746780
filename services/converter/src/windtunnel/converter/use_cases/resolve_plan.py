"""From what an event says of its plan to the plan of the run: everything read, checked and put into the store.

Then every URI in the plan is an artifact, so that all services see the same bytes, whenever they look.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from windtunnel.artifacts import Artifacts, SourceReader
from windtunnel.bus import Bucket
from windtunnel.datacheck.findings import CONVERSION_QUANTIZED, Finding
from windtunnel.errors import InvalidInput, InvalidPlan, NotFound, UserError
from windtunnel.pipeline import Pipeline
from windtunnel.pipeline.pipeline_files import Place, place_words, with_files
from windtunnel.plan import AS_IT_IS, DEFAULT_PLAN, Plan, VariantSpec, parse_plan_text, plan_from_json
from windtunnel.plan.read_plan import require_recipe_rules
from windtunnel.service.announcement import Announcement
from windtunnel.service.run_inputs import ingest, json_of
from windtunnel.task_names import better

_MAX_TEXT_BYTES = 1024 * 1024


def _expected(plan: Plan, announcement: Announcement) -> float | None:
    """The accuracy that the training reported: what the plan says wins over what the event says.

    Of a task with another main metric it is the figure that the event reports under the name of that metric.
    """
    task, metrics = plan.data.task, announcement.model.metrics
    reported = metrics.get("accuracy" if task is None or task.main == "top1" else task.main)
    if task is not None and (better(task.main) == "lower" or not 0.0 <= (reported or 0.0) <= 1.0):
        # Only shares can be expected.
        reported = None
    return reported if plan.expected_accuracy is None else plan.expected_accuracy


def quantized_finding(asked: Plan, plan: Plan, found: str) -> Finding | None:
    """The finding that the submitted file is quantized and so is its own reference.

    Args:
        asked: the plan as given.
        plan: the same after `named_after_model`.
        found: precision of the model.

    Returns:
        None for a float32 model.
    """
    if found == AS_IT_IS:
        return None
    kept = {variant.name for variant in plan.variants}
    gone = [variant.name for variant in asked.variants if variant.name not in kept]
    message = (
        f"the submitted model is {found} already: there is no float model to compare it with. Variant {found!r} is the "
        "file itself and is compared with itself: accuracy_drop and layer_nrmse say nothing of its quantization"
    )
    if AS_IT_IS in gone:
        message += f". The plan's {AS_IT_IS!r} is replaced by {found!r}"
    others = [name for name in gone if name != AS_IT_IS]
    if others:
        message += f". Not made of a quantized model: {', '.join(others)}"
    return Finding(
        CONVERSION_QUANTIZED,
        message,
        fix="submit the float model to test what quantization changes; for this file set `gates: {accuracy: {min: "
        "...}}` or `expected_accuracy: ...`",
        evidence={"precision": found, "replaced": gone},
    )


@contextmanager
def _fault_of(field: str) -> Iterator[None]:
    """Turns what a user got wrong into an error of the plan that names the field: the model is not at fault.

    Raises:
        InvalidPlan: the user got something wrong.
    """
    try:
        yield
    except InvalidPlan:
        raise
    except UserError as error:
        raise InvalidPlan(error.message, path=field, hint=error.hint) from error


class PlanResolver:
    """Resolves plans with the stores at hand.

    Args:
        artifacts: the store.
        sources: reads URIs.
        plans: the bucket of stored plans.
    """

    def __init__(self, artifacts: Artifacts, sources: SourceReader, plans: Bucket) -> None:
        self._artifacts = artifacts
        self._sources = sources
        self._plans = plans

    async def resolve(self, announcement: Announcement, workdir: Path) -> Plan:
        """The plan to follow.

        Args:
            announcement: of the model.
            workdir: a new folder.

        Returns:
            With every URI replaced by an artifact.

        Raises:
            InvalidPlan: the plan is not valid.
            InvalidInput: what it names cannot be used.
            NotFound: what it names does not exist.
            Unavailable: a store does not answer.
        """
        plan = await self._find(announcement, workdir)
        return dataclasses.replace(
            plan,
            data=dataclasses.replace(
                plan.data,
                samples=await self._ingest(plan.data.samples, workdir, "samples"),
                calibration=await self._ingest(plan.data.calibration, workdir, "calibration"),
            ),
            preprocessing=await self._preprocessing(plan.preprocessing, workdir),
            variants=tuple([await self._variant(variant, workdir) for variant in plan.variants]),
            expected_accuracy=_expected(plan, announcement),
        )

    async def _find(self, announcement: Announcement, workdir: Path) -> Plan:
        if announcement.plan is not None:
            return announcement.plan
        if announcement.plan_uri is not None:
            return parse_plan_text(await self._text(announcement.plan_uri, workdir / "plan"))
        if announcement.plan_name is not None:
            stored = await self._plans.get(announcement.plan_name)
            if stored is None:
                raise NotFound(
                    f"there is no plan {announcement.plan_name!r}",
                    hint="`windtunnel plans list` shows the stored ones",
                    code="unknown_plan",
                )
            return plan_from_json(stored)
        return DEFAULT_PLAN

    async def _preprocessing(self, value: Mapping[str, Any] | str | None, workdir: Path) -> Mapping[str, Any] | None:
        if value is None:
            return None
        with _fault_of("preprocessing"):
            if isinstance(value, str):
                content = json_of(await self._text(value, workdir / "preprocessing"), value)
                pipeline = Pipeline.parse(content).to_json()
                return await with_files(pipeline, partial(self._file_of_pipeline, workdir, value))
            return await with_files(Pipeline.parse(value).to_json(), partial(self._file_of_pipeline, workdir, None))

    async def _file_of_pipeline(self, workdir: Path, pipeline: str | None, named: str, place: Place) -> str:
        """The artifact of a file that a pipeline names: by a URI, or by a path next to the pipeline's own URI.

        Raises:
            InvalidInput: it is a path, and the pipeline has no URI.
        """
        uri = named
        if "://" not in named and not named.startswith("sha256:"):
            if pipeline is None or "://" not in pipeline:
                raise InvalidInput(
                    f"{place_words(place)} is the path {named!r}, which this machine does not have",
                    hint="give a URI, or submit with the CLI, which uploads the file",
                )
            uri = f"{pipeline.rpartition('/')[0]}/{named}"
        # Not the place itself: it may hold the name of an input.
        folder = workdir / f"file-{sha256(repr(place).encode()).hexdigest()[:16]}"
        return (await ingest(self._artifacts, self._sources, uri, folder))[0].uri

    async def _variant(self, variant: VariantSpec, workdir: Path) -> VariantSpec:
        if variant.recipe_uri is None:
            return variant
        value = json_of(await self._text(variant.recipe_uri, workdir / f"recipe-{variant.name}"), variant.recipe_uri)
        rules = require_recipe_rules(value, variant.name)
        return dataclasses.replace(variant, recipe=rules, recipe_uri=None)

    async def _ingest(self, uri: str | None, workdir: Path, name: str) -> str | None:
        if uri is None:
            return None
        with _fault_of(f"data.{name}"):
            return (await ingest(self._artifacts, self._sources, uri, workdir / name))[0].uri

    async def _text(self, uri: str, workdir: Path) -> str:
        workdir.mkdir(parents=True)
        path = await self._sources.open(uri, into=workdir)
        if not path.is_file() or path.stat().st_size > _MAX_TEXT_BYTES:
            raise InvalidInput(f"{uri} is not a text file of at most {_MAX_TEXT_BYTES} bytes")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{uri} is not UTF-8 text: {error}") from error


def named_after_model(plan: Plan, found: str) -> Plan:
    """The plan with its variants named by what the model is.

    A plan's float32 is the converted model as it is. If a .tflite has another precision already, that variant gets its
    name, with its gates. If the plan leaves the variants to Windtunnel, it is the only one.

    Args:
        plan: as given.
        found: precision of the model.

    Returns:
        The plan.
    """
    if found == AS_IT_IS:
        return plan
    wanted = plan.variants[:1] if plan.variants == DEFAULT_PLAN.variants else plan.variants
    variants: dict[str, VariantSpec] = {}
    for variant in wanted:
        name = found if variant.name == AS_IT_IS else variant.name
        variants.setdefault(name, dataclasses.replace(variant, name=name))
    only = {found if name == AS_IT_IS else name: gates for name, gates in reversed([*plan.only.items()])}
    return dataclasses.replace(plan, variants=tuple(variants.values()), only=only)
