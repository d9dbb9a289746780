"""Running sums of one layer over all samples; the formulas are in `metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.layer_diff import CONSTANT_DIFFERS, NON_FINITE, SHAPE_DIFFERS
from windtunnel.diagnosis.numerics import metrics
from windtunnel.diagnosis.numerics.block_sums import (
    UNBOUNDED,
    Measured,
    Seen,
    Tensor,
    Workspace,
    count_non_finite,
    measure,
    second_moments,
)
from windtunnel.diagnosis.numerics.channel_sums import ChannelLook, ChannelSums, look_at_channels
from windtunnel.diagnosis.numerics.layer_totals import CloseTotals, LayerTotals, Range
from windtunnel.diagnosis.numerics.metric import Metric
from windtunnel.diagnosis.numerics.nrmse_interval import SampleMoments
from windtunnel.diagnosis.thresholds.numerics_thresholds import CLOSE_EVERY, CLOSE_FIRST, MOST_CHANNELS
from windtunnel.tflite import Quantization

State = dict[str, NDArray[np.float64]]
Further = Mapping[str, tuple[float, ...]]
_FURTHER = "further/"


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """How far a layer drifted, over all samples.

    Args:
        problem: why there is no nRMSE; None if there is one.
        values: every metric by its name (`metrics.METRICS`); all are None if NaN, infinity or another shape leave none.
        reference_range: (low, high) of the reference, in real units; None without values.
        candidate_range: (low, high) of the candidate, in real units; None without values.
        non_finite: how many values of the candidate are NaN or infinite.
        reference_non_finite: how many values of the reference are.
        samples: how many samples were added.
        close_samples: how many of them were examined closely: all, or in a large model the first 4 and then every 32nd.
    """

    problem: str | None
    values: Mapping[str, Any]
    reference_range: Range | None = None
    candidate_range: Range | None = None
    non_finite: int = 0
    reference_non_finite: int = 0
    samples: int = 0
    close_samples: int = 0

    @property
    def nrmse(self) -> float | None:
        """The nRMSE (`metrics.nrmse`)."""
        found: float | None = self.values["nrmse"]
        return found

    @property
    def rmse(self) -> float | None:
        """The RMSE (`metrics.rmse`), in real units of the layer."""
        found: float | None = self.values["rmse"]
        return found


@dataclass(frozen=True, slots=True)
class Look:
    """What one sample adds to the sums of a layer: few numbers, and no view of a tensor.

    `stored` counts the candidate's stored integers that were looked at, at the low end of their type, at the high end;
    `non_finite` the NaNs and infinities of reference and candidate. `measured` is None where these or the shapes leave
    no sums. `moments` (sum a b, sum b^2), `channels` and `further` are of a sample examined closely; `further` has the
    numbers of `Metric.sums` by the name of the metric.
    """

    shape_differs: bool = False
    closely: bool = False
    stored: tuple[int, int, int] = (0, 0, 0)
    non_finite: tuple[int, int] = (0, 0)
    measured: Measured | None = None
    moments: tuple[float, float] = (0.0, 0.0)
    channels: ChannelLook | None = None
    further: Further = field(default_factory=dict)


class LayerSums:
    """Sums that give a layer's figures over all samples without keeping them.

    Ranges are max - min over all samples (ML-EXray, MLSys 2022). Both zero: nRMSE is 0 if the constants are
    equal; if not, there is none, with the problem CONSTANT_DIFFERS. A NaN or infinity on either side leaves no figure:
    NON_FINITE.

    Args:
        sparing: looks closely at some samples only (`is_close`).
        bounds: real values between which the reference lies (0 and 6 after a ReLU6). A bound that was reached once is
            not looked for again.
    """

    def __init__(self, *, sparing: bool = False, bounds: tuple[float, float] = UNBOUNDED) -> None:
        self.samples = 0
        self.reference_non_finite = 0
        self.candidate_non_finite = 0
        self._work: Workspace | None = None
        self._sparing = sparing
        self._bounds = bounds
        self._shape_differs = False
        self._close = 0
        self._moments = SampleMoments()
        self._largest = 0.0
        # Reference low and high, candidate low and high.
        self._ends = [np.inf, -np.inf, np.inf, -np.inf]
        # Of the samples looked at closely: values, sum a^2, sum a b, sum b^2, sum d^2, sum d.
        self._sums = [0.0] * 6
        # Stored integers: looked at, at the low end, at the high end.
        self._stored = [0, 0, 0]
        self._scales = (1.0, 1.0)
        self._channels: ChannelSums | None = None
        self._channels_vary = False
        self._wanting = tuple(one for one in metrics.METRICS if one.sums is not None)
        self._further: dict[str, tuple[float, ...]] = {}

    def add(
        self,
        reference: NDArray[Any],
        candidate: NDArray[Any],
        reference_quantization: Quantization | None = None,
        candidate_quantization: Quantization | None = None,
    ) -> None:
        """Adds one sample.

        Args:
            reference: as stored, or real values.
            candidate: of the same shape.
            reference_quantization: of what is stored; None: real values.
            candidate_quantization: of what is stored; None: real values.
        """
        if self._work is None:
            self._work = Workspace()
        sides = Tensor(reference, reference_quantization), Tensor(candidate, candidate_quantization)
        self.fold(self.look(sides, self.samples, self._work))

    def look(self, sides: tuple[Tensor, Tensor], index: int, work: Workspace) -> Look:
        """Looks at one sample and changes nothing: any thread may, on any sample, in any order.

        Args:
            sides: reference and candidate, as stored with their quantization, or as real values.
            index: which sample it is, from 0.
            work: buffers that no other thread uses meanwhile.

        Returns:
            What `fold` takes, in the order of the samples. Ends that earlier samples have reached are not looked for
            again; the sums are the same without knowing them.
        """
        if sides[0].array.shape != sides[1].array.shape:
            return Look(shape_differs=True)
        closely = not self._sparing or is_close(index)
        stored = _count_stored(sides[1]) if closely else (0, 0, 0)
        if not (sides[0].is_fast and sides[1].is_fast):
            sides = Tensor(sides[0].real()), Tensor(sides[1].real())
        low, high, *candidate = self._ends
        seen = Seen((low, high), self._bounds), Seen((candidate[0], candidate[1]))
        channels = _channels_of(sides[0].array.shape) if closely else 0
        measured = measure(*sides, work, closely=closely, channels=channels, seen=seen)
        if measured is None:
            return Look(stored=stored, non_finite=(count_non_finite(sides[0]), count_non_finite(sides[1])))
        if not closely or not measured.count:
            return Look(stored=stored, measured=measured)
        squares = measured.channel_squares
        per_channel = None if squares is None else look_at_channels(sides, squares)
        moments, further = second_moments(*sides, measured), _further(self._wanting, sides)
        return Look(False, True, stored, (0, 0), measured, moments, per_channel, further)

    def fold(self, look: Look) -> None:
        """Adds the next sample.

        Args:
            look: of that sample.
        """
        self.samples += 1
        self._shape_differs = self._shape_differs or look.shape_differs
        self._stored = [old + new for old, new in zip(self._stored, look.stored, strict=True)]
        self.reference_non_finite += look.non_finite[0]
        self.candidate_non_finite += look.non_finite[1]
        new = look.measured
        if new is None or not new.count:
            return
        self._moments.add(new.squares, new.count)
        self._largest = max(self._largest, new.largest)
        low_high = new.reference_low, new.reference_high, new.candidate_low, new.candidate_high
        # Replaced as a whole: another thread may just look at a sample.
        self._ends = [pick(old, one) for pick, old, one in zip((min, max, min, max), self._ends, low_high, strict=True)]
        if look.closely:
            self._close += 1
            sums = new.count, new.reference, *look.moments, new.squares, new.difference
            self._sums = [old + float(one) for old, one in zip(self._sums, sums, strict=True)]
            self._fold_channels(look.channels)
            self._fold_further(look.further)

    def _fold_further(self, look: Further) -> None:
        for one in self._wanting:
            new, old = look[one.name], self._further.get(one.name)
            assert one.sums is not None
            self._further[one.name] = new if old is None else tuple(map(one.sums.combine, old, new))

    def _fold_channels(self, look: ChannelLook | None) -> None:
        if self._channels is None:
            if look is None or self._channels_vary:
                return
            self._channels = ChannelSums(len(look.squares))
            self._scales = look.scales
        if look is None or self._channels.channels != len(look.squares):
            # A last dimension that changes from sample to sample does not count channels.
            self._channels, self._channels_vary = None, True
        else:
            self._channels.add(look)

    def figures(self) -> LayerFigures:
        """The figures over all samples added so far."""
        problem = self._problem()
        if problem is not None:
            return self._without(problem)
        totals = self.totals()
        values = metrics.values_of(totals)
        return LayerFigures(
            CONSTANT_DIFFERS if values["nrmse"] is None else None,
            values,
            reference_range=totals.reference_range if totals.count else None,
            candidate_range=totals.candidate_range if totals.count else None,
            samples=self.samples,
            close_samples=self._close,
        )

    def totals(self) -> LayerTotals:
        """All sums over the samples added so far: what the metrics are computed from."""
        low_a, high_a, low_b, high_b = self._ends
        count, reference, products, candidate, squares, difference = self._sums
        stored, low, high = self._stored
        return LayerTotals(
            samples=self.samples,
            count=self._moments.counts,
            squares=self._moments.squares,
            largest=self._largest,
            reference_range=(low_a, high_a),
            candidate_range=(low_b, high_b),
            moments=self._moments,
            close=CloseTotals(
                samples=self._close,
                count=count,
                reference=reference,
                products=products,
                candidate=candidate,
                squares=squares,
                difference=difference,
                stored=(stored, low, high),
                channels=self._channels,
                scales=self._scales,
                further=self._further,
            ),
        )

    def _problem(self) -> str | None:
        if self._shape_differs:
            return SHAPE_DIFFERS
        return NON_FINITE if self.reference_non_finite or self.candidate_non_finite else None

    def _without(self, problem: str) -> LayerFigures:
        return LayerFigures(
            problem,
            dict.fromkeys(one.name for one in metrics.METRICS),
            non_finite=self.candidate_non_finite,
            reference_non_finite=self.reference_non_finite,
            samples=self.samples,
        )

    def state(self) -> State:
        """The sums as arrays, for `restore`; the figures of both are the same bit for bit."""
        numbers = [
            *(self.samples, self.reference_non_finite, self.candidate_non_finite, self._shape_differs, self._close),
            *(self._largest, *self._ends, *self._sums, *self._stored, *self._scales, self._channels_vary),
            *self._moments.state(),
        ]
        found = {"numbers": np.array(numbers, dtype=np.float64)}
        if self._channels is not None:
            found["channels"] = self._channels.state()
        return found | {_FURTHER + name: np.array(one, dtype=np.float64) for name, one in self._further.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: arrays by name.

        Raises:
            ValueError: it is not the state of a layer's sums.
        """
        numbers = [float(value) for value in state["numbers"]]
        if len(numbers) != 28:
            raise ValueError(f"{len(numbers)} numbers are not the sums of a layer")
        self.samples, self.reference_non_finite, self.candidate_non_finite = (int(value) for value in numbers[:3])
        self._shape_differs, self._close, self._largest = bool(numbers[3]), int(numbers[4]), numbers[5]
        self._ends, self._sums = numbers[6:10], numbers[10:16]
        self._stored = [int(value) for value in numbers[16:19]]
        self._scales, self._channels_vary = (numbers[19], numbers[20]), bool(numbers[21])
        self._moments.restore(numbers[22:])
        kept = {name.removeprefix(_FURTHER): one for name, one in state.items() if name.startswith(_FURTHER)}
        self._further = {name: tuple(float(value) for value in one) for name, one in kept.items()}
        # Sums that the samples so far did not make are not made of the rest either: they would be of a part.
        self._wanting = tuple(one for one in self._wanting if not self.samples or one.name in self._further)
        channels = state.get("channels")
        self._channels = None
        if channels is not None:
            self._channels = ChannelSums(channels.shape[1])
            self._channels.restore(channels)


