"""Waiting until the host is quiet enough for a measurement to be repeated."""

from __future__ import annotations

import time
from typing import Final

from windtunnel.farm_dispatcher.adapters.benchmark.host_load import Watch
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Patience
from windtunnel.farm_dispatcher.domain.trust_measurement import load_limit

# Processor time is counted in ticks of 10 ms: a window of this length knows the load to 0.02 cores.
_WINDOW_S: Final = 0.5


class QuietWait:
    """What is left of the patience with a busy host, over all repetitions of one measurement.

    Windtunnel's own work (a comparison, a quantization) is certain to end, so it is waited for longer than for others.

    Args:
        threads: of the measurement.
        patience: the longest waits.
    """

    def __init__(self, threads: int, patience: Patience) -> None:
        self._threads = threads
        self._left = {True: patience.own_s, False: patience.others_s}

    def wait(self) -> None:
        """Returns when the host is quiet, or the patience is used up."""
        # Not at the top: the emulated Python lacks what this needs, and never waits.
        from windtunnel.isolation import progress

        while min(self._left.values()) > 0:
            watch = Watch(with_own=True)
            time.sleep(_WINDOW_S)
            load = watch.load()
            if load.other_cores is None or load.other_cores < load_limit(load.cores, self._threads) / 2:
                return
            is_own = (load.windtunnel_cores or 0.0) > load.other_cores / 2
            self._left[is_own] -= watch.elapsed_s
            progress(0.0, "the host is busy: waiting until the measurement can be repeated")
