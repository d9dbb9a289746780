"""Ready pipelines for the usual families of models: JSON files in `ready`, with the source of each number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from windtunnel.errors import NotFound
from windtunnel.pipeline.read_pipeline import Pipeline

_SIZED: Final = ("resize", "central_crop", "letterbox")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number of a ready pipeline is from."""

    number: str
    source: str


@dataclass(frozen=True, slots=True)
class ReadyPipeline:
    """A pipeline of a family of models. `assumed`: what no source says of the user's own model."""

    name: str
    title: str
    pipeline: Pipeline
    sources: tuple[Source, ...]
    assumed: tuple[str, ...]


def ready_names() -> tuple[str, ...]:
    """The names of all ready pipelines, sorted."""
    return tuple(sorted(_documents()))


def ready_pipeline(name: str) -> ReadyPipeline:
    """A ready pipeline.

    Args:
        name: one of `ready_names`.

    Returns:
        The pipeline with its sources.

    Raises:
        NotFound: there is none of this name; the message has the nearest ones.
    """
    documents = _documents()
    if name not in documents:
        from windtunnel.documents import nearest

        raise NotFound(f"there is no ready pipeline {name[:80]!r}", hint=nearest(name, ready_names()))
    document = documents[name]
    pipeline = {**document["pipeline"], "name": name}
    size = document["sizes"][name]
    if size is not None:
        pipeline["steps"] = [_sized(step, size) for step in pipeline["steps"]]
    sources = tuple(Source(one["number"], one["source"]) for one in document["sources"])
    return ReadyPipeline(name, document["title"], Pipeline.parse(pipeline), sources, tuple(document["assumed"]))


def _sized(step: Mapping[str, Any], size: Sequence[int]) -> dict[str, Any]:
    """A step with the size of the named member of its family."""
    return {**step, "size": list(size)} if step["op"] in _SIZED else dict(step)


@cache
def _documents() -> Mapping[str, Any]:
    """The documents by the names of their pipelines."""
    found: dict[str, Any] = {}
    for file in resources.files("windtunnel.pipeline").joinpath("ready").iterdir():
        if file.name.endswith(".json"):
            document = json.loads(file.read_text(encoding="utf-8"))
            found.update(dict.fromkeys(document["sizes"], document))
    return found
