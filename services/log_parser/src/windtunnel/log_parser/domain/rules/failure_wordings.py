"""The wordings of failures: pattern, kind, and whether the tool gives up after it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from windtunnel.log_parser.domain.lines.read_lines import Line
from windtunnel.log_parser.domain.log import ErrorKind
from windtunnel.log_parser.domain.rules.run_facts import Failure


@dataclass(frozen=True, slots=True)
class Wording:
    """`fatal`: the tool gives up. `opens`: only a benchmark prints this, so it may be all there is of a run."""

    pattern: re.Pattern[str]
    kind: ErrorKind
    fatal: bool = True
    opens: bool = True


def _wording(pattern: str, kind: ErrorKind, *, fatal: bool = True, opens: bool = True) -> Wording:
    return Wording(re.compile(pattern), kind, fatal, opens)


# The first that fits counts.
_WORDINGS = (
    # Out of memory before crash: a bad_alloc ends in an abort, but the abort is not the cause.
    _wording(
        r"std::bad_alloc|OutOfMemoryError|Terminated due to memory issue|\bEXC_RESOURCE\b.{0,80}MEMORY",
        "out_of_memory",
        opens=False,
    ),
    _wording(
        r"(?i)\bout of memory\b|cannot allocate memory|CL_OUT_OF_|CL_MEM_OBJECT_ALLOCATION_FAILURE|"
        r"memory allocation failure|(?:failed|unable) to allocate (?:device )?memory",
        "out_of_memory",
        fatal=False,
        opens=False,
    ),
    _wording(
        r"(?:^|\s|\()(?:[Ss]egmentation fault|Aborted|Bus error|Illegal instruction|Killed)(?:\s|\)|$)|"
        r"\bEXC_(?:BAD_ACCESS|CRASH|BREAKPOINT|BAD_INSTRUCTION)\b|^Terminated due to signal \d+|"
        r"^FATAL EXCEPTION|\b(?:SIGSEGV|SIGABRT|SIGBUS|SIGILL)\b|"
        r"terminate called after throwing|(?i:terminating (?:with|due to) uncaught)|"
        r"^\S{0,200} ?Check failed:",
        "crash",
        opens=False,
    ),
    _wording(
        r"CANNOT LINK EXECUTABLE|benchmark\S{0,100}: (?:inaccessible or )?(?:not found|No such file|Permission denied|"
        r"can't execute|cannot execute|command not found)|(?i:exec format error)|"
        r"not executable: \d+-bit ELF",
        "not_executed",
    ),
    _wording(r"^No inference runs were performed|^Could not import LiteRT", "not_executed"),
    _wording(r"Didn't find op for builtin opcode '[^']{1,80}' version '1'", "unsupported_op"),
    _wording(r"Didn't find op for builtin opcode", "op_version"),
    _wording(
        r"[Uu]nresolved custom op|^Regular TensorFlow ops are not supported|"
        r"Unsupported data type in custom op handler|^Op builtin_code out of range|"
        r"^Custom operator .{0,200} not found|(?:^|: )Unsupported op(?:eration|erator)?\b",
        "unsupported_op",
    ),
    _wording(
        r"^(?:Failed to (?:m?map|load|open|read|parse) (?:the )?model|"
        r"Could not open '|The model is not a valid Flatbuffer|Model provided (?:has|is)|"
        r"Error (?:loading|reading) model|Unable to (?:load|open) model)|^Mmap of .{1,400} failed|"
        r"not a valid Flatbuffer|Failed to get model from|kLiteRtStatusErrorFileIO|"
        r"kLiteRtStatusErrorInvalidFlatbuffer",
        "model_load_failure",
    ),
    _wording(
        r"^Please specify the (?:name|path) of|^Input tensor #\d+ should have|^Inputs mismatch|"
        r"^The size of .{1,400} is \d+ bytes\. It should be|^The number of string in the input_layer|"
        r"^There are invalid perf options|^Cannot parse --|^Failed to parse .{0,40}flag|^Failed to read the input|"
        r"^Couldn't interpret value|^Signature \".{0,200}\" not found|"
        r"^Requesting full delegation and CPU|^Invalid (?:argument|value|flag)|"
        r"^[Uu]nknown (?:flag|option)|^Error while parsing the flags|^Cannot find the input_layer",
        "invalid_argument",
    ),
    _wording(
        r"^Disallowed CPU fallback detected|Some ops are not accelerated|^Model is not fully accelerated but",
        "delegate_failed",
    ),
    _wording(r"[Ff]ailed to (?:apply|modify graph with) (?:the |\S{1,60} )?delegate", "delegate_failed"),
    _wording(
        r"[Dd]elegate (?:kernel )?(?:is|was) not initialized|^Restored (?:original|previous) "
        r"execution plan after delegate|"
        r"^NN ?API returned error |"
        r"^TfLite\w{1,60}Delegate\w{0,10} (?:Init|Prepare|Invoke): |NPU accelerator could not be loaded|"
        r"[Ff]ailed to (?:get or )?(?:create|load|initialize) .{0,60}(?:delegate|GPU environment)|"
        r"ModifyGraphWithDelegate failed|"
        r"acceleration is unsupported on this platform|^Could not create .{0,40}delegate",
        "delegate_failed",
        fatal=False,
    ),
    _wording(
        r"^Failed to (?:initialize|construct|build|create) (?:the )?interpreter|^Failed to compile model|"
        r"^Failed to allocate tensors|^Failed to create (?:litert environment|input buffer|output buffer)|"
        r"^Failed to invoke|^Run failed|^Compiled model not initialized",
        "other",
    ),
    _wording(
        r"^Registration failed|^Node number \d+ .{0,200}failed to (?:prepare|invoke|eval)|"
        r"^AllocateTensors\(\) failed",
        "other",
        fatal=False,
    ),
)
# A line without any of these, in lower case, fits no wording.
_HINTS = (
    "fail", "error", "bad_alloc", "outofmemory", "kill", "memory", "fault", "abort", "exc_", "due to", "signal",
    "exception", "sigsegv", "sigbus", "sigill", "***", "terminat", "link exec", "not found", "no such", "denied",
    "execut", "elf", "performed", "didn't", "couldn't", "unresolved", "not supported", "unsupported", "out of range",
    "could not", "not a valid", "model provided", "unable", "specify", "should", "mismatch", "invalid", "cannot",
    "unknown", "requesting", "disallowed", "not accelerated", "not initialized", "restored", "returned error",
    "cl_out", "cl_mem", "illegal",
)  # fmt: skip


def failure_of(line: Line) -> tuple[Failure, bool] | None:
    """The failure that a line reports.

    Args:
        line: of the log.

    Returns:
        The failure, and whether it may open a run; None: it reports none.
    """
    lower = line.text.lower()
    if not any(hint in lower for hint in _HINTS):
        return None
    for wording in _WORDINGS:
        if wording.pattern.search(line.text):
            return Failure(wording.kind, line.text.strip(), wording.fatal), wording.opens
    return None
