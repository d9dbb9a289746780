"""The table of rules: what the lines of TensorFlow Lite's benchmark tool look like, and what they say of the run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.log import Replaced, UnsupportedOp
from windtunnel.log_parser.domain.rules.ignored_lines import KNOWN_LINES
from windtunnel.log_parser.domain.rules.litert_rules import LITERT_RULES
from windtunnel.log_parser.domain.rules.printed_numbers import (
    NUMBER,
    PAIR,
    STATS,
    UNIT,
    in_us,
    natural,
    non_negative,
    number,
)
from windtunnel.log_parser.domain.rules.profile_tables import OpTable
from windtunnel.log_parser.domain.rules.report_rules import REPORT_RULES
from windtunnel.log_parser.domain.rules.rule import Found, literal, rule
from windtunnel.log_parser.domain.rules.run_facts import Run

# --- parameters -------------------------------------------------------------------------------------------------------

_FLAGS = {
    "gpu": "gpu", "nnapi": "nnapi", "legacynnapi": "nnapi", "xnnpack": "xnnpack", "hexagon": "hexagon",
    "coreml": "coreml", "npu": "npu", "metal": "metal", "externaldelegate": "external", "neuron": "external",
    "vxdelegate": "external", "edgetpu": "external", "armnn": "external",
}  # fmt: skip
_COMMAND_FLAG = re.compile(r"--(\w{1,60})(?:=(?:\"([^\"]*)\"|([^\s'\"]*)))?")


def _is_on(value: str) -> bool:
    return value.lower() in ("1", "true")


def _starting(run: Run, found: Found, line: Line) -> None:
    run.started = True


def _command(run: Run, found: Found, line: Line) -> None:
    run.of_command = True
    _flags(run, found, line)


def _flags(run: Run, found: Found, line: Line) -> None:
    for flag in _COMMAND_FLAG.finditer(line.text):
        if line.partial and flag.end() == len(line.text):
            break
        name, value = flag[1], flag[2] or flag[3]
        if name == "graph" and value:
            run.shows_request = True
            run.set_model(value, 1)
        elif name == "num_threads":
            run.set_threads(natural(value), 1)
        elif name == "accelerator" and value and value.lower() in ("gpu", "npu"):
            run.delegates.request(value.lower())
        elif name == "external_delegate_path" and value:
            run.delegates.request("external")
        elif name.startswith("use_") and (value is None or _is_on(value)):
            key = _FLAGS.get(name.removeprefix("use_").replace("_", ""))
            if key:
                run.delegates.request(key)


def _graph(run: Run, found: Found, line: Line) -> None:
    run.set_model(found[1], 3)
    # The tool prints the delegates that are asked for after it: a command before may be another one.
    run.shows_request = True
    if run.of_command:
        run.delegates.requested.clear()


def _threads(run: Run, found: Found, line: Line) -> None:
    run.set_threads(natural(found[2]), 3 if found[1] == "Num threads" else 2)


def _use(run: Run, found: Found, line: Line) -> None:
    key = _FLAGS.get(found[1].lower().replace(" ", ""))
    if key and _is_on(found[2]):
        run.delegates.request(key)
    elif key:
        run.shows_request = True


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
    value = non_negative(literal(found, 1, line))
    run.model_size_mb = value if run.model_size_mb is None else run.model_size_mb


def _session(run: Run, found: Found, line: Line) -> None:
    run.set_init(non_negative(found[1], 1000), 3)


# --- timings ----------------------------------------------------------------------------------------------------------

_ITEM = re.compile(rf"([A-Za-z() ]{{3,40}}): ?({NUMBER})(?=,|\s|$)")


def _phase(run: Run, found: Found, line: Line) -> None:
    if len(run.phases) == len(run.counts) or run.phases[-1:] != [line.text]:
        run.phases.append(line.text)


def _stat(pair: Found, line: Line) -> float | None:
    value = literal(pair, 2, line)
    return non_negative(value) if pair[1] == "count" else in_us(value, pair[3])


def _count(run: Run, found: Found, line: Line) -> None:
    empty = line.text.strip() == "count=0" and len(run.phases) > len(run.counts)
    if run.counts[-1:] == [line.text] and not empty:
        # The same figures again: a log that holds everything twice. Only a dry run has equal phases.
        del run.phases[len(run.counts) :]
        return
    series: Literal["warmup", "inference"] = "inference" if max(len(run.phases), len(run.counts) + 1) > 1 else "warmup"
    figures = {STATS[pair[1]]: _stat(pair, line) for pair in PAIR.finditer(line.text) if pair[1] in STATS}
    run.counts.append(line.text)
    run.fill(series, **figures)


def _summary(run: Run, found: Found, line: Line) -> None:
    run.summary = line.text
    items = {item[1].strip().lower(): item for item in _ITEM.finditer(line.text, found.end())}
    values = {name: in_us(literal(item, 2, line), found[1]) for name, item in items.items()}
    run.set_init(values.get("init"), 4)
    run.first_inference_us = values.get("first inference", run.first_inference_us)
    run.fill("warmup", avg_us=values.get("warmup (avg)", values.get("warmup")))
    for name in ("inference (avg)", "inference", "no stats"):
        if name in items:
            run.fill("inference", avg_us=values[name])
            # At the end of a cut log the average is whole where it is the one already printed above.
            run.complete = values[name] is not None or in_us(items[name][2], found[1]) == run.inference.avg_us


# --- memory -----------------------------------------------------------------------------------------------------------


def _label_image(run: Run, found: Found, line: Line) -> None:
    """The average that the example tool `label_image` prints."""
    run.beyond_flags = True
    run.fill("inference", avg_us=in_us(literal(found, 1, line), found[2]))
    run.complete = run.complete or run.inference.avg_us is not None


def _memory_note(run: Run, found: Found, line: Line) -> None:
    run.memory_due = True


def _memory(run: Run, found: Found, line: Line) -> None:
    figures = {pair[1]: number(literal(pair, 2, line)) for pair in PAIR.finditer(line.text)}
    kind: Literal["peak", "delta"] = "peak" if found[1].startswith("Peak") else "delta"
    run.memory = replace(run.memory, init_mb=figures.get("init"), overall_mb=figures.get("overall"), kind=kind)
    run.memory_due = figures.get("overall") is None


def _memory_peak(run: Run, found: Found, line: Line) -> None:
    value = non_negative(literal(found, 1, line))
    run.memory = replace(run.memory, peak_mb=value, kind=run.memory.kind or "peak")
    run.memory_due = value is None


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
    # Of several that are asked for, the line does not say which.
    key = run.delegates.requested_name()
    if key and len(run.delegates.requested) < 2:
        run.delegates.of(key).stated = "failed"


def _replacing(run: Run, found: Found, line: Line) -> None:
    run.beyond_flags = True
    subgraph = None if line.partial else natural(found[5])
    counts = Replaced(subgraph, natural(found[1]), natural(found[2]), natural(found[4]))
    run.delegates.replaced(found[3], counts)


def _delegated(run: Run, found: Found, line: Line) -> None:
    counts = Replaced(None, natural(found[2]), natural(found[3]), natural(found[4]))
    run.delegates.replaced(found[1].rstrip(":"), counts)


def _delegated_unnamed(run: Run, found: Found, line: Line) -> None:
    """TI's delegate, which does not say its name."""
    run.delegates.of("external").replaced.append(
        Replaced(None, natural(found[2]), natural(found[3]), natural(found[1]))
    )


