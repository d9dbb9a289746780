"""Playing a pipeline back: from what an app recorded raw to what its model should have been fed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.read_pipeline import Pipeline
from windtunnel.pipeline.run_steps import Raw

# The name of the only raw sample or input, if nothing names it.
ONLY: Final = ""


def play_back(
    pipeline: Pipeline, raw: Raw | Mapping[str, Raw], *, sample_rate_hz: float | None = None
) -> Mapping[str, NDArray[Any]]:
    """What the inputs of a model should be.

    Args:
        pipeline: the reference.
        raw: samples of one kind, or by input name. A pipeline with `inputs` takes unnamed samples (`ONLY`) for all of
            its inputs.
        sample_rate_hz: of waveforms; None: not known.

    Returns:
        Arrays (N, ...) by input name; `ONLY` for a pipeline without `inputs` on unnamed samples.

    Raises:
        InvalidInput: the samples do not fit the pipeline.
    """
    named: Mapping[str, Raw] = raw if isinstance(raw, Mapping) else {ONLY: raw}
    if not pipeline.inputs:
        if len(named) != 1:
            raise InvalidInput(
                f"the pipeline has steps for one input; the raw samples are {', '.join(map(repr, named)) or 'missing'}",
                hint='give the steps of each input: "inputs": {"<input>": {"steps": [...]}}',
            )
        return {name: pipeline.apply(one, sample_rate_hz=sample_rate_hz) for name, one in named.items()}
    missing = [name for name in pipeline.inputs if name not in named and ONLY not in named]
    if missing:
        raise InvalidInput(
            f"the pipeline prepares the input {missing[0]!r}, for which there are no raw samples",
            hint=f"the raw samples are {', '.join(map(repr, named)) or 'missing'}; name them raw/<input> or x/<input>",
        )
    return {
        name: pipeline.apply(named.get(name, named.get(ONLY, ())), sample_rate_hz=sample_rate_hz, name=name)
        for name in pipeline.inputs
    }
