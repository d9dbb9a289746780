"""Names and figures as text for people: one way for terminals, pages and messages. Unknown is a dash."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

UNKNOWN: Final = "\u2013"
_NAME_WIDTH: Final = 64


def clean(value: object) -> str:
    """Text as one harmless line.

    Args:
        value: any value; its text is taken.

    Returns:
        Control and direction characters become visible escapes.
    """
    return "".join(_visible(letter) for letter in str(value))


def _visible(letter: str) -> str:
    if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return letter
    return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"


def named(value: object) -> str:
    """A name as text.

    Args:
        value: None or empty: there is none.

    Returns:
        A dash if there is none.
    """
    return UNKNOWN if value is None or value == "" else clean(value)


def shorten(text: str, width: int) -> str:
    """Shortens a text in the middle, since layer names differ at both ends.

    Args:
        text: one line.
        width: most characters.

    Returns:
        With an ellipsis if something was left out.
    """
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def layer_title(name: object, width: int = _NAME_WIDTH, *, folder: str = "") -> str:
    """A layer's name in limited width. A fused layer is named by its parts: the first, with a mark for the others.

    Args:
        name: the name of its output tensor.
        width: in characters.
        folder: a first part that most names share; an ellipsis replaces it.

    Returns:
        One line of at most `width` characters.
    """
    text = clean(name)
    if folder and text.startswith(folder):
        text = f"…/{text[len(folder) :]}"
    first, *others = text.split(";")
    return shorten(text, width) if not others or len(text) <= width else f"{shorten(first, width - 2)};…"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a figure.

    Args:
        value: any value.

    Returns:
        False for a boolean.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(value: Any, pattern: str = ".3g") -> str:
    """A figure as text.

    Args:
        value: anything that is not a number is unknown.
        pattern: a format specification.

    Returns:
        `nan` and `inf` as they are; a dash for unknown.
    """
    if not is_number(value):
        return UNKNOWN
    return format(value, pattern) if math.isfinite(value) else str(float(value))


def measure(value: Any) -> str:
    """Milliseconds or megabytes as text.

    Args:
        value: anything that is not a number is unknown.

    Returns:
        Three digits; decimals stay aligned from 1 upwards.
    """
    if not is_number(value) or not math.isfinite(value) or abs(value) < 1:
        return figure(value)
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def nrmse_text(value: Any) -> str:
    """An nRMSE as text.

    Args:
        value: without unit; anything that is not a number is unknown.

    Returns:
        A dash for unknown.
    """
    if is_number(value) and 0.001 <= abs(value) < 100:
        return f"{value:.4f}"
    return "0" if is_number(value) and value == 0 else figure(value, ".2g")


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """A nested value as rows, for facts whose fields are not known.

    Args:
        value: JSON value.
        path: key of the value itself; empty: it is the whole.

    Returns:
        Dotted keys and texts.
    """
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