def _planned(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[2]).planned = Replaced(None, natural(found[1]), None, None)


def _planned_none(run: Run, found: Found, line: Line) -> None:
    run.delegates.name(found[1]).planned = Replaced(None, 0, natural(found[2]), None)


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
    title = found[1].lower()
    target = {"regular": run.ops, "init": run.init_ops, "skip": None}[profile.section]
    if title.startswith("top by") and profile.section == "regular" and run.top_title in (None, found[1]):
        run.top_title, target = found[1], run.top_ops
    elif title != "run order":
        run.other_title, target = found[1], None
    profile.target = target if not target else None
    profile.open, profile.table = True, None


def _table_header(run: Run, found: Found, line: Line) -> None:
    profile, table = run.profile, OpTable(line.text)
    if not profile.open and not run.ops and table.is_of_ops:
        # A table without its title: what somebody cut out of a log.
        profile.target = run.ops
    profile.table = table


def _profile_end(run: Run, found: Found, line: Line) -> None:
    run.profile.open, run.profile.table, run.profile.target = False, None, None


# --- the rest ---------------------------------------------------------------------------------------------------------


def _gave_up(run: Run, found: Found, line: Line) -> None:
    run.gave_up = True


def _warning(run: Run, found: Found, line: Line) -> None:
    run.warnings[line.text.strip()] = None


_D = r"(\S{1,80}(?: \S{1,80}){0,3}?)"

