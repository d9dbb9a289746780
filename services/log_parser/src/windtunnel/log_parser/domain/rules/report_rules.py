"""Rules for reports in JSON and CSV: of the game-loop benchmark app, and of `litert-benchmark --result_json`.

A report is a file of its own, or its lines are in a log: the app also prints what it writes.
"""

from __future__ import annotations

import re
from dataclasses import replace

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.log import ErrorKind
from windtunnel.log_parser.domain.rules.printed_numbers import (
    NUMBER,
    in_us,
    may_go_on,
    natural,
    non_negative,
    number,
)
from windtunnel.log_parser.domain.rules.rule import Found, rule
from windtunnel.log_parser.domain.rules.run_facts import Failure, Run

_APP_KEYS = "name|benchmark config|status|average time in us|overall memory usage"
_LITERT_KEYS = (
    "model|model_size_mb|signature|fully_accelerated|num_threads|init_ms|warmup_first_ms|warmup_avg_ms|num_warmup_runs|"
    "avg_ms|min_ms|max_ms|median_ms|std_ms|p5_ms|p95_ms|num_runs|throughput_mb_s"
)
_ITEM = re.compile(
    rf'"(?P<key>{_APP_KEYS}|{_LITERT_KEYS})": ?(?:"(?P<text>(?:[^"\\]|\\.){{0,4096}})"|(?P<number>{NUMBER})|true|false)'
    r"(?=\s*(?:[,}\]]|$))"
)
_ACCELERATOR = re.compile(r'"(NPU|GPU|CPU)"')
_TIME = re.compile(rf"(init|warmup|inference): ({NUMBER})(?=,|$)")
_RESIDENT = re.compile(rf"^max resident set size(?:/physical footprint)? = ({NUMBER}) MB")
_THREADS = re.compile(r"_(\d{1,3})threads?$")
_SERIES = {
    "warmup_first_ms": ("warmup", "first_us"), "warmup_avg_ms": ("warmup", "avg_us"), "avg_ms": ("inference", "avg_us"),
    "min_ms": ("inference", "min_us"), "max_ms": ("inference", "max_us"), "median_ms": ("inference", "median_us"),
    "std_ms": ("inference", "std_us"), "p5_ms": ("inference", "p5_us"), "p95_ms": ("inference", "p95_us"),
}  # fmt: skip
# What begins a report: a line in which a run that has one already ends.
REPORT_HEAD = re.compile(r'^\s*\{?\s*(?:"name": ?"TFLite benchmark"|"model": ?")')


def _app(run: Run, found: Found, line: Line) -> None:
    run.reported = True
    for item in _items(line):
        key, text = item["key"], item["text"] or ""
        if key == "benchmark config":
            _config(run, text)
        elif key == "average time in us":
            _times(run, text)
        elif key == "overall memory usage" and (size := _RESIDENT.match(text)):
            run.memory = replace(run.memory, overall_mb=run.memory.overall_mb or number(size[1]))
        elif key == "status" and text != "OK":
            kind: ErrorKind = "delegate_failed" if "delegate" in text else "other"
            run.fail(Failure(kind, text, fatal=True))


def _config(run: Run, text: str) -> None:
    """The scenario: cpu_4threads, xnnpack_1thread, gpu_fp16, dsp_hexagon, nnapi."""
    run.shows_request = run.beyond_flags = True
    if threads := _THREADS.search(text):
        run.set_threads(natural(threads[1]), 3)
    for key in ("xnnpack", "gpu", "hexagon", "nnapi", "coreml"):
        if key in text:
            run.delegates.request(key)


def _times(run: Run, text: str) -> None:
    times = {item[1]: non_negative(item[2]) for item in _TIME.finditer(text)}
    run.set_init(times.get("init"), 4)
    run.fill("warmup", avg_us=times.get("warmup"))
    run.fill("inference", avg_us=times.get("inference"))
    run.complete = run.complete or times.get("inference") is not None


def _litert(run: Run, found: Found, line: Line) -> None:
    run.reported, run.tool, run.beyond_flags = True, "litert", True
    for item in _items(line):
        _litert_item(run, item["key"], item["text"], item["number"])
    if '"accelerators"' in line.text:
        _accelerators(run, found, line)


