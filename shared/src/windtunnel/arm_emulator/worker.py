"""Runs a model over files of inputs and writes files of tensors; the same program on this machine and under qemu.

Under qemu it is a script: it may import only numpy and LiteRT, and nothing of Windtunnel.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

REFUSED = 3


def run(job: dict[str, Any], on_sample: Callable[[int], None] = lambda done: None) -> None:
    """Runs `job["model"]` once per file of `job["feeds"]` and writes `job["tensors"]` to each of `job["results"]`.

    Args:
        job: `inputs` and `tensors` are [tensor index in the model, key in the .npz] pairs; `resolver` is the
            name of a member of OpResolverType; `preserve_all` keeps every tensor; `threads` is a number of CPU threads.
        on_sample: called with the number of samples that are done.

    Raises:
        ValueError: the runtime refuses the model.
        RuntimeError: the runtime refuses the model.
    """
    interpreter = _interpreter(job)
    shapes: list[tuple[int, ...]] | None = None
    for done, (feed, result) in enumerate(zip(job["feeds"], job["results"])):  # noqa: B905 (runs on older Pythons)
        with np.load(feed) as stored:
            values = [(index, stored[key]) for index, key in job["inputs"]]
        found = [tuple(value.shape) for _, value in values]
        if found != shapes:
            for index, value in values:
                interpreter.resize_tensor_input(index, value.shape, strict=False)
            interpreter.allocate_tensors()
            shapes = found
        for index, value in values:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        np.savez(result, **{key: interpreter.get_tensor(index) for index, key in job["tensors"]})
        on_sample(done + 1)


def _interpreter(job: dict[str, Any]) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        # The runtime warns that keeping all tensors takes memory: that is what was asked for.
        warnings.simplefilter("ignore", UserWarning)
        return Interpreter(
            model_path=job["model"],
            num_threads=job["threads"],
            experimental_op_resolver_type=getattr(OpResolverType, job["resolver"]),
            experimental_preserve_all_tensors=job["preserve_all"],
        )


def main() -> int:
    """Reads a job from the file that is named; prints `sample N` as it goes."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 (a start under emulation costs seconds)
        job = json.load(file)
    try:
        run(job, lambda done: print("sample", done, flush=True))
    except (RuntimeError, ValueError) as error:
        print("refused:", " ".join(str(error).split()), file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
