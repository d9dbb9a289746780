"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

# A shell ignores SIGINT in background jobs, nohup ignores SIGHUP; children inherit that. A handler is not inherited:
# every child that a test starts takes these signals as from a terminal, and the tests themselves still ignore them.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# A commit passes or fails the same way each time it is tested. To look for new examples: WINDTUNNEL_TEST_RANDOM=1.
hypothesis.settings.register_profile("repeatable", derandomize=True)
if not os.environ.get("WINDTUNNEL_TEST_RANDOM"):
    hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """`pytest` without paths is the fast offline part: `testpaths`, and of these no heavy test."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.markexpr:
        config.option.markexpr = "not heavy"
