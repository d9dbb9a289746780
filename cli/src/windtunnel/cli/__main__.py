"""`python -m windtunnel.cli`, and the entry point of `windtunnel`."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Runs the command line. Ctrl-C ends it at once while it is being imported: there is nothing to clean up yet."""
    # A shell may have asked that Ctrl-C is ignored: it stays so.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, _leave)
    from windtunnel.cli.main import main as run

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
