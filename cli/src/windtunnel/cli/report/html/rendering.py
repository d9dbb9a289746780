"""Templates of pages. Text is escaped and its control characters are made visible; only `Markup` is not."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from windtunnel.cli.report.formatting import (
    BAD,
    GOOD,
    UNKNOWN,
    VERDICTS,
    clean,
    figure,
    measure,
    named,
    nrmse_text,
    share,
    shorten,
)
from windtunnel.cli.report.layer_names import layer_title


def render(template: str, **values: Any) -> Markup:
    """Fills a template of the folder `templates`.

    Args:
        template: its file name.
        **values: the names that it uses. A name that is not given is an error, not an empty string.

    Returns:
        The markup. Every text in it is escaped, unless it was `Markup` already.
    """
    return Markup(_environment().get_template(template).render(values))


def tone(verdict: str | None) -> str:
    """The class that colors a verdict.

    Args:
        verdict: of a report or a diagnosis; None: there is none yet.

    Returns:
        good, bad or warn.
    """
    return "good" if verdict in GOOD else "bad" if verdict in BAD else "warn"


def verdict_words(verdict: str | None) -> str:
    """A verdict with its mark, for example "✓ Passed".

    Args:
        verdict: of a report or a diagnosis; None: there is none yet.

    Returns:
        The words; one that is not known is shown as it is.
    """
    mark, words = VERDICTS.get(verdict, ("?", clean(verdict)))
    return f"{mark} {words.capitalize()}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "nrmse_text": nrmse_text,
        "figure": figure,
        "layer_title": layer_title,
        "measure": measure,
        "named": named,
        "share": share,
        "shorten": shorten,
        "tone": tone,
        "verdict_words": verdict_words,
    }
    # A line break in a text would become a visible escape; this one stays.
    made.globals |= {"UNKNOWN": UNKNOWN, "style": Markup(_style()), "newline": Markup("\n")}
    return made


def _style() -> str:
    """The style sheet. It is not a template: its braces are CSS."""
    return resources.files(__package__).joinpath("templates/report.css").read_text(encoding="utf-8")


def _harmless(value: object) -> object:
    """What a template writes for a value: nothing for None, markup unchanged, other text without control characters."""
    if value is None:
        return ""
    return value if isinstance(value, Markup) else clean(value)
