"""Short names of layers that can still be distinguished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from windtunnel.cli.report.formatting import clean, shorten

_WIDTH: Final = 64


def layer_title(name: object, width: int = _WIDTH, *, folder: str = "") -> str:
    """A layer's name, at most `width` characters. A fused layer has the names of its parts: the first one is shown.

    `folder` is the result of `common_folder`: it is replaced by an ellipsis.
    """
    text = clean(name)
    if folder and text.startswith(folder):
        text = f"…/{text[len(folder) :]}"
    first, *others = text.split(";")
    return shorten(text, width) if not others or len(text) <= width else f"{shorten(first, width - 2)};…"


def common_folder(names: Sequence[object]) -> str:
    """The first folder in the paths of most names; empty if they do not share one."""
    texts = [clean(name) for name in names]
    folders = Counter(f"{text.split('/')[0]}/" for text in texts if "/" in text)
    folder, count = max(folders.items(), key=lambda item: item[1], default=("", 0))
    return folder if len(texts) > 1 and count > len(texts) / 2 else ""