def _channels_of(shape: tuple[int, ...]) -> int:
    """The size of the last dimension if it counts channels, 0 if not."""
    return shape[-1] if len(shape) > 1 and 0 < shape[-1] <= MOST_CHANNELS else 0


def _further(wanting: Sequence[Metric], sides: tuple[Tensor, Tensor]) -> dict[str, tuple[float, ...]]:
    """What metrics need of one sample beyond the shared sums."""
    if not wanting:
        return {}
    reference, candidate = (one.real() for one in sides)
    return {one.name: one.sums.of_sample(reference, candidate) for one in wanting if one.sums is not None}


def _count_stored(tensor: Tensor) -> tuple[int, int, int]:
    """Stored integers of a quantized tensor: all, at the low end of their type, at the high end."""
    array = tensor.array
    if tensor.quantization is None or array.dtype.kind not in "iu":
        return (0, 0, 0)
    limits = np.iinfo(array.dtype)
    return array.size, int(np.count_nonzero(array == limits.min)), int(np.count_nonzero(array == limits.max))


def is_close(index: int) -> bool:
    """Whether a sample of a large model is looked at closely.

    Args:
        index: of the sample, from 0.

    Returns:
        True for the first CLOSE_FIRST, and then for every CLOSE_EVERY-th.
    """
    return index < CLOSE_FIRST or index % CLOSE_EVERY == 0
