"""The table of rules: what a line looks like, and what it says of the run.

A rule is a literal that the line must hold (cheap to look for), a pattern, and a handler. Patterns are anchored or
bounded, so that matching takes linear time on any input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from windtunnel.log_parser.domain import Replaced, UnsupportedOp
from windtunnel.log_parser.figures import NUMBER, may_go_on, natural, non_negative, number
from windtunnel.log_parser.lines import Line
from windtunnel.log_parser.runs import Run
from windtunnel.log_parser.tables import OpTable

Found = re.Match[str]
# "go": the line may begin a run; "new": a run in progress ends here; "on": it belongs to the run at hand.
Begins = Literal["new", "go", "on"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`handler` is None for lines that are known and say nothing we report."""

    hint: str
    pattern: re.Pattern[str]
    handler: Callable[[Run, Found, Line], None] | None
    begins: Begins


def _literal(found: Found, group: str | int, line: Line) -> str | None:
    """A group's text; None where the end of a cut log may have cut it."""
    text = found[group]
    if text and line.partial and found.end(group) == len(line.text) and may_go_on(text):
        return None
    return text


# --- parameters -------------------------------------------------------------------------------------------------------

_FLAGS = {
    "gpu": "gpu", "nnapi": "nnapi", "legacynnapi": "nnapi", "xnnpack": "xnnpack", "hexagon": "hexagon",
    "coreml": "coreml", "npu": "npu",
}  # fmt: skip
_COMMAND_FLAG = re.compile(r"--(\w{1,60})(?:=(?:\"([^\"]*)\"|([^\s'\"]*)))?")


def _is_on(value: str) -> bool:
    return value.lower() in ("1", "true")


def _starting(run: Run, found: Found, line: Line) -> None:
    run.started = True


def _command(run: Run, found: Found, line: Line) -> None:
    for flag in _COMMAND_FLAG.finditer(line.text):
        if line.partial and flag.end() == len(line.text):
            break
        name, value = flag[1], flag[2] or flag[3]
        if name == "graph" and value:
            run.set_model(value, 1)
        elif name == "num_threads":
            run.set_threads(natural(value), 1)
        elif name == "external_delegate_path" and value:
            run.delegates.request("external")
        elif name.startswith("use_") and (value is None or _is_on(value)):
            key = _FLAGS.get(name.removeprefix("use_").replace("_", ""))
            if key:
                run.delegates.request(key)


def _graph(run: Run, found: Found, line: Line) -> None:
    run.set_model(found[1], 3)


def _threads(run: Run, found: Found, line: Line) -> None:
    run.set_threads(natural(found[2]), 3 if found[1] == "Num threads" else 2)


def _use(run: Run, found: Found, line: Line) -> None:
    key = _FLAGS.get(found[1].lower().replace(" ", ""))
    if key and _is_on(found[2]):
        run.delegates.request(key)


def _external(run: Run, found: Found, line: Line) -> None:
    run.delegates.request("external")


# --- model and runtime ------------------------------------------------------------------------------------------------


