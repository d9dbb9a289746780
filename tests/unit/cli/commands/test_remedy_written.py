"""What a search found is not lost where it cannot be written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from windtunnel.cli.commands.models import remedy as module
from windtunnel.cli.local.remedy_files import write_remedy
from windtunnel.cli.main import cli
from windtunnel.diagnosis.remedy import Remedy
from windtunnel.errors import InvalidInput


class _Found(SimpleNamespace):
    """A remedy as files."""

    def to_json(self) -> dict[str, Any]:
        return {"verdict": "proven", "remedy": {"recipe": self.recipe}}


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remedy:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "made.tflite").write_bytes(b"model")
    (tmp_path / "made.npz").write_bytes(b"calibration")
    made = _Found(model=tmp_path / "made.tflite", calibration=tmp_path / "made.npz", recipe=[{"regex": ".*"}])
    return cast("Remedy", made)


def test_what_can_be_written_is_and_the_rest_is_kept(
    found: Remedy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "out.tflite"
    taken.write_bytes(b"of another run")
    targets = {"model": taken, "recipe": tmp_path / "r.json", "calibration": None}
    written, failed = write_remedy(found, targets, force=False)
    assert written == {"model": None, "recipe": str(tmp_path / "r.json"), "calibration": None}
    assert len(failed) == 1 and "out.tflite already exists" in failed[0]
    assert taken.read_bytes() == b"of another run"
    (kept,) = (tmp_path / "tmp").iterdir()
    assert str(kept) in capsys.readouterr().err
    contents = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert contents["remedy.tflite"] == b"model"
    assert contents["remedy.calibration.npz"] == b"calibration"
    assert contents["remedy.json"] == (tmp_path / "r.json").read_bytes()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_result_is_printed_before_the_failure_is_told(
    found: Remedy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    out = tmp_path / "out.tflite"
    models = [str(tmp_path / name) for name in ("made.tflite", "variant.tflite", "samples.npz")]
    for model in models[1:]:
        Path(model).write_bytes(b"")

    async def fixed(*_: Any) -> Remedy:
        # Another run ends first.
        out.write_bytes(b"of another run")
        return found

    monkeypatch.setattr(module, "search_remedy", fixed)
    monkeypatch.setattr(
        "windtunnel.cli.report.text.remedy_text.render_remedy", lambda document, console: print("the result")
    )
    with pytest.raises(InvalidInput, match=r"out\.tflite already exists"):
        cli.main(["remedy", *models[:2], "--samples", models[2], "-o", str(out), *options], standalone_mode=False)
    printed = capsys.readouterr().out
    assert '"regex": ".*"' in printed
    assert ("the result" in printed) == (not options)
    assert out.read_bytes() == b"of another run"