RULES = (
    rule("count=", rf"^\s*count={NUMBER}(?:\s|$)", _count, "go"),
    rule("STARTING!", r"^STARTING!", _starting, "new"),
    rule("--", r"^\s*--(?!graph=)\w{1,60}(?:=\S{0,400})?\s*\\?$", _flags),
    rule("--graph=", r"(?:^|\s|[\"'])--graph=\S", _command, "new"),
    rule("timings in ", rf"^(?:Average i|I)nference timings in ({UNIT}):", _summary, "go"),
    rule("Graph: [", r"^Graph: ?\[(.{1,4096})\]\s*$", _graph, "go"),
    rule("hreads", r"^(Num threads|#threads used for CPU inference) ?: ?\[(-?\d{1,9})\]", _threads, "go"),
    rule("Use ", r"^Use ([A-Za-z ]{2,20}?) ?: ?\[(\w{1,8})\]", _use, "go"),
    rule("elegate ", r"^(?:External delegate path|Delegate settings file path) ?: ?\[.{1,4096}\]", _external, "go"),
    rule("arameter values", r"^Log parameter values verbosely: \[", None, "go"),
    rule("uns: [", r"^(?:Min n|N)um runs: ?\[", None, "go"),
    rule(": [", r"^[#A-Za-z][^\[\]:]{1,100}: ?\[.*\]\s*$"),
    rule(" : [", r"^[#A-Za-z][^\[\]:]{1,100} : ?\[.*\]\s*$"),
    rule("oad", r"^(?:Loaded model|Loading model from:) (\S.*)$", _loaded, "may"),
    rule("ersion", r"^(?:TensorFlow ?Lite|TF ?Lite|LiteRT)(?: runtime)? [Vv]ersion:? v?(\d+\.[\w.+-]{1,60})", _runtime,
          "go"),
    rule("model file size", rf"^The input model file size \(MB\): ?({NUMBER})", _model_size, "go"),
    rule("Initialized session", rf"^Initialized session in ({NUMBER}) ?ms", _session, "go"),
    rule("average time:", rf"^average time: ({NUMBER}) ?({UNIT})", _label_image, "go"),
    rule("Running benchmark", r"^Running benchmark for ", _phase, "go"),
    rule("footprint", r"^(Memory|Peak memory|Peak) ?footprint (?:delta )?.{0,60}\(MB\): ", _memory, "go"),
    rule("Overall peak memory", rf"^Overall peak memory footprint \(MB\) via periodic monitoring: ?({NUMBER})",
          _memory_peak, "go"),
    rule("Note: as", r"^Note: as the benchmark tool itself affects memory footprint", _memory_note),
    rule("Replacing", r"^Replacing (\d+)(?: out of (\d+))? node\(s\) with delegate \(([^()]{1,100})\) node, "
          r"yielding (\d+) partitions?(?: for subgraph (\d+))?", _replacing, "may"),
    rule("nodes delegated", r"^Number of subgraphs: ?(\d+) ?, ?(\d+) nodes delegated out of (\d+) nodes",
          _delegated_unnamed, "may"),
    rule("nodes delegated", rf"^(?:\[[\w .-]{{1,40}}\] )?{_D}:? (?:delegate: )?(\d+) nodes delegated out of (\d+) nodes"
          r"(?:,? with (\d+) partitions?)?", _delegated, "may"),
    rule("Created TensorFlow", r"^Created TensorFlow Lite (XNNPACK) delegate for CPU", _created, "may"),
    rule("Created TensorFlow", r"^Created TensorFlow Lite delegate for ([\w ]{1,40})\.", _created, "may"),
    rule("delegate created", rf"^{_D} delegate created\.", _created_by_tool, "may"),
    rule("pplied", rf"^(?:Explicitly a|A)pplied {_D} delegate, and the model graph will be (completely|partially) "
          r"executed (?:by|w/) the delegate(?: w/ (\d+) delegate kernels)?", _applied, "may"),
    rule("will not be executed", rf"^Though {_D} delegate is (?:explicitly )?applied, the model graph will not be "
          r"executed", _not_used, "may"),
    rule("ailed to apply", rf"^Failed to apply (?!(?:the )?delegate\b)(?:the )?{_D} delegate", _apply_failed, "may"),
    rule("delegate", r"[Ff]ailed to (?:apply|modify graph with) (?:the )?delegate\b", _graph_not_modified, "may"),
    rule("will run on the", r"^(?:First )?(\d+) operations? will run on the (\w{2,20}), and the remaining \d+",
          _planned),
    rule("will run on the", r"^No operations will run on the (\w{2,20}), and all (\d+) operations will run on the CPU",
          _planned_none),
    rule("refused by", r"(?:^|: )Operator (\S{1,100}) \(v\d+\) refused by (\S{1,40}) delegate:(.{0,2000})", _refused),
    rule("is not supported (", r"^OP (\S{1,100}) \(v\d+\) is not supported \(([^()]{0,400})\)", _refused_npu),
    rule("Benchmark Initialization", r"^Profiling Info for Benchmark Initialization:", _profile_init),
    rule("Operator-wise", r"^Operator-wise Profiling Info for Regular Benchmark Runs:", _profile_regular),
    rule("Delegate internal", r"^Delegate internal:", _profile_skip),
    rule("Subgraph ", r"^Subgraph \((?:index|name): ", _profile_skip),
    rule("Primary graph", r"^Primary graph \("),
    rule("====", r"^={3,} ?(Run Order|Top by [A-Za-z ]{3,40}|Summary by node type) ?={3,}", _profile_table, "go"),
    rule("ode type]", r"^\s*\[[Nn]ode type\]", _table_header, "go"),
    rule("node type,", r"^node type, ", _table_header, "go"),
    rule("observed", r"^\d+ nodes? observed", _profile_end),
    rule("Benchmarking failed", r"^Benchmarking failed", _gave_up, "go"),
    rule("erations ", r"^(?:Following|Next) operations are not supported by .{1,60} delegate:"),
    rule("recognized", r"^(?:WARNING: )?[Uu]n(?:recognized|consumed)[ /].{0,40}(?:flag|arg)", _warning, "go"),
    *LITERT_RULES,
    *REPORT_RULES,
    *KNOWN_LINES,
)  # fmt: skip
