"""HTML and SVG that cannot be written unescaped: plain text is escaped, only `Html` is taken as it is."""

from __future__ import annotations

import html
from collections.abc import Iterable

from windtunnel.cli.report.formatting import clean

_VOID = frozenset({"meta", "br"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


NOTHING = Html("")


def text(value: object) -> Html:
    """A value as escaped text; control characters become visible."""
    return value if isinstance(value, Html) else Html(html.escape(clean(value)))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. `class_` gives `class`, `view_box` `view-box` ...; None leaves an attribute out."""
    given = "".join(
        f' {_attribute(key)}="{html.escape(clean(value))}"' for key, value in attributes.items() if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Html:
    """Children one after the other; None is left out."""
    return Html("".join(text(child) for child in children if child is not None))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key != "viewBox" else key
