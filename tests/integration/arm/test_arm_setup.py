"""Building the emulated system: whole or not at all, and again after an interrupt."""

from __future__ import annotations

from pathlib import Path

import pytest

from windtunnel.arm_emulator import ArmHome, build
from windtunnel.arm_emulator import setup as steps
from windtunnel.errors import Unavailable

pytestmark = pytest.mark.heavy


def test_a_build_appears_whole_is_kept_and_goes_on_after_a_failure(
    arm_home: ArmHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = ArmHome(tmp_path / "arm")
    with monkeypatch.context() as patch:
        # The Python packages cannot be had: the Debian packages are there already.
        patch.setattr(steps, "_pip", lambda: ["false"])
        with pytest.raises(Unavailable, match="Python packages"):
            build(home)
    assert not home.root.exists()
    assert list((home.folder / "apt" / "cache" / "archives").glob("*.deb")), "what was downloaded is kept"
    assert not list(home.folder.glob(".making-*")), "nothing half made is left"
    heard: list[float] = []
    build(home, lambda share, text: heard.append(share))
    assert home.python is not None and (home.site / "ai_edge_litert").is_dir()
    assert heard == sorted(heard) and heard[-1] == 1.0
    marker = home.root / "marker"
    marker.touch()
    build(home)
    assert marker.exists(), "a system that is there is not built again"
