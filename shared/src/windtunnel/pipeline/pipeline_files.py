"""Files that a pipeline.json names: vocabularies and anchors. Next to the file they are paths, in a run artifacts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

Place = tuple[str | int, ...]
_ARTIFACT: Final = "sha256:"


def named_files(pipeline: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """The files that a pipeline names.

    Args:
        pipeline: content of a pipeline.json; it need not be valid.

    Yields:
        The place of each in the document, and the path or URI.
    """
    lists: list[tuple[Place, Any]] = [(("steps",), pipeline.get("steps"))]
    inputs = pipeline.get("inputs")
    if isinstance(inputs, Mapping):
        lists += [(("inputs", name, "steps"), one.get("steps")) for name, one in inputs.items() if _is_object(one)]
    for place, steps in lists:
        for index, step in enumerate(steps if isinstance(steps, (list, tuple)) else ()):
            if _is_object(step) and step.get("op") == "tokenize" and isinstance(step.get("vocabulary"), str):
                yield (*place, index, "vocabulary"), step["vocabulary"]
    after = pipeline.get("postprocess")
    if isinstance(after, Mapping) and isinstance(after.get("anchors"), str):
        yield ("postprocess", "anchors"), after["anchors"]


async def with_files(pipeline: Mapping[str, Any], change: Callable[[str, Place], Awaitable[str]]) -> dict[str, Any]:
    """A pipeline that names other files.

    Args:
        pipeline: content of a pipeline.json.
        change: gives the path or URI for what is named, and its place.

    Returns:
        The content; the given one is not changed.
    """
    result: Any = dict(pipeline)
    for place, named in list(named_files(pipeline)):
        result = _replaced(result, place, await change(named, place))
    changed: dict[str, Any] = result
    return changed


def beside(pipeline: Any, folder: Path, keep: Collection[str] = ()) -> Any:
    """A pipeline whose relative paths start from a folder; URIs of artifacts stay.

    Args:
        pipeline: content of a pipeline.json; what is not an object is given back.
        folder: of the file.
        keep: what else stays as it is.

    Returns:
        The content.
    """
    if not _is_object(pipeline):
        return pipeline
    result: Any = dict(pipeline)
    for place, named in list(named_files(pipeline)):
        if named and named not in keep and not named.startswith(_ARTIFACT):
            result = _replaced(result, place, str(folder.absolute() / named))
    return result


def place_words(place: Place) -> str:
    """The place of a file in a pipeline, for messages.

    Args:
        place: from `named_files`.

    Returns:
        For example "step 2 (tokenize): field 'vocabulary'".
    """
    if place[0] == "postprocess":
        return f"postprocess: field {place[-1]!r}"
    where = f"input {str(place[1])!r}, " if place[0] == "inputs" else ""
    return f"{where}step {place[-2]} (tokenize): field {place[-1]!r}"


def _replaced(value: Any, place: Place, by: str) -> Any:
    """A copy of a document with another text at a place."""
    if not place:
        return by
    copy = list(value) if isinstance(value, (list, tuple)) else dict(value)
    copy[place[0]] = _replaced(value[place[0]], place[1:], by)  # type: ignore[index]
    return copy


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)
