"""Running figures of one layer over all samples; the formulas are in `formulas`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.comparison import CONSTANT_DIFFERS, NON_FINITE, SHAPE_DIFFERS
from windtunnel.diagnosis.numerics import formulas
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
from windtunnel.diagnosis.thresholds.numerics_thresholds import CLOSE_EVERY, CLOSE_FIRST, MOST_CHANNELS
from windtunnel.tflite import Quantization

State = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class DeadChannels:
    """Channels that hold one value over all samples and positions."""

    reference: int
    candidate: int
    channels: int


@dataclass(frozen=True, slots=True)
class ChannelNrmse:
    """nRMSE of single channels along `axis` (from the end: -1 is the last), each by its own range.

    `without` channels are constant on both sides but different; they have no figure and are not in the rest.
    """

    axis: int
    worst: int
    max: float
    median: float
    without: int


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """How far a layer drifted, over all samples; `nrmse` is None where `problem` says why.

    rmse, max_abs, value_range, the ranges (low, high) and `bias` (mean of candidate - reference) are in the layer's
    real units. `nrmse_ci` is the 95 % interval of `formulas.nrmse_interval`. `saturated_low` and `saturated_high`
    are shares of the candidate's stored integers at the ends of their type (a ReLU's zeros lie at the low end),
    None for floats. Cosine, SNR, bias, saturation, dead and single channels are of the `close_samples` that were
    looked at closely: all of them, or in a large model (`stream.LARGE`) the first 4 and then every 32nd.
    """

    nrmse: float | None
    rmse: float | None
    max_abs: float | None
    value_range: float | None
    problem: str | None
    nrmse_ci: tuple[float, float] | None = None
    cosine: float | None = None
    snr_db: float | None = None
    bias: float | None = None
    saturated_low: float | None = None
    saturated_high: float | None = None
    dead_channels: DeadChannels | None = None
    channel_nrmse: ChannelNrmse | None = None
    reference_range: tuple[float, float] | None = None
    candidate_range: tuple[float, float] | None = None
    non_finite: int = 0
    reference_non_finite: int = 0
    samples: int = 0
    close_samples: int = 0

    @property
    def saturated(self) -> float | None:
        """Share of stored integers at either end of their type."""
        if self.saturated_low is None or self.saturated_high is None:
            return None
        return self.saturated_low + self.saturated_high


@dataclass(frozen=True, slots=True)
class Look:
    """What one sample adds to the sums of a layer: few numbers, and no view of a tensor.

    `stored` counts the candidate's stored integers that were looked at, at the low end of their type, at the high end;
    `non_finite` the NaNs and infinities of reference and candidate. `measured` is None where these or the shapes leave
    no sums. `moments` (sum a b, sum b^2) and `channels` are of a sample looked at closely.
    """

    shape_differs: bool = False
    closely: bool = False
    stored: tuple[int, int, int] = (0, 0, 0)
    non_finite: tuple[int, int] = (0, 0)
    measured: Measured | None = None
    moments: tuple[float, float] = (0.0, 0.0)
    channels: ChannelLook | None = None


class LayerSums:
    """Sums that give a layer's figures over all samples without keeping them.

    Ranges are max - min over all samples (ML-EXray, MLSys 2022). Both zero: nRMSE is 0 where the constants are
    equal; else there is none, with the problem CONSTANT_DIFFERS. A NaN or infinity on either side leaves no figure:
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
        self._moments = formulas.SampleMoments()
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

    def add(
        self,
        reference: NDArray[Any],
        candidate: NDArray[Any],
        reference_quantization: Quantization | None = None,
        candidate_quantization: Quantization | None = None,
    ) -> None:
        """Adds one sample: both sides in one shape, as stored with their quantisation, or as real values."""
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

        Returns: what `fold` takes, in the order of the samples. Ends that samples folded so far have reached are not
        looked for again, and the sums are the same without knowing them.
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
        return Look(False, True, stored, (0, 0), measured, second_moments(*sides, measured), per_channel)

    def fold(self, look: Look) -> None:
        """Adds the next sample, as `look` saw it."""
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

    def _fold_channels(self, look: ChannelLook | None) -> None:
        if self._channels is None:
            if look is None or self._channels_vary:
                return
            self._channels = ChannelSums(len(look.squares))
            self._scales = look.scales
        if look is None or self._channels.channels != len(look.squares):
            # Where the number of channels changes from sample to sample they are no channels.
            self._channels, self._channels_vary = None, True
        else:
            self._channels.add(look)

    def figures(self) -> LayerFigures:
        """The figures over all samples added so far."""
        problem = self._problem()
        if problem is not None:
            return self._without(problem)
        moments = self._moments
        if not moments.counts:
            return LayerFigures(0.0, 0.0, 0.0, 0.0, None, samples=self.samples)
        error = formulas.rmse(moments.squares, moments.counts)
        low_a, high_a, low_b, high_b = self._ends
        value_range = max(high_a - low_a, high_b - low_b)
        nrmse = formulas.nrmse(error, value_range)
        count, reference, products, candidate, squares, difference = self._sums
        saturated = self._saturated()
        return LayerFigures(
            nrmse=nrmse,
            rmse=error,
            max_abs=self._largest,
            value_range=value_range,
            problem=CONSTANT_DIFFERS if nrmse is None else None,
            nrmse_ci=formulas.nrmse_interval(moments, value_range),
            cosine=formulas.cosine(products, reference, candidate),
            snr_db=formulas.snr_db(reference, squares),
            bias=difference / count if count else None,
            saturated_low=saturated[0],
            saturated_high=saturated[1],
            dead_channels=self._dead(),
            channel_nrmse=self._channel_nrmse(),
            reference_range=(low_a, high_a),
            candidate_range=(low_b, high_b),
            samples=self.samples,
            close_samples=self._close,
        )

    def _problem(self) -> str | None:
        if self._shape_differs:
            return SHAPE_DIFFERS
        return NON_FINITE if self.reference_non_finite or self.candidate_non_finite else None

    def _without(self, problem: str) -> LayerFigures:
        return LayerFigures(
            *(None, None, None, None, problem),
            non_finite=self.candidate_non_finite,
            reference_non_finite=self.reference_non_finite,
            samples=self.samples,
        )

    def _saturated(self) -> tuple[float, float] | tuple[None, None]:
        seen, low, high = self._stored
        return (low / seen, high / seen) if seen else (None, None)

    def _dead(self) -> DeadChannels | None:
        # One value per channel is constant by itself.
        if self._channels is None or self._moments.counts <= self._channels.channels:
            return None
        return DeadChannels(*self._channels.dead(), self._channels.channels)

    def _channel_nrmse(self) -> ChannelNrmse | None:
        if self._channels is None or not self._channels.count:
            return None
        ranges = self._channels.ranges(self._scales)
        found = formulas.channel_nrmse(self._channels.squares, self._channels.count, ranges)
        known = found[np.isfinite(found)]
        if not len(known):
            return None
        return ChannelNrmse(
            axis=-1,
            worst=int(np.nanargmax(found)),
            max=float(known.max()),
            median=float(np.median(known)),
            without=len(found) - len(known),
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
        return found

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes the sums of another `state`. Raises ValueError where it is none."""
        numbers = [float(value) for value in state["numbers"]]
        if len(numbers) != 28:
            raise ValueError(f"{len(numbers)} numbers are no layer's sums")
        self.samples, self.reference_non_finite, self.candidate_non_finite = (int(value) for value in numbers[:3])
        self._shape_differs, self._close, self._largest = bool(numbers[3]), int(numbers[4]), numbers[5]
        self._ends, self._sums = numbers[6:10], numbers[10:16]
        self._stored = [int(value) for value in numbers[16:19]]
        self._scales, self._channels_vary = (numbers[19], numbers[20]), bool(numbers[21])
        self._moments.restore(numbers[22:])
        channels = state.get("channels")
        self._channels = None
        if channels is not None:
            self._channels = ChannelSums(channels.shape[1])
            self._channels.restore(channels)


def _channels_of(shape: tuple[int, ...]) -> int:
    """The size of the last dimension where that are channels, else 0."""
    return shape[-1] if len(shape) > 1 and 0 < shape[-1] <= MOST_CHANNELS else 0


def _count_stored(tensor: Tensor) -> tuple[int, int, int]:
    """Stored integers of a quantized tensor: all, at the low end of their type, at the high end."""
    array = tensor.array
    if tensor.quantization is None or array.dtype.kind not in "iu":
        return (0, 0, 0)
    limits = np.iinfo(array.dtype)
    return array.size, int(np.count_nonzero(array == limits.min)), int(np.count_nonzero(array == limits.max))


def is_close(index: int) -> bool:
    """Whether a large model's sample at `index` is looked at closely."""
    return index < CLOSE_FIRST or index % CLOSE_EVERY == 0
