"""Which signals end a command. Without imports of ours: it is needed before anything else is loaded."""

from __future__ import annotations

import signal
from typing import Final

# Ctrl-C, `kill`, a terminal that is closed.
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> tuple[signal.Signals, ...]:
    """Those that whoever started the process did not have ignored.

    A shell has SIGINT ignored in a background job, `nohup` has SIGHUP ignored: it stays so. SIGTERM always counts.
    """
    return tuple(one for one in _ENDING if one == signal.SIGTERM or signal.getsignal(one) not in (signal.SIG_IGN, None))
