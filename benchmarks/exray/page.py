"""docs/exray.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Top-1 of the paper's Figure 4 (100 images): base, resize, channel order, normalization, rotation.
_PAPER = {"MobileNetV2": (0.69, 0.70, 0.60, 0.57, 0.42), "ResNet50V2": (0.67, 0.65, 0.60, 0.63, 0.29)}
_BUGS = ("resize", "channel order", "normalization", "rotation")


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell or " " for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def page(found: dict[str, Any], day: str) -> str:
    """The page of the documentation.

    Args:
        found: the parts that were measured.
        day: when.

    Returns:
        Markdown.
    """
    parts = [_INTRODUCTION.format(day=day)]
    for name, write in (("figure4", _figure4), ("table1", _table1), ("table2", _table2), ("table3", _table3)):
        if name in found:
            parts.append(write(found[name]))
    if "figure5" in found:
        parts.append(_figure5(found["figure5"][0]))
    return "\n\n".join([*parts, _NOT_REPEATED, _symptoms()])


def _symptoms() -> str:
    return Path(__file__).with_name("symptoms.md").read_text()


def _figure4(rows: list[dict[str, Any]]) -> str:
    table = [["model", "right app", *_BUGS, "causes named"]]
    for name, figures in _PAPER.items():
        table.append([f"{name} (the paper)", *(f"{figure:.2f}" for figure in figures), ""])
    for row in rows:
        right = [row[bug]["right"] for bug in ("base", *_BUGS)]
        named = "not run" if None in right else f"{sum(right)} of {len(right)}"
        figures_here = [f"{row[bug]['accuracy']:.2f}" for bug in ("base", *_BUGS)]
        table.append([f"{row['model']} {row['form']}", *figures_here, named])
    return (
        f"## Figure 4: accuracy under each preprocessing bug\n\n{_table(table)}\n\n"
        "*Causes named*: `windtunnel diagnose` names exactly the planted bug, and nothing for the right app. The "
        "assertions that the paper released do not catch a bug of channel order, resize, batched rotation, or the "
        "range -1 to 1 in place of 0 to 1. A resize bug hardly costs accuracy, as in the paper: only the input shows "
        "it. Our networks are small and their photos are synthetic or parts of two real photos, so only the direction "
        "can be compared."
    )


def _table1(lines: dict[str, int]) -> str:
    table = [["app", "lines for the monitor"], ["the paper: whole instrumentation and assertions", "under 15"]]
    table += [[f"`{path}`", str(count)] for path, count in lines.items()]
    return f"## Table 1: lines of code\n\n{_table(table)}\n\nCounted: lines marked `monitor`."


def _table2(figures: dict[str, Any]) -> str:
    table = [["level and way", "added per frame", "added memory", "disk per frame"]]
    table.append(["the paper", "up to 3 ms", "4 MB", "0.41 KB (statistics)"])
    for name, values in figures.items():
        memory, disk = values.get("memory_bytes"), values.get("disk_bytes", values.get("bytes_per_frame"))
        table.append(
            [
                name,
                f"{values['added_us']:.1f} µs",
                "" if memory is None else f"{memory / 1e6:.1f} MB",
                "" if disk is None else f"{disk / 1000:.2f} KB",
            ]
        )
    return f"## Table 2: overhead per frame (Python, 96x96x3 float classifier)\n\n{_table(table)}"


def _table3(rows: list[dict[str, Any]]) -> str:
    table = [["model", "size", "bare frame", "frame with every layer", "log per frame", "frames lost"]]
    for row in rows:
        table.append(
            [
                row["model"],
                f"{row['size_bytes'] / 1e6:.1f} MB",
                f"{row['bare_ms']:.0f} ms",
                f"{row['layers_ms']:.0f} ms",
                f"{row['log_bytes_per_frame'] / 1e6:.2f} MB",
                str(row["frames_lost"]),
            ]
        )
    return (
        f"## Table 3: per-layer logging\n\n{_table(table)}\n\nRandom weights, one thread, x86. An interpreter that "
        "keeps every tensor runs without delegates, which is part of the time. Frames that the memory of the "
        "monitor (4 MB) cannot hold are counted as lost. The log has their number."
    )


def _figure5(found: dict[str, Any]) -> str:
    table = [["layer", "nRMSE between kernels"]]
    table += [[f"`{one['layer'][-48:]}`", f"{one['nrmse']:.4f}"] for one in found["layers"]]
    times = ", ".join(f"{kernels} {ms:.2f} ms" for kernels, ms in found["ms"].items())
    return (
        f"## Figures 5 and 6, Table 4: optimized and reference kernels\n\n{_table(table)}\n\nThe int8 form of "
        f"mobile96, each layer's output on both kernels. Time of a frame: {times}. Per-layer error against the "
        "float model, and latency of each op, are what `windtunnel diff` and `windtunnel ops` show for every model."
    )


_INTRODUCTION = """# The evaluation of ML-EXray, repeated

[ML-EXray](https://arxiv.org/abs/2111.04779) (MLSys 2022) instruments apps and replays their data through a reference
pipeline. `benchmarks/exray/run.py` repeats its evaluation as far as data and hardware here allow ({day}), next
to the figures of the paper."""

_NOT_REPEATED = """## What could not be repeated

- ImageNet and the trained models of the paper: they cannot be downloaded here. Figure 4 uses networks that this
  project trains, Table 3 random weights.
- Phones (Pixel 3 and 4 in the paper), GPU and NNAPI: all times are of an x86 processor with two shared cores.
- The paper's broken kernels of old TensorFlow Lite versions: they are corrected in LiteRT 2. The
  [matrix of apps](app-diagnosis.md) plants wrong kernels instead, with and without recorded layers.
- Object detection, segmentation, speech and text with the paper's models: the matrix has a detector, sound and text
  classifiers of its own."""
