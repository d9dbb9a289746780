"""Which signals end a command. Imports nothing of Windtunnel: it is needed before anything else is loaded."""

from __future__ import annotations

import signal
from typing import Final

# Ctrl-C, `kill`, a closed terminal.
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a command, except those that the parent process had it ignore.

    A shell ignores SIGINT for a background job, `nohup` ignores SIGHUP: they stay ignored. SIGTERM always ends it.
    """
    return tuple(one for one in _ENDING if one == signal.SIGTERM or signal.getsignal(one) not in (signal.SIG_IGN, None))
