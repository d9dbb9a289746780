"""Outputs that would destroy each other, an input or a device are refused before the work."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from windtunnel.cli.outputs import require_distinct, require_free
from windtunnel.errors import Conflict


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="named twice"):
        require_distinct((tmp_path / "a.html", None, tmp_path / "b" / ".." / "a.html"), ())


def test_an_output_over_an_input(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="named twice"):
        require_distinct((tmp_path / "samples.npz",), (None, tmp_path / "samples.npz"))


def test_other_names_are_free(tmp_path: Path) -> None:
    require_distinct((tmp_path / "a", tmp_path / "b", None), (tmp_path / "c", None))


@pytest.mark.parametrize("force", [True, False])
def test_a_device_is_not_replaced(force: bool) -> None:
    with pytest.raises(Conflict, match="no plain file"):
        require_free(Path("/dev/null"), force=force)
