"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import hypothesis

# A shell ignores SIGINT in background jobs, nohup ignores SIGHUP; children inherit that. A handler is not inherited:
# every child that a test starts takes these signals as from a terminal, and the tests themselves go on ignoring them.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# A commit passes or fails the same way each time it is tested. To look for new examples: WINDTUNNEL_TEST_RANDOM=1.
hypothesis.settings.register_profile("repeatable", derandomize=True)
if not os.environ.get("WINDTUNNEL_TEST_RANDOM"):
    hypothesis.settings.load_profile("repeatable")