def _loaded(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags = True
    if not line.partial:
        run.set_model(found[1].strip(), 2)


def _runtime(run: Run, found: Found, line: Line) -> None:
    if not (line.partial and found.end(1) == len(line.text)):
        run.runtime_version = run.runtime_version or found[1]


def _model_size(run: Run, found: Found, line: Line) -> None:
    value = non_negative(_literal(found, 1, line))
    run.model_size_mb = value if run.model_size_mb is None else run.model_size_mb


def _session(run: Run, found: Found, line: Line) -> None:
    run.set_init(non_negative(found[1], 1000), 2)


# --- timings ----------------------------------------------------------------------------------------------------------

_PAIR = re.compile(rf"(\w{{1,20}})=({NUMBER})(?=\s|$)")
_STATS = {
    "count": "count", "first": "first_us", "avg": "avg_us", "min": "min_us", "max": "max_us", "std": "std_us",
    "p5": "p5_us", "median": "median_us", "p95": "p95_us",
}  # fmt: skip
_ITEM = re.compile(rf"([A-Za-z() ]{{3,40}}): ?({NUMBER})(?=,|\s|$)")


def _phase(run: Run, found: Found, line: Line) -> None:
    if len(run.phases) == len(run.counts) or run.phases[-1:] != [line.text]:
        run.phases.append(line.text)


def _count(run: Run, found: Found, line: Line) -> None:
    empty = line.text.strip() == "count=0" and len(run.phases) > len(run.counts)
    if run.counts[-1:] == [line.text] and not empty:
        # The same figures again: a log that holds everything twice. Only a dry run has equal phases.
        del run.phases[len(run.counts) :]
        return
    series: Literal["warmup", "inference"] = "inference" if max(len(run.phases), len(run.counts) + 1) > 1 else "warmup"
    figures = {
        _STATS[pair[1]]: non_negative(_literal(pair, 2, line))
        for pair in _PAIR.finditer(line.text)
        if pair[1] in _STATS
    }
    run.counts.append(line.text)
    run.fill(series, **figures)


def _summary(run: Run, found: Found, line: Line) -> None:
    run.summary = line.text
    items = {item[1].strip().lower(): item for item in _ITEM.finditer(line.text, found.end())}
    values = {name: non_negative(_literal(item, 2, line)) for name, item in items.items()}
    run.set_init(values.get("init"), 3)
    run.first_inference_us = values.get("first inference", run.first_inference_us)
    run.fill("warmup", avg_us=values.get("warmup (avg)", values.get("warmup")))
    for name in ("inference (avg)", "inference", "no stats"):
        if name in items:
            run.fill("inference", avg_us=values[name])
            # At the end of a cut log the average is whole where it is the one already printed above.
            run.complete = values[name] is not None or number(items[name][2]) == run.inference.avg_us


def _block_start(run: Run, found: Found, line: Line) -> None:
    run.tool, run.block_open = "litert", True


def _block_end(run: Run, found: Found, line: Line) -> None:
    if run.block_open:
        run.block_open, run.complete = False, True


def _block_init(run: Run, found: Found, line: Line) -> None:
    run.set_init(non_negative(found[1], 1000), 1)


def _block_timing(run: Run, found: Found, line: Line) -> None:
    phase, what = found[1].lower(), found[2].lower()
    value = None if line.partial else non_negative(found[3], 1000)
    series: Literal["warmup", "inference"] = "warmup" if phase == "warmup" else "inference"
    if found[4]:
        run.fill(series, count=natural(found[4]))
    run.fill(series, **{f"{what}_us": value})
    if (phase, what) == ("warmup", "first"):
        run.first_inference_us = value
    run.tool = "litert"


# --- memory -----------------------------------------------------------------------------------------------------------


def _memory_note(run: Run, found: Found, line: Line) -> None:
    run.memory_due = True


def _memory(run: Run, found: Found, line: Line) -> None:
    figures = {pair[1]: number(_literal(pair, 2, line)) for pair in _PAIR.finditer(line.text)}
    kind: Literal["peak", "delta"] = "peak" if found[1].startswith("Peak") else "delta"
    run.memory = replace(run.memory, init_mb=figures.get("init"), overall_mb=figures.get("overall"), kind=kind)
    run.memory_due = figures.get("overall") is None


def _memory_peak(run: Run, found: Found, line: Line) -> None:
    value = non_negative(_literal(found, 1, line))
    run.memory = replace(run.memory, peak_mb=value, kind=run.memory.kind or "peak")
    run.memory_due = value is None


def _block_memory(run: Run, found: Found, line: Line) -> None:
    value = number(found[2])
    if found[1] == "Peak memory":
        run.memory = replace(run.memory, peak_mb=value, kind=run.memory.kind or "peak")
    elif found[1] == "Init footprint":
        run.memory = replace(run.memory, init_mb=value, kind="delta")
    else:
        run.memory = replace(run.memory, overall_mb=value, kind="delta")


# --- delegates --------------------------------------------------------------------------------------------------------


def _created(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags = True
    run.delegates.name(found[1])


def _created_by_tool(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[1], explicit=True)


def _applied(run: Run, found: Found, line: Line) -> None:
    seen = run.delegates.name(found[1], explicit=True)
    seen.stated = "full" if found[2] == "completely" else "partial"
    if found[3]:
        seen.kernels = natural(found[3])


def _not_used(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[1], explicit=True).stated = "none"


def _apply_failed(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[1], explicit=True).stated = "failed"


def _graph_not_modified(run: Run, found: Found, line: Line) -> None:
    key = run.delegates.requested_name()
    if key:
        run.delegates.name(key).stated = "failed"


def _replacing(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags = True
    subgraph = None if line.partial else natural(found[5])
    counts = Replaced(subgraph, natural(found[1]), natural(found[2]), natural(found[4]))
    run.delegates.replaced(found[3], counts)


def _delegated(run: Run, found: Found, line: Line) -> None:
    counts = Replaced(None, natural(found[2]), natural(found[3]), natural(found[4]))
    run.delegates.replaced(found[1], counts)


def _planned(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[2]).planned = (natural(found[1]), None)


def _planned_none(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[1]).planned = (0, natural(found[2]))


def _refused(run: Run, found: Found, line: Line) -> None:
    if not line.partial:
        run.delegates.name(found[2]).unsupported[UnsupportedOp(found[1], found[3].strip() or None)] = None


def _refused_npu(run: Run, found: Found, line: Line) -> None:
    run.delegates.name("EXTERNAL").unsupported[UnsupportedOp(found[1], found[2].strip() or None)] = None


# --- profile ----------------------------------------------------------------------------------------------------------


def _profile_init(run: Run, found: Found, line: Line) -> None:
    run.profile.section, run.profile.open = "init", True


def _profile_regular(run: Run, found: Found, line: Line) -> None:
    run.profile.section, run.profile.open = "regular", True


def _profile_skip(run: Run, found: Found, line: Line) -> None:
    run.profile.section = "skip"


def _profile_table(run: Run, found: Found, line: Line) -> None:
    """Only the first table in run order of a section is taken; the others hold the same ops in another order."""
    profile = run.profile
    target = {"regular": run.ops, "init": run.init_ops, "skip": None}[profile.section]
    profile.target = target if found[1].lower() == "run order" and not target else None
    profile.open, profile.table = True, None


def _table_header(run: Run, found: Found, line: Line) -> None:
    run.profile.table = OpTable(line.text)


def _profile_end(run: Run, found: Found, line: Line) -> None:
    run.profile.open, run.profile.table, run.profile.target = False, None, None


# --- the rest ---------------------------------------------------------------------------------------------------------


def _gave_up(run: Run, found: Found, line: Line) -> None:
    run.gave_up = True


def _warning(run: Run, found: Found, line: Line) -> None:
    run.warnings[line.text.strip()] = None


def _rule(
    hint: str, pattern: str, handler: Callable[[Run, Found, Line], None] | None = None, begins: Begins = "on"
) -> Rule:
    return Rule(hint, re.compile(pattern), handler, begins)


_D = r"(\S{1,80}(?: \S{1,80}){0,3}?)"

RULES = (
    _rule("count=", rf"^\s*count={NUMBER}(?:\s|$)", _count, "go"),
    _rule("STARTING!", r"^STARTING!", _starting, "new"),
    _rule("--graph=", r"(?:^|\s|[\"'])--graph=\S", _command, "new"),
    _rule("timings in us:", r"^(?:Average i|I)nference timings in us:", _summary, "go"),
    _rule("Graph: [", r"^Graph: ?\[(.{1,4096})\]\s*$", _graph, "go"),
    _rule("hreads", r"^(Num threads|#threads used for CPU inference) ?: ?\[(-?\d{1,9})\]", _threads, "go"),
    _rule("Use ", r"^Use ([A-Za-z ]{2,20}?) ?: ?\[(\w{1,8})\]", _use, "go"),
    _rule("elegate ", r"^(?:External delegate path|Delegate settings file path) ?: ?\[.{1,4096}\]", _external, "go"),
    _rule("arameter values", r"^Log parameter values verbosely: \[", None, "go"),
    _rule("uns: [", r"^(?:Min n|N)um runs: ?\[", None, "go"),
    _rule(": [", r"^[#A-Za-z][^\[\]:]{1,100}: ?\[.*\]\s*$"),
    _rule(" : [", r"^[#A-Za-z][^\[\]:]{1,100} : ?\[.*\]\s*$"),
    _rule("oad", r"^(?:Loaded model|Loading model from:) (\S.*)$", _loaded, "go"),
    _rule("ersion", r"^(?:TensorFlow ?Lite|TF ?Lite|LiteRT)(?: runtime)? [Vv]ersion:? v?(\d+\.[\w.+-]{1,60})", _runtime,
          "go"),
    _rule("model file size", rf"^The input model file size \(MB\): ?({NUMBER})", _model_size, "go"),
    _rule("Initialized session", rf"^Initialized session in ({NUMBER}) ?ms", _session, "go"),
    _rule("Running benchmark", r"^Running benchmark for ", _phase, "go"),
    _rule("BENCHMARK RESULTS", r"^=+ BENCHMARK RESULTS =+", _block_start, "go"),
    _rule("====", r"^={10,}\s*$", _block_end),
    _rule("Model init", rf"^Model initialization: +({NUMBER}) ms", _block_init, "go"),
    _rule(" (", rf"^(Warmup|Inference) \((first|avg|min|max|std)\): +({NUMBER})(?: ms)?"
          r"(?: \((\d{1,15}) runs\))?(?:\s|$)", _block_timing, "go"),
    _rule("footprint", r"^(Memory|Peak memory|Peak) ?footprint (?:delta )?.{0,60}\(MB\): ", _memory, "go"),
    _rule("Overall peak memory", rf"^Overall peak memory footprint \(MB\) via periodic monitoring: ?({NUMBER})",
          _memory_peak, "go"),
    _rule(" MB", rf"^(Init footprint|Overall footprint|Peak memory): +({NUMBER}) MB", _block_memory),
    _rule("Note: as", r"^Note: as the benchmark tool itself affects memory footprint", _memory_note),
    _rule("Replacing", r"^Replacing (\d+)(?: out of (\d+))? node\(s\) with delegate \(([^()]{1,100})\) node, "
          r"yielding (\d+) partitions?(?: for subgraph (\d+))?", _replacing, "go"),
    _rule("nodes delegated", rf"^{_D}:? (?:delegate: )?(\d+) nodes delegated out of (\d+) nodes,? "
          r"with (\d+) partitions", _delegated, "go"),
    _rule("Created TensorFlow", r"^Created TensorFlow Lite (XNNPACK) delegate for CPU", _created, "go"),
    _rule("Created TensorFlow", r"^Created TensorFlow Lite delegate for ([\w ]{1,40})\.", _created, "go"),
    _rule("delegate created", rf"^{_D} delegate created\.", _created_by_tool, "go"),
    _rule("pplied", rf"^(?:Explicitly a|A)pplied {_D} delegate, and the model graph will be (completely|partially) "
          r"executed (?:by|w/) the delegate(?: w/ (\d+) delegate kernels)?", _applied, "go"),
    _rule("will not be executed", rf"^Though {_D} delegate is (?:explicitly )?applied, the model graph will not be "
          r"executed", _not_used, "go"),
    _rule("ailed to apply", rf"^Failed to apply (?:the )?(?!delegate\b){_D} delegate", _apply_failed, "go"),
    _rule("delegate", r"[Ff]ailed to (?:apply|modify graph with) (?:the )?delegate\b", _graph_not_modified, "go"),
    _rule("will run on the", r"^(?:First )?(\d+) operations will run on the (\w{2,20}), and the remaining \d+",
          _planned),
    _rule("will run on the", r"^No operations will run on the (\w{2,20}), and all (\d+) operations will run on the CPU",
          _planned_none),
    _rule("refused by", r"(?:^|: )Operator (\S{1,100}) \(v\d+\) refused by (\S{1,40}) delegate:(.{0,2000})", _refused),
    _rule("is not supported (", r"^OP (\S{1,100}) \(v\d+\) is not supported \(([^()]{0,400})\)", _refused_npu),
    _rule("Benchmark Initialization", r"^Profiling Info for Benchmark Initialization:", _profile_init),
    _rule("Operator-wise", r"^Operator-wise Profiling Info for Regular Benchmark Runs:", _profile_regular),
    _rule("Delegate internal", r"^Delegate internal:", _profile_skip),
    _rule("Subgraph ", r"^Subgraph \((?:index|name): ", _profile_skip),
    _rule("Primary graph", r"^Primary graph \("),
    _rule("====", r"^={3,} ?(Run Order|Top by [A-Za-z ]{3,40}|Summary by node type) ?={3,}", _profile_table, "go"),
    _rule("ode type]", r"^\s*\[[Nn]ode type\]", _table_header),
    _rule("observed", r"^\d+ nodes? observed", _profile_end),
    _rule("Benchmarking failed", r"^Benchmarking failed", _gave_up, "go"),
    _rule("erations ", r"^(?:Following|Next) operations are not supported by .{1,60} delegate:"),
    _rule("recognized", r"^(?:WARNING: )?[Uu]n(?:recognized|consumed)[ /].{0,40}(?:flag|arg)", _warning, "go"),
    # Known, and nothing in them that we report.
    _rule("--", r"^\s*--\w{1,60}=.{0,60}\s(?:int32|int64|float|bool|string)\s"),
    _rule("lags:", r"^Flags:"),
    _rule("usage:", r"^usage: "),
    _rule("Number of nodes", r"^Number of nodes executed:"),
    _rule("count=", r"^(?:Timings \(microseconds\)|Memory \(bytes\)): "),
    _rule("count=", r"^\s*(?:cpu w/|gpu-|nnapi\(|dsp w/|coreml).{0,80}: +count="),
    _rule("failed!", r"^\s*(?:cpu w/|gpu-|nnapi\(|dsp w/|coreml).{0,80}: +failed!"),
    _rule("Summary of All Runs", r"^=+Summary of All Runs"),
    _rule("delegates one after", r"^Going to apply \d+ delegates one after another"),
    _rule("nitialized", r"^(?:Initialized (?:TensorFlow Lite runtime|Open[CG]L-based API|WebGPU)|"
          r"Flatbuffer model initialized)"),
    _rule("oad", r"^(?:Loaded OpenCL library|Loading GPU accelerator|Dynamically loaded GPU accelerator)"),
    _rule("GPU delegate kernels", r"^Created \d+ GPU delegate kernels"),
    _rule("resolved reporter", r"^resolved reporter"),
    _rule("Memory", r"^Memory (?:Usage:|status at the end of exe)"),
    _rule("Rss", r"^[-+] (?:VmRSS|RssAnnon|RssAnon|RssFile)"),
    _rule("hroughput", r"^(?:Throughput: |No throughput data available)"),
    _rule("not available", r"^Peak memory usage not available"),
    _rule("benchmark result to", r"^Sav(?:ing|ed) benchmark result to"),
    _rule("Signature name", r"^Signature name: "),
    _rule("_path:", r"^(?:dispatch_library|compiler_plugin_library|compiler_cache)_path:"),
    _rule("egister", r"^(?:RegisterAccelerator: |(?:CPU|GPU|NPU) accelerator registered|.{0,80} registered\.$)"),
    _rule("Creating LiteRT", r"^Creating LiteRT environment"),
    _rule("Event: ", r"^Event: "),
    _rule("---------", r"^-{5,} (?:beginning of|switch to) \w+"),
    _rule("XNNPack", r"^(?:XNNPack weight cache|Tensor-less XNNPack)"),
)  # fmt: skip
