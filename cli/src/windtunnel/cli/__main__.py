"""`python -m windtunnel.cli`, and the entry point of `windtunnel`."""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line. A signal during the import ends it at once: there is nothing to clean up."""
    from windtunnel.cli.io.interrupts import ending_signals

    numbers = ending_signals()
    for number in numbers:
        signal.signal(number, _leave)
    from windtunnel.cli.main import main as run

    for number in numbers:
        # Like Ctrl-C: code with temporary files or child processes cleans up.
        signal.signal(number, signal.default_int_handler)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