def _litert_item(run: Run, key: str, text: str | None, literal: str | None) -> None:
    if key == "model" and text:
        run.set_model(text.replace("\\\\", "\\").replace("\\/", "/"), 3)
    elif key == "model_size_mb":
        run.model_size_mb = run.model_size_mb if run.model_size_mb is not None else non_negative(literal)
    elif key == "num_threads":
        run.set_threads(natural(literal), 3)
    elif key == "init_ms":
        run.set_init(in_us(literal, "ms"), 2)
    elif key == "num_warmup_runs":
        run.fill("warmup", count=natural(literal))
    elif key == "num_runs":
        run.fill("inference", count=natural(literal))
        run.complete = run.inference.avg_us is not None
    elif key in _SERIES:
        _litert_time(run, key, in_us(literal, "ms"))


def _litert_time(run: Run, key: str, value: float | None) -> None:
    series, name = _SERIES[key]
    if series == "warmup":
        run.fill("warmup", **{name: value})
    else:
        run.fill("inference", **{name: value})
    if key == "warmup_first_ms" and run.first_inference_us is None:
        run.first_inference_us = value


def _accelerators(run: Run, found: Found, line: Line) -> None:
    run.shows_request = True
    for name in _ACCELERATOR.finditer(line.text):
        if name[1] != "CPU":
            run.delegates.request(name[1].lower())


def _items(line: Line) -> list[re.Match[str]]:
    """The members in a line, without a number that the end of a cut log may have cut."""
    found = list(_ITEM.finditer(line.text))
    last = found[-1] if found else None
    if last is not None and line.partial and last.end() == len(line.text) and last["number"]:
        found = found[:-1] if may_go_on(last["number"]) else found
    return found


def _csv_head(run: Run, found: Found, line: Line) -> None:
    run.csv_columns = tuple(name.strip() for name in line.text.split(","))
    run.reported = True


_CSV_SERIES = {
    f"{series}_{name}": (series, field)
    for series in ("warmup", "inference")
    for name, field in (("avg", "avg_us"), ("min", "min_us"), ("max", "max_us"), ("stddev", "std_us"))
}


def csv_row(run: Run, line: Line) -> bool:
    """Reads a row of the game-loop app's CSV.

    Args:
        run: that the row is about; its header was seen.
        line: after the header.

    Returns:
        Whether it is a row.
    """
    cells = line.text.strip().split(",")
    if run.csv_columns is None or len(cells) != len(run.csv_columns):
        return False
    if line.partial and may_go_on(cells[-1]):
        cells[-1] = ""
    row = dict(zip(run.csv_columns, cells, strict=True))
    _config(run, row.get("config_key", ""))
    size = non_negative(row.get("model_size"))
    run.model_size_mb = size if run.model_size_mb is None else run.model_size_mb
    run.set_init(non_negative(row.get("init_time")), 4)
    for column, (series, field) in _CSV_SERIES.items():
        if series == "warmup":
            run.fill("warmup", **{field: non_negative(row.get(column))})
        else:
            run.fill("inference", **{field: non_negative(row.get(column))})
    memory = run.memory
    init, overall = number(row.get("init_max_rss")), number(row.get("overall_max_rss"))
    run.memory = replace(
        memory,
        init_mb=init if memory.init_mb is None else memory.init_mb,
        overall_mb=overall if memory.overall_mb is None else memory.overall_mb,
    )
    run.complete = run.complete or run.inference.avg_us is not None
    run.csv_columns = None
    return True


REPORT_RULES = (
    rule('"name"', r'^\s*\{?\s*"name": ?"TFLite benchmark"', _app, "go"),
    rule('": "', r'^\s*\{?\s*"(?:benchmark config|status|average time in us|overall memory usage)": ?"', _app),
    rule('"model"', r'^\s*\{?\s*"model": ?"', _litert, "go"),
    rule('": ', rf'^\s*"(?:latency|{_LITERT_KEYS})": ?[\d"{{tfn-]', _litert),
    rule('"accelerators"', r'^\s*"accelerators": ?\[', _accelerators),
    rule('"', r'^\s*"(?:NPU|GPU|CPU)",?\s*$', _accelerators),
    rule("config_key,", r"^config_key,model_size,init_time,", _csv_head, "go"),
)
