"""Names of layers where room is short: what tells them apart stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from windtunnel.cli.report.formatting import clean, shorten

_WIDTH: Final = 64


def layer_title(name: object, width: int = _WIDTH, *, folder: str = "") -> str:
    """A layer's name at most `width` wide; of a fused one, named by its parts, the first with a mark for the others.

    `folder` is what `common_folder` found: it gives way to an ellipsis.
    """
    text = clean(name)
    if folder and text.startswith(folder):
        text = f"…/{text[len(folder) :]}"
    first, *others = text.split(";")
    return shorten(text, width) if not others or len(text) <= width else f"{shorten(first, width - 2)};…"


def common_folder(names: Sequence[object]) -> str:
    """The first part of most names' paths, which tells none of them apart; empty where there is none."""
    texts = [clean(name) for name in names]
    folders = Counter(f"{text.split('/')[0]}/" for text in texts if "/" in text)
    folder, count = max(folders.items(), key=lambda item: item[1], default=("", 0))
    return folder if len(texts) > 1 and count > len(texts) / 2 else ""
