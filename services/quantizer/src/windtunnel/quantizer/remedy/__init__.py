"""The remedy for a variant that loses accuracy: a recipe that is searched, built, run and proven on unseen samples.

`mend` is the use case. `search` decides what to try (pure; it drives anything that is a `Bench`), `lab` makes and runs
candidates in child processes, `stopwatch` measures their latency, `recipe` writes the rules and reads back whether they
hit, `split` draws the samples.
"""

from __future__ import annotations

from windtunnel.quantizer.remedy.mend import mend
from windtunnel.quantizer.remedy.result import Remedy
from windtunnel.quantizer.remedy.stopwatch import ThisMachine
from windtunnel.quantizer.remedy.trial import Trial

__all__ = ["Remedy", "ThisMachine", "Trial", "mend"]
