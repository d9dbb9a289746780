"""Reads what benchmark tools print into typed measurements.

`parse_log` takes a log of the TFLite or LiteRT benchmark tool, in any of the forms it has had, and gives a `Log`.
`read_results` takes a file of any size, or what a farm left: a folder or an archive of logs and reports.
`measure` turns one run of it, or raw samples, into the figures that a cell of a run is judged by.
"""

from windtunnel.log_parser.domain.log import Delegate, Log, LogError, Memory, Op, RunLog, Stats, UnsupportedOp
from windtunnel.log_parser.use_cases.measure_cell import Latency, Measurement, measure
from windtunnel.log_parser.use_cases.parse_log import parse_log
from windtunnel.log_parser.use_cases.read_results import Results, read_results

__all__ = [
    "Delegate",
    "Latency",
    "Log",
    "LogError",
    "Measurement",
    "Memory",
    "Op",
    "Results",
    "RunLog",
    "Stats",
    "UnsupportedOp",
    "measure",
    "parse_log",
    "read_results",
]
