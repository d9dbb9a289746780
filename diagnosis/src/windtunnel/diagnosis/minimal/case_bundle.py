"""The zip of a minimal case; equal content gives equal bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import shown_accelerator

SCRIPT = "run.py"
# The oldest time that a zip can hold: a file's age does not belong to the case.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def bundle(
    candidate: bytes,
    reference: bytes,
    inputs: Mapping[str, NDArray[Any]],
    expected: NDArray[Any],
    case: Mapping[str, Any],
) -> bytes:
    """Packs a case: both models, inputs and outputs, case.json, README.md and run.py.

    `inputs.npz` has the names `candidate/<i>` and `reference/<i>`, one row per sample, as fed. `expected.npz` has
    `output`: real numbers of the reference, in the candidate's layout.

    Args:
        candidate: its part, as .tflite.
        reference: its part, as .tflite.
        inputs: see above.
        expected: see above.
        case: content of case.json.

    Returns:
        The zip.
    """
    script = Path(__file__).with_name("run_case.py").read_bytes()
    return _zip(
        {
            "README.md": readme(case).encode(),
            "candidate.tflite": candidate,
            "case.json": (json.dumps(case, indent=2, sort_keys=True) + "\n").encode(),
            "expected.npz": _npz({"output": expected}),
            "inputs.npz": _npz(inputs),
            "reference.tflite": reference,
            SCRIPT: script,
        }
    )


def readme(case: Mapping[str, Any]) -> str:
    """What the case shows, how to run it, and the measured figures.

    Args:
        case: content of case.json.

    Returns:
        Markdown.
    """
    place, region, versions = case["place"], case["region"], case["versions"]
    reference, candidate = case["reference"], case["candidate"]
    kernels = {side: shown_accelerator(name) for side, name in case["kernels"].items()}
    seen = "\n".join(f"| {number} | {error:.6g} |" for number, error in enumerate(case["errors"]))
    return f"""# {case["code"]} at op {place["op_index"]} ({place["layer"]})

The smallest part of a model in which the fault still shows: {_ops(region["candidate"])} of the candidate
against {_ops(region["reference"])} of the reference, both fed with the values that the reference gives.

    pip install numpy ai-edge-litert
    python run.py

prints the error of every sample. The exit code is 1 if the fault shows, and 0 if it does not.
`python run.py --accelerator reference|xnnpack|builtin` runs another accelerator, `python run.py --candidate FILE`
another model. FILE must be the same part of the fixed model, cut at the same tensors as candidate.tflite, and not the
whole model. Its inputs are {_forms(region["inputs"])}, its output is {_forms([region["output"]])}.
`windtunnel diff --case` makes the case of the fixed model again if the fault still shows.

| sample | nRMSE |
|---|---|
{seen}

nRMSE is sqrt(MSE) / the larger range of both outputs, over each sample. The fault shows if the median is above
{case["limit"]:.6g}; rounding alone explains about {case["floor"]:.2g}.
{case["showing"]} of {case["tried"]} samples show it; these {len(case["errors"])} show it best.

| file | what |
|---|---|
| candidate.tflite | ops {_list(region["candidate"])} of {candidate["name"]} (sha256 {candidate["sha256"]}) |
| reference.tflite | ops {_list(region["reference"])} of {reference["name"]} (sha256 {reference["sha256"]}) |
| inputs.npz | what each is fed, one row per sample |
| expected.npz | what the reference answers ({kernels["reference"]} kernels), as real numbers |

Found with {", ".join(f"{name} {version}" for name, version in sorted(versions.items()))}; candidate run with
{kernels["candidate"]} kernels.
"""


def _ops(ops: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(ops)} op{'s' if len(ops) != 1 else ''}"


def _forms(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _list(ops: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{op['op_index']} {op['op']}" for op in ops)


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """As `numpy.savez`, which writes the time of day."""
    files = {}
    for name, array in arrays.items():
        content = io.BytesIO()
        np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
        files[f"{name}.npy"] = content.getvalue()
    return _zip(files)


def _zip(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return content.getvalue()
