"""Runs both models over the samples and sums up every layer; memory does not grow with the samples.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.diagnosis.execution.output_sums import OutputLook, OutputSums
from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.graph.fused_layers import activation_bounds
from windtunnel.diagnosis.numerics.block_sums import Tensor, Workspace
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures, LayerSums, Look
from windtunnel.diagnosis.thresholds.execution_thresholds import LARGE_MODEL_VALUES
from windtunnel.errors import InvalidInput
from windtunnel.isolation import progress
from windtunnel.pipeline import Feed
from windtunnel.tflite import ModelFacts, Runner

# Both models are held twice only where files and layers are smaller than this.
_AHEAD_BYTES = 128_000_000


class FrameLog(Protocol):
    """What takes a model's layers frame by frame (`layer_log.LogWriter`)."""

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        ...

    def add(self, runner: Runner) -> None:
        """Adds every layer of the last run as one more frame.

        Args:
            runner: after the run.
        """
        ...

    def flush(self) -> None:
        """Hands what it has taken to the operating system: a kill of the process no longer loses it."""
        ...

    def keep(self, frames: int) -> None:
        """Cuts the log.

        Args:
            frames: how many stay.
        """
        ...


class Models(NamedTuple):
    """Both models, made with `preserve_all`."""

    reference: Runner
    candidate: Runner


def ahead_of(models: Models, pairs: Sequence[Pair]) -> Models | None:
    """The models once more, to run one sample ahead in `sum_samples`.

    Summing up a sample of a small network takes about as long as running it, and a processor has more than one core.

    Args:
        models: that run.
        pairs: the layers that are compared.

    Returns:
        None: it does not save time, or takes much memory.
    """
    tensors = [tensor for runner in models for tensor in runner.facts.tensors]
    size = sum(runner.facts.size_bytes for runner in models) + sum(4 * abs(math.prod(one.shape)) for one in tensors)
    return Models(*(one.twin() for one in models)) if _is_large(pairs) and size < _AHEAD_BYTES else None


def sum_samples(
    models: Models,
    given: Feed,
    pairs: Sequence[Pair],
    outputs: OutputSums,
    *,
    limit: int | None = None,
    checkpoint: Checkpoint | None = None,
    logs: tuple[FrameLog | None, FrameLog | None] = (None, None),
    ahead: Models | None = None,
) -> Sums:
    """Runs both models over samples and sums up every layer and output. Reports progress.

    Args:
        models: with all tensors preserved.
        given: the inputs.
        pairs: the layers.
        outputs: takes the models' outputs.
        limit: only the first so many samples; None: all.
        checkpoint: the run continues from it if it fits, and is saved to it; it is complete at the end, for the caller
            to discard. The sums are those of an uninterrupted run bit for bit. Why one was ignored is in its `note`.
        logs: of the reference and of the candidate; one that continues is cut to the checkpoint's samples, and a
            checkpoint with more samples than the log is ignored.
        ahead: the models once more; they take turns, one pair running the next sample while the other's is measured.
            Only for models whose runs depend on their inputs alone.

    Returns:
        The sums, which a stored run keeps; their `figures` are those of every pair, in their order.

    Raises:
        InvalidInput: the samples do not fit the models, or `limit` is less than 1.
        Unsupported: the runtime cannot run a model.
    """
    if limit is not None and limit < 1:
        raise InvalidInput(f"{limit} samples cannot be compared", hint="give at least 1")
    count = given.count if limit is None else min(given.count, limit)
    sums = empty_sums(models.reference.facts, pairs, outputs)
    start = _resume(checkpoint, sums, count, logs)
    turns = [models] if ahead is None else [models, ahead]
    work = Workspace()
    for number, run in enumerate(_runs(turns, islice(given, start, count)), start):
        sums.fold(_look(run, pairs, sums, number, work))
        for log, runner in zip(logs, run.models, strict=True):
            if log is not None:
                log.add(runner)
        progress((number + 1) / count, f"sample {number + 1} of {count}")
        if checkpoint is not None and (checkpoint.is_due() or number + 1 == count):
            _save(checkpoint, number + 1, sums, logs)
    return sums


def empty_sums(reference: ModelFacts, pairs: Sequence[Pair], outputs: OutputSums) -> Sums:
    """Sums before the first sample.

    Args:
        reference: facts of the reference.
        pairs: the layers.
        outputs: takes the models' outputs.

    Returns:
        The sums.
    """
    sparing = _is_large(pairs)
    bounds = [activation_bounds(reference.ops[pair.reference.op_index]) for pair in pairs]
    return Sums([LayerSums(sparing=sparing, bounds=one) for one in bounds], outputs)


class Sums:
    """All that a comparison has summed up.

    Args:
        layers: of every pair, in their order.
        outputs: of the models.
    """

    def __init__(self, layers: Sequence[LayerSums], outputs: OutputSums) -> None:
        self.layers = layers
        self.outputs = outputs

    def fold(self, seen: _Seen) -> None:
        """Adds the next sample.

        Args:
            seen: of that sample.
        """
        self.outputs.fold(seen.outputs)
        for one, look in zip(self.layers, seen.layers, strict=True):
            one.fold(look)

    def figures(self) -> list[LayerFigures]:
        """The figures of every layer, in the order of the pairs."""
        return [one.figures() for one in self.layers]

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays by name, for `restore`."""
        found = {f"outputs/{name}": array for name, array in self.outputs.state().items()}
        found["layers"] = np.array([len(self.layers)])
        for number, sums in enumerate(self.layers):
            found |= {f"layer/{number}/{name}": array for name, array in sums.state().items()}
        return found

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: arrays by name.

        Raises:
            KeyError: it is not the state of such sums.
            ValueError: it is not the state of such sums.
            IndexError: it is not the state of such sums.
            TypeError: it is not the state of such sums.
        """
        if int(state["layers"][0]) != len(self.layers):
            raise ValueError("another number of layers")
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in state.items():
            head, _, rest = name.partition("/")
            number, _, field = rest.partition("/")
            if head == "layer":
                parts.setdefault(number, {})[field] = array
            elif head == "outputs":
                parts.setdefault(head, {})[rest] = array
        self.outputs.restore(parts["outputs"])
        for place, sums in enumerate(self.layers):
            sums.restore(parts[str(place)])


