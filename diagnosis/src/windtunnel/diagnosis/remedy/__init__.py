"""The remedy for a variant that loses accuracy: a recipe that is searched, built, run and proven on unseen samples.

`find_remedy` is the use case. `recipe_search` decides what to try; it is pure and drives anything that is a `Bench`.
`candidate_builder` makes and runs candidates in child processes, and `model_timing` measures their latency. `recipes`
writes the rules and reads back whether they apply. `split_samples` draws the samples.
"""

from __future__ import annotations

from windtunnel.diagnosis.remedy.find_remedy import find_remedy
from windtunnel.diagnosis.remedy.measure.model_timing import ThisMachine
from windtunnel.diagnosis.remedy.remedy_result import Remedy
from windtunnel.diagnosis.remedy.search.candidates import Trial

__all__ = ["Remedy", "ThisMachine", "Trial", "find_remedy"]
