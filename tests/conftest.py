"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell has SIGINT ignored in what it runs in the background, and a child inherits that. A handler is not inherited:
# every child that a test starts takes SIGINT and SIGTERM as from a terminal, and the tests themselves ignore them on.
for _number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)
