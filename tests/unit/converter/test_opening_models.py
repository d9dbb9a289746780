"""Finding out what a trained model is, and what opens the file of a stranger."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from windtunnel.converter.convert import convert
from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.converter.formats.detect_format import locate
from windtunnel.converter.formats.keras_config import asks_for_code, refuse_code
from windtunnel.converter.use_cases.convert_model import tool_versions
from windtunnel.errors import InvalidInput, NotFound, Unavailable
from windtunnel.isolation import InlinePool


class ClosedPool(InlinePool):
    """Runs no job at all."""

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        raise Unavailable("closed")


def keras_file(path: Path, config: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config)
    return path


def test_a_config_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    bomb = keras_file(tmp_path / "model.keras", b" " * (64 * 1024**2 + 1))
    assert bomb.stat().st_size < 1024**2
    with pytest.raises(InvalidInput, match=r"config\.json of model\.keras is larger than"):
        refuse_code(Source(bomb, Format.KERAS))


def test_a_config_of_a_usual_size_is_read(tmp_path: Path) -> None:
    layers = [{"class_name": "Lambda", "config": {"name": "doubles"}}]
    model = keras_file(tmp_path / "model.keras", json.dumps({"layers": layers}).encode())
    with pytest.raises(InvalidInput, match=r"Lambda layer \(doubles\)") as caught:
        refuse_code(Source(model, Format.KERAS))
    assert "--allow-code" in caught.value.hint


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n" + b"x" * 100, b"no model"])
async def test_the_service_itself_opens_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(content)
    with pytest.raises(Unavailable, match="closed"):
        await convert(tmp_path / "model.h5", tmp_path / "work", ClosedPool())


async def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file or folder"):
        locate(tmp_path / "ckpt" / "model", None, tmp_path)
    with pytest.raises(NotFound, match="there is no file or folder"):
        await convert(tmp_path / "ckpt" / "model", tmp_path / "work", InlinePool())


def test_every_tool_that_makes_the_result_is_in_the_key() -> None:
    assert set(tool_versions()) == {"windtunnel-converter", "tensorflow-cpu", "keras", "ai-edge-litert"}


@pytest.mark.parametrize(
    ("said", "custom"),
    [
        ("TypeError: Could not locate function 'mish'. Make sure custom classes and functions are decorated", True),
        (
            "ValueError: Unknown layer: 'KerasLayer'. Please ensure you are using a `keras.utils.custom_object_scope`",
            True,
        ),
        ("ValueError: Could not interpret activation function identifier: swishy", True),
        ("OSError: Unable to synchronously open file (truncated file: eof = 96)", False),
    ],
)
def test_a_class_or_function_that_keras_does_not_know_asks_for_code(said: str, custom: bool) -> None:
    assert asks_for_code(said) is custom
