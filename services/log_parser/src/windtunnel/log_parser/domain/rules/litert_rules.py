"""Rules for LiteRT: the parameters of `litert-benchmark`, and the block of results that it and the C++ tool print."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.log import Replaced
from windtunnel.log_parser.domain.rules.printed_numbers import NUMBER, UNIT, in_us, natural, non_negative, number
from windtunnel.log_parser.domain.rules.rule import Found, rule
from windtunnel.log_parser.domain.rules.run_facts import Failure, Run


def _litert_model(run: Run, found: Found, line: Line) -> None:
    run.tool = "litert"
    if not line.partial:
        run.set_model(found[1].strip(), 3)


def _litert_missing(run: Run, found: Found, line: Line) -> None:
    """The tool looks for the model before it prints anything."""
    run.tool = "litert"
    run.fail(Failure("model_load_failure", line.text.strip(), fatal=True))


def _litert_size(run: Run, found: Found, line: Line) -> None:
    run.tool = "litert"
    run.model_size_mb = run.model_size_mb if run.model_size_mb is not None else non_negative(found[1])


def _litert_threads(run: Run, found: Found, line: Line) -> None:
    run.tool = "litert"
    if not line.partial:
        run.set_threads(natural(found[1]), 3)


def _litert_accelerators(run: Run, found: Found, line: Line) -> None:
    """What is asked for, the best first: "NPU | CPU" asks for the NPU and takes the CPU for what is left."""
    run.tool, run.shows_request = "litert", True
    for name in found[1].lower().split("|"):
        if (key := name.strip()) in ("npu", "gpu"):
            run.delegates.request(key)


def _litert_loaded(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags, run.tool = True, "litert"
    run.set_init(non_negative(found[1], 1000), 1)


def _litert_phase(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags, run.tool = True, "litert"


def _not_compiled(run: Run, found: Found, line: Line) -> None:
    """No compiler plugin: what was to run on the NPU runs elsewhere, unless the log shows its kernels later."""
    run.warnings[line.text.strip()] = None
    if "npu" in run.delegates.requested:
        run.delegates.name("NPU").failed = True


def _not_loaded(run: Run, found: Found, line: Line) -> None:
    run.warnings[line.text.strip()] = None
    key = found[1].lower()
    if key in run.delegates.requested:
        run.delegates.name(found[1]).failed = True


def _traceback(run: Run, found: Found, line: Line) -> None:
    """The Python tool gives up; its last lines say why."""
    run.gave_up = run.gave_up or not run.complete


def _block_start(run: Run, found: Found, line: Line) -> None:
    run.tool, run.block_open, run.block_filled = "litert", True, False


def _block_end(run: Run, found: Found, line: Line) -> None:
    # The line under the title is like the one at the end.
    if run.block_open and run.block_filled:
        run.block_open, run.complete = False, True


def _block_init(run: Run, found: Found, line: Line) -> None:
    run.block_filled = True
    run.set_init(None if line.partial and not found[2] else in_us(found[1], found[2], "ms"), 2)


def _block_timing(run: Run, found: Found, line: Line) -> None:
    run.block_filled = True
    phase, what = found[1].lower(), found[2].lower()
    value = None if line.partial else in_us(found[3], found[4], "ms")
    series: Literal["warmup", "inference"] = "warmup" if phase == "warmup" else "inference"
    if found[5]:
        run.fill(series, count=natural(found[5]))
    run.fill(series, **{f"{what}_us": value})
    if (phase, what) == ("warmup", "first"):
        run.first_inference_us = value
    run.tool = "litert"


def _block_memory(run: Run, found: Found, line: Line) -> None:
    value = number(found[2])
    if found[1] == "Peak memory":
        run.memory = replace(run.memory, peak_mb=value, kind=run.memory.kind or "peak")
    elif found[1] == "Init footprint":
        run.memory = replace(run.memory, init_mb=value, kind="delta")
    else:
        run.memory = replace(run.memory, overall_mb=value, kind="delta")


def _run_model(run: Run, found: Found, line: Line) -> None:
    """`run_model` says no more of what it was asked for than the model."""
    run.tool, run.beyond_flags = "litert", True
    if not line.partial:
        run.set_model(found[1], 3)


def _run_model_count(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags = True
    run.fill("inference", count=natural(found[1]))


_RUN_MODEL = {"First": "first_us", "Slowest": "max_us", "Fastest": "min_us"}


def _run_model_time(run: Run, found: Found, line: Line) -> None:
    run.tool = "litert"
    run.fill("inference", **{_RUN_MODEL[found[1]]: non_negative(found[2])})


def _run_model_average(run: Run, found: Found, line: Line) -> None:
    run.tool = "litert"
    run.fill("inference", avg_us=non_negative(found[1]))


def _run_model_end(run: Run, found: Found, line: Line) -> None:
    run.complete = True


def _partitioned(run: Run, found: Found, line: Line) -> None:
    """What a compiler plugin takes for its accelerator, before it is compiled and applied."""
    run.tool, run.beyond_flags = "litert", True
    if found[1] == "0":
        counts = Replaced(None, natural(found[2]), natural(found[3]), None if line.partial else natural(found[4]))
        run.delegates.of("npu").planned = counts


def _dispatch_failed(run: Run, found: Found, line: Line) -> None:
    run.delegates.of("npu").failed = True


_UNIT = rf"({UNIT})"

LITERT_RULES = (
    rule("Model:", r"^Model: {2,}(\S.*)$", _litert_model, "new"),
    rule("Model: ", r"^Model: (\S{1,1024}\.(?:tflite|litertlm))\s*$", _run_model, "new"),
    rule("Run model for", r"^Run model for (\d{1,12}) times", _run_model_count, "go"),
    rule("run took", rf"^(First|Slowest|Fastest) run took ({NUMBER}) microseconds", _run_model_time, "go"),
    rule("All runs took", rf"^All runs took average ({NUMBER}) microseconds", _run_model_average, "go"),
    rule("Model run completed", r"^Model run completed", _run_model_end),
    rule("PartitionSubgraph", r"^PartitionSubgraph: (\d+), selected num ops: (\d+)(?:, from tot\w* ops: (\d+)"
          r"(?:, num partitions: (\d+))?)?", _partitioned, "may"),
    rule("ispatch", r"^Failed to (?:create a dispatch delegate kernel|initialize Dispatch API)|"
          r"^No dispatch library found|^No usable Dispatch runtime found", _dispatch_failed, "may"),
    rule("Model file not found", r"^Model file not found: ", _litert_missing, "new"),
    rule("Model size:", rf"^Model size: +({NUMBER}) MB", _litert_size, "go"),
    rule("Accelerators:", r"^Accelerators: +(\S.*)$", _litert_accelerators, "go"),
    rule("Num threads:", r"^Num threads: +(\d{1,9})\s*$", _litert_threads, "go"),
    rule("Model loaded", rf"^Model loaded \(({NUMBER}) ms\)", _litert_loaded, "go"),
    rule("iterations...", r"^Running \d+ (?:warmup|benchmark) iterations\.\.\.", _litert_phase, "go"),
    rule("BENCHMARK RESULTS", r"^\s*(?:=+ ?)?BENCHMARK RESULTS(?: ?=+)?\s*$", _block_start, "go"),
    rule("====", r"^={10,}\s*$", _block_end),
    rule("Model init", rf"^Model initialization: +({NUMBER})(?: {_UNIT})?(?:\s|$)", _block_init, "go"),
    rule(" (", rf"^(Warmup|Inference) \((first|avg|min|max|std|median|p5|p95)\): +({NUMBER})(?: ?{_UNIT})?"
          r"(?: \((\d{1,15}) runs\))?(?:\s|$)", _block_timing, "go"),
    rule(" (p", rf"^(?:Warmup|Inference) \(p\d{{1,3}}(?:\.\d{{1,3}})?\): +{NUMBER}"),
    rule(" MB", rf"^(Init footprint|Overall footprint|Peak memory): +({NUMBER}) MB", _block_memory),
    rule("Failed to apply compiler plugins", r"^Failed to apply compiler plugins", _not_compiled),
    rule("accelerator could not be loaded", r"^(NPU|GPU|CPU) accelerator could not be loaded", _not_loaded),
    rule("Traceback (", r"^Traceback \(most recent call last\):", _traceback),
)  # fmt: skip
