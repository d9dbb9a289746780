"""logcat and log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from support.farm_peers.phone.calls import Call, Command, Killed
from support.farm_peers.phone.logcat import LEVELS, Log, Selection

_FILTER = re.compile(rf"(\S+):([{LEVELS}S])")


class LogCommands:
    """The commands over one phone's log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def table(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"logcat": self._logcat, "log": self._write}

    def _write(self, call: Call) -> int:
        words, tag, level = call.arguments[1:], "log", "I"
        while len(words) > 1 and words[0] in ("-t", "-p"):
            tag, level = (words[1], level) if words[0] == "-t" else (tag, words[1].upper())
            words = words[2:]
        self._log.write(call.pid, level, tag, " ".join(words))
        return 0

    def _logcat(self, call: Call) -> int:
        words = call.arguments[1:]
        if "-c" in words or "--clear" in words:
            self._log.clear()
            return 0
        chosen, form, dump, last = _options(words)
        seen = 0
        if not chosen.since:
            call.out("".join(f"--------- beginning of {name}\n" for name in ("main",)))
        while True:
            known = len(self._log)
            lines = [getattr(one, form)() for one in self._log.entries(seen) if chosen.takes(one)]
            call.out("".join(f"{line}\n" for line in lines[-last:] if line is not None))
            seen = known
            if dump:
                return 0
            self._log.wait_past(seen, 0.2)
            if call.gone.is_set():
                raise Killed


def _options(words: list[str]) -> tuple[Selection, str, bool, int]:
    """What is wanted, its form, whether to stop at the end, and how many of the last lines."""
    chosen, form, dump, last = Selection(), "threadtime", False, 0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-d":
            dump = True
        elif word == "-v":
            form = {"brief": "brief", "time": "time", "raw": "raw"}.get(rest.pop(0), "threadtime")
        elif word == "-b":
            chosen = replace(chosen, buffers=tuple(rest.pop(0).split(",")))
        elif word in ("-T", "-t"):
            value = rest.pop(0)
            dump = dump or word == "-t"
            last, chosen = (int(value), chosen) if value.isdigit() else (last, replace(chosen, since=value))
        elif word.startswith("--pid"):
            chosen = replace(chosen, pid=int(word.partition("=")[2] or rest.pop(0)))
        elif word == "-s":
            chosen = replace(chosen, tags=(*chosen.tags, ("*", "S")))
        elif found := _FILTER.fullmatch(word):
            chosen = replace(chosen, tags=(*chosen.tags, (found[1], found[2])))
    return chosen, form, dump, last
