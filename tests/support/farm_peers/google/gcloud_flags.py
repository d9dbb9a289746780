"""The command line of gcloud, as far as Device Run uses it: what it takes, and how it refuses the rest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# Flags of every command; True: they take no value.
_WIDE = {"project": False, "format": False, "quiet": True, "verbosity": False, "account": False, "log-http": True,
         "billing-project": False, "impersonate-service-account": False, "configuration": False}  # fmt: skip
_SESSION = {"location": False}
_LIST = {"filter": False, "limit": False, "page-size": False, "sort-by": False, "uri": True}
_SUBMIT = dict.fromkeys(
    (
        "device",
        "executable",
        "bucket-name",
        "bugreport",
        "coordinates",
        "dumpsys",
        "executable-args",
        "executable-env-vars",
        "executable-timeout",
        "flaky-test-attempts",
        "labels",
        "locale",
        "location",
        "orientation",
        "other-files-to-push",
        "paths-to-pull",
        "video",
    ),
    False,
) | {"async": True}


@dataclass(frozen=True)
class Command:
    """A command: its own flags, those that must be there, and the name of its positional argument."""

    flags: Mapping[str, bool]
    required: tuple[str, ...] = ()
    positional: str = ""


COMMANDS: Mapping[tuple[str, ...], Command] = {
    ("devices", "list"): Command({**_SESSION, **_LIST}),
    ("devices", "describe"): Command(_SESSION, positional="DEVICE"),
    ("sessions", "list"): Command({**_SESSION, **_LIST}),
    ("sessions", "describe"): Command({**_SESSION, "full": True}, positional="SESSION"),
    ("sessions", "wait"): Command(_SESSION, positional="SESSION"),
    ("sessions", "cancel"): Command(_SESSION, positional="SESSION"),
    ("sessions", "submit", "android-executable"): Command(_SUBMIT, ("device", "executable")),
}


class Refused(Exception):
    """gcloud says no: the text of stderr and the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text, self.code = text, code


@dataclass
class Given:
    """A command line that was understood. Flags that are given twice have several values."""

    command: tuple[str, ...]
    flags: dict[str, list[str]] = field(default_factory=dict)
    positional: str = ""

    @property
    def dotted(self) -> str:
        """The command as errors name it."""
        return ".".join(("gcloud", "beta", "device-run", *self.command))

    def value(self, flag: str, default: str = "") -> str:
        """The last value of a flag."""
        return self.flags.get(flag, [default])[-1]

    def values(self, flag: str) -> list[str]:
        """All values of a flag that takes a list."""
        return [item for text in self.flags.get(flag, []) for item in split_list(text)]

    def pairs(self, flag: str) -> dict[str, str]:
        """The values of a flag that takes KEY=VALUE pairs. Raises Refused."""
        found = {}
        for item in self.values(flag):
            key, equals, value = item.partition("=")
            if not equals:
                raise self.refuse(
                    f"argument --{flag}: Bad syntax for dict arg: [{item}]. Please see `gcloud topic flags-file`"
                )
            found[key] = value
        return found

    def refuse(self, message: str, code: int = 2) -> Refused:
        """An error of this command."""
        return Refused(f"ERROR: ({self.dotted}) {message}\n", code)


def split_list(text: str) -> list[str]:
    """A list as gcloud reads it: by commas, or by the delimiter in ^DELIMITER^ at the beginning."""
    match = re.match(r"\^([^^]+)\^", text)
    delimiter, rest = (match[1], text[match.end() :]) if match else (",", text)
    return rest.split(delimiter) if rest else []


def understand(arguments: Sequence[str]) -> Given:
    """Reads a command line. Raises Refused with exit code 2, as gcloud's argparse does."""
    words = list(arguments)
    if words[:2] != ["beta", "device-run"]:
        where = "gcloud" if not words or words[0] != "beta" else "gcloud.beta"
        raise Refused(f"ERROR: ({where}) Invalid choice: '{(words or [''])[-1]}'.\n", 2)
    for command, about in COMMANDS.items():
        if tuple(words[2 : 2 + len(command)]) == command:
            return _read(Given(command), about, words[2 + len(command) :])
    raise Refused(f"ERROR: (gcloud.beta.device-run) Invalid choice: '{' '.join(words[2:4])}'.\n", 2)


def _read(given: Given, about: Command, words: list[str]) -> Given:
    flags = {**_WIDE, **about.flags}
    unknown, index = [], 0
    while index < len(words):
        word = words[index]
        index += 1
        name, equals, value = word.removeprefix("--").partition("=")
        if word == "-q":
            name, equals, value = "quiet", "", ""
        if not word.startswith("-"):
            if given.positional or not about.positional:
                unknown.append(word)
            given.positional = given.positional or word
        elif name not in flags:
            unknown.append(word)
        elif flags[name]:
            given.flags.setdefault(name, []).append("true")
        elif equals:
            given.flags.setdefault(name, []).append(value)
        elif index < len(words):
            given.flags.setdefault(name, []).append(words[index])
            index += 1
        else:
            raise given.refuse(f"argument --{name}: expected one argument")
    if unknown:
        raise given.refuse(f"unrecognized arguments: {' '.join(map(_meant(flags), unknown))}\n\n{_SEARCH}")
    for name in (*about.required, *filter(None, [about.positional])):
        if name not in given.flags and not (name == about.positional and given.positional):
            shown = name if name == about.positional else f"--{name}"
            raise given.refuse(f"argument {shown}: Must be specified.")
    return given


_SEARCH = "To search the help text of gcloud commands, run:\n  gcloud help -- SEARCH_TERMS"


def _meant(flags: Mapping[str, bool]) -> Callable[[str], str]:
    def words(word: str) -> str:
        close = difflib.get_close_matches(word.removeprefix("--").partition("=")[0], flags, 1)
        return f"{word} (did you mean '--{close[0]}'?)" if close else word

    return words
