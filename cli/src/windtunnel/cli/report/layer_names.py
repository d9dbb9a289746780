"""Short names of layers that can still be distinguished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from windtunnel.plain_text import clean
from windtunnel.plain_text import layer_title as layer_title


def common_folder(names: Sequence[object]) -> str:
    """The first folder in the paths of most names.

    Args:
        names: of layers.

    Returns:
        The folder with its slash; empty if they do not share one.
    """
    texts = [clean(name) for name in names]
    folders = Counter(f"{text.split('/')[0]}/" for text in texts if "/" in text)
    folder, count = max(folders.items(), key=lambda item: item[1], default=("", 0))
    return folder if len(texts) > 1 and count > len(texts) / 2 else ""