def _resume(
    checkpoint: Checkpoint | None, sums: Sums, count: int, logs: tuple[FrameLog | None, FrameLog | None]
) -> int:
    """Takes the sums of the checkpoint; returns how many samples they are of."""
    start = 0
    found = checkpoint.load() if checkpoint is not None else None
    if checkpoint is not None and found is not None:
        done, state = found
        if done > count:
            checkpoint.reject(f"it has {done} samples, and only {count} are asked for")
        elif any(log is not None and log.frames < done for log in logs):
            checkpoint.reject("the layer log does not reach as far")
        else:
            empty = sums.state()
            try:
                sums.restore(state)
                start = done
            except (KeyError, ValueError, IndexError, TypeError) as error:
                sums.restore(empty)
                checkpoint.reject(f"it is damaged ({error})")
    for log in logs:
        if log is not None:
            log.keep(start)
    if checkpoint is not None and (start or checkpoint.note):
        progress(start / count, checkpoint.note or f"continuing after sample {start} of {count}")
    return start


def _save(checkpoint: Checkpoint, done: int, sums: Sums, logs: tuple[FrameLog | None, FrameLog | None]) -> None:
    for log in logs:
        if log is not None:
            # A checkpoint must never know of more frames than the log holds.
            log.flush()
    checkpoint.save(done, sums.state())


def _is_large(pairs: Sequence[Pair]) -> bool:
    return sum(abs(math.prod(pair.candidate.tensor.shape)) for pair in pairs) > LARGE_MODEL_VALUES


class _Seen(NamedTuple):
    """What one sample adds to the sums."""

    outputs: OutputLook
    layers: tuple[Look, ...]


class _Run(NamedTuple):
    """Models that ran on a sample, and their outputs."""

    models: Models
    first: dict[str, NDArray[Any]]
    second: dict[str, NDArray[Any]]


def _run(models: Models, inputs: Mapping[str, NDArray[Any]]) -> _Run:
    reference, candidate = models
    first = reference.run(inputs, dequantized=True)
    second = candidate.run(translate(inputs, reference.facts, candidate.facts), dequantized=True)
    return _Run(models, first, second)


def _runs(turns: Sequence[Models], given: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[_Run]:
    """Runs of the models over the samples, in order; each is good until the next is asked for.

    If several models take turns, all but one run ahead on one thread. Measuring on that thread too was slower: two
    threads that both measure get in each other's way (shared cache, interpreter lock).
    """
    if len(turns) == 1:
        yield from (_run(turns[0], inputs) for inputs in given)
        return
    running: deque[Future[_Run]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for models, inputs in zip(cycle(turns), given, strict=False):
            running.append(thread.submit(_run, models, inputs))
            if len(running) == len(turns):
                yield running.popleft().result()
        yield from (one.result() for one in running)


def _look(run: _Run, pairs: Sequence[Pair], sums: Sums, number: int, work: Workspace) -> _Seen:
    """Looks at one sample and changes no sums."""
    outputs = sums.outputs.look(run.first, run.second, number, work)
    # The last layers were written last, and may still be in the processor's cache.
    both = zip(reversed(pairs), reversed(sums.layers), strict=True)
    layers = [_look_at_layer(one, pair, run.models, number, work) for pair, one in both]
    return _Seen(outputs, tuple(reversed(layers)))


def _look_at_layer(sums: LayerSums, pair: Pair, models: Models, number: int, work: Workspace) -> Look:
    # Views are let go with the frame of this call, as in `add_layer`.
    return sums.look(_sides(pair, *models, pair.candidate.tensor.index), number, work)


def add_layer(sums: LayerSums, pair: Pair, reference: Runner, candidate: Runner, index: int) -> None:
    """Adds the values of one layer from the last run of both models.

    Args:
        sums: of the layer.
        pair: the layer.
        reference: after a run.
        candidate: after a run.
        index: tensor index of the layer in the candidate's runner.
    """
    # Views are let go with the frame of this call: the runtime does not run while one is held.
    first, second = _sides(pair, reference, candidate, index)
    sums.add(first.array, second.array, first.quantization, second.quantization)


def _sides(pair: Pair, reference: Runner, candidate: Runner, index: int) -> tuple[Tensor, Tensor]:
    """Views of what both models' last runs wrote for one layer, in the candidate's shape."""
    values = candidate.view(index)
    expected = arranged(reference.view(pair.reference.tensor.index), pair, values.shape)
    quantizations = pair.reference.tensor.quantization, candidate.facts.tensors[index].quantization
    return Tensor(expected, quantizations[0]), Tensor(values, quantizations[1])


def arranged(array: NDArray[Any], pair: Pair, shape: tuple[int, ...]) -> NDArray[Any]:
    """The reference's values in the order and shape of the candidate's at run time.

    Args:
        array: of the reference.
        pair: the layer.
        shape: of the candidate's array.

    Returns:
        The same values.
    """
    if pair.permutation is not None and len(pair.permutation) == array.ndim:
        return array.transpose(pair.permutation)
    if pair.reference.tensor.shape != pair.candidate.tensor.shape and math.prod(shape) == array.size:
        return array.reshape(shape)
    return array
