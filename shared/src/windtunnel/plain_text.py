"""Names and figures as text for people: one way for terminals, pages and messages. Unknown is a dash."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

UNKNOWN: Final = "\u2013"
_NAME_WIDTH: Final = 64


def clean(value: object) -> str:
    """Text as one harmless line: control and direction characters become visible escapes."""
    return "".join(_visible(letter) for letter in str(value))


def _visible(letter: str) -> str:
    if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return letter
    return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"


def named(value: object) -> str:
    """A name, or the dash where there is none."""
    return UNKNOWN if value is None or value == "" else clean(value)


def shorten(text: str, width: int) -> str:
    """At most `width` characters: the middle gives way, since layer names differ at both ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def layer_title(name: object, width: int = _NAME_WIDTH, *, folder: str = "") -> str:
    """A layer's name at most `width` wide; of a fused one, named by its parts, the first with a mark for the others.

    Args:
        name: the name of its output tensor.
        width: in characters.
        folder: a first part that most names share; it gives way to an ellipsis.
    """
    text = clean(name)
    if folder and text.startswith(folder):
        text = f"…/{text[len(folder) :]}"
    first, *others = text.split(";")
    return shorten(text, width) if not others or len(text) <= width else f"{shorten(first, width - 2)};…"


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a figure; a boolean is not one."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(value: Any, pattern: str = ".3g") -> str:
    """A figure by a format pattern; `nan` and `inf` are shown as they are."""
    if not is_number(value):
        return UNKNOWN
    return format(value, pattern) if math.isfinite(value) else str(float(value))


def measure(value: Any) -> str:
    """Milliseconds or megabytes, three digits; decimals stay aligned from 1 upwards."""
    if not is_number(value) or not math.isfinite(value) or abs(value) < 1:
        return figure(value)
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def nrmse_text(value: Any) -> str:
    """An nRMSE."""
    if is_number(value) and 0.001 <= abs(value) < 100:
        return f"{value:.4f}"
    return "0" if is_number(value) and value == 0 else figure(value, ".2g")


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """A nested value as dotted keys and text, for facts whose fields are not known."""
    if isinstance(value, Mapping):
        return [
            row for key, item in value.items() for row in flat(item, f"{path}.{clean(key)}" if path else clean(key))
        ]
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            return [row for number, item in enumerate(value[:8]) for row in flat(item, f"{path}[{number}]")]
        shown = ", ".join(_scalar(item) for item in value[:8])
        return [(path, f"{shown}, … ({len(value)})" if len(value) > 8 else shown or UNKNOWN)]
    return [(path, _scalar(value))]


def _scalar(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return figure(value, ".6g") if isinstance(value, float) else clean(value)
