"""The lines of a log that can matter; the noise between them is only counted."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from windtunnel.log_parser.domain.lines.blocks import Opens, blocks
from windtunnel.log_parser.domain.lines.known_prefixes import header_of_long
from windtunnel.log_parser.domain.lines.learned_prefixes import Learner
from windtunnel.log_parser.domain.lines.read_lines import Line, LineReader
from windtunnel.log_parser.domain.lines.signals import SIGNALS, Scanner

# How many lines after one that was understood are read whatever they are: rows of tables, reasons, reports of crashes.
_AFTER, _AFTER_WITH_PID = 400, 40
# These are read whatever they are: a part of a log may begin with lines that have no signal.
_FIRST_LINES = 200
# How many lines of a message of `logcat -v long` are read after its header.
_LONGEST_MESSAGE = 60
_MOST_PROCESSES = 8
_FEW_HEADERS = 200

# Takes the number and the bytes of a line that was passed over. False: no more of them are wanted.
Skipped = Callable[[int, bytes], bool]


_Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Block:
    """The lines of a block: where each begins and ends, which hold a signal, which say nothing at all."""

    data: bytes
    starts: _Ints
    ends: _Ints
    wanted: list[int]
    silent: _Ints
    headers: _Ints
    # Of the first line.
    number: int

    def line(self, index: int) -> bytes:
        """A line without its line feed.

        Args:
            index: of the line in the block.

        Returns:
            Its bytes.
        """
        return self.data[self.starts[index] : self.ends[index]]


class RelevantLines:
    """Reads a log: lines with a signal, lines after one that was understood, and lines of a process that is followed.

    Args:
        open_log: opens the log.
        shapes: prefixes that were learned from it.
        skipped: receives each line, not blank, that is passed over; None: they are only counted.
    """

    def __init__(
        self, open_log: Opens, shapes: tuple[re.Pattern[str], ...] = (), skipped: Skipped | None = None
    ) -> None:
        self._open = open_log
        self._shapes = shapes
        self._learner = Learner()
        self._tell = skipped
        self._scanner = _scanner()
        self._until = _FIRST_LINES
        self._followed: dict[bytes, None] = {}
        self.skipped = 0

    def learned(self) -> tuple[re.Pattern[str], ...]:
        """Prefixes that no rule knows, learned from the lines that were read."""
        return self._learner.shapes()

    def understood(self, line: Line) -> None:
        """Asks for the lines after this one.

        Args:
            line: that was understood.
        """
        self._until = max(self._until, line.number + (_AFTER_WITH_PID if line.pid else _AFTER))

    def follow(self, mark: str) -> None:
        """Asks for every further line of a process.

        Args:
            mark: the process as its lines have it.
        """
        self._followed[mark.encode()] = None
        if len(self._followed) > _MOST_PROCESSES:
            del self._followed[next(iter(self._followed))]

    def __iter__(self) -> Iterator[Line]:
        reader = LineReader(self._shapes)
        with self._open() as stream:
            number = 1
            for data in blocks(stream):
                block = self._block(data, number)
                for index in self._chosen(block):
                    line = reader.read(block.line(index), number + index, partial=block.ends[index] == len(data))
                    if line is not None:
                        if not self._shapes:
                            self._learner.note(line.text)
                        yield line
                    elif self._until < number + index + 1:
                        self._until = number + self._end_of_message(block, index)
                number += len(block.starts)

    def _block(self, data: bytes, number: int) -> _Block:
        content = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(content == 10)
        if not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        starts = np.concatenate(([0], ends[:-1] + 1))
        first = content[np.minimum(starts, len(data) - 1)]
        last = content[np.maximum(ends - 1, 0)]
        spaces = np.flatnonzero((first <= 0x20) & (ends > starts))
        spaces = np.array([index for index in spaces if not data[starts[index] : ends[index]].strip()], dtype=np.int64)
        blank = ends == starts
        blank[spaces] = True
        before_return = content[np.maximum(ends - 2, 0)]
        final = np.where(last == 0x0D, before_return, last)
        # Behind its prefix a message may be empty: such a line is not one that no rule knew.
        wanted = (final == 0x20) | (final == 0x3A)
        wanted[np.searchsorted(ends, self._scanner.find(content))] = True
        wanted &= ~blank
        headers = _headers(data, starts, ends, first, final)
        silent = blank
        silent[headers] = True
        return _Block(data, starts, ends, np.flatnonzero(wanted).tolist(), np.flatnonzero(silent), headers, number)

    def _chosen(self, block: _Block) -> Iterator[int]:
        """Indexes of the lines to read, ascending; those between are counted."""
        index, count = 0, len(block.starts)
        followed = _Followed(block)
        while index < count:
            if block.number + index >= self._until:
                chosen = min(_next(block.wanted, index, count), followed.next(self._followed, index))
                header = self._header_before(block, chosen)
                if index <= header and chosen - header < _LONGEST_MESSAGE:
                    chosen = header
                if index < chosen < count and block.data[block.ends[chosen - 1] - 1] == 0x7B:
                    # The brace of a report is before its first line.
                    chosen -= 1
                self._pass_over(block, index, chosen)
                index = chosen
                if index >= count:
                    return
            yield index
            index += 1

    def _pass_over(self, block: _Block, begin: int, end: int) -> None:
        silent = block.silent[slice(*np.searchsorted(block.silent, (begin, end)))].tolist()
        self.skipped += end - begin - len(silent)
        tell = self._tell
        if tell is None:
            return
        for index in sorted(set(range(begin, end)) - set(silent)):
            if not tell(block.number + index, block.line(index)):
                self._tell = None
                return

    @staticmethod
    def _header_before(block: _Block, index: int) -> int:
        """The header of `logcat -v long` that a line belongs to; -1: there is none."""
        at = int(np.searchsorted(block.headers, index, side="right")) - 1
        return int(block.headers[at]) if at >= 0 else -1

    @staticmethod
    def _end_of_message(block: _Block, header: int) -> int:
        """The line after the message of such a header."""
        later = int(np.searchsorted(block.headers, header, side="right"))
        end = int(block.headers[later]) if later < len(block.headers) else len(block.starts)
        return min(end, header + _LONGEST_MESSAGE)


def _headers(
    data: bytes, starts: _Ints, ends: _Ints, first: npt.NDArray[np.uint8], final: npt.NDArray[np.uint8]
) -> _Ints:
    """The lines that `logcat -v long` prints before a message."""
    likely = np.flatnonzero((first == 0x5B) & (final == 0x5D))
    sample = likely if len(likely) <= _FEW_HEADERS else likely[:: len(likely) // _FEW_HEADERS]
    lines = ((index, data[starts[index] : ends[index]].decode("utf-8", "replace")) for index in sample)
    are_headers = [index for index, line in lines if header_of_long(line.rstrip("\r")) is not None]
    if len(sample) < len(likely) and len(are_headers) > 0.9 * len(sample):
        # So many are a logcat in this format: their form is enough.
        return likely
    if len(sample) == len(likely):
        return np.array(are_headers, dtype=np.int64)
    lines = ((index, data[starts[index] : ends[index]].decode("utf-8", "replace")) for index in likely)
    return np.array([index for index, line in lines if header_of_long(line.rstrip("\r")) is not None], dtype=np.int64)


@cache
def _scanner() -> Scanner:
    return Scanner(SIGNALS)


class _Followed:
    """Where in a block the processes are named that are followed.

    Args:
        block: lines of the log.
    """

    def __init__(self, block: _Block) -> None:
        self._block = block
        self._at: dict[bytes, int] = {}

    def next(self, needles: dict[bytes, None], index: int) -> int:
        """The first line that names one of them.

        Args:
            needles: the processes as their lines have them.
            index: of the first line that counts.

        Returns:
            Its index; the number of lines if none does.
        """
        count = len(self._block.starts)
        best = count
        for needle in needles:
            at = self._at.get(needle, -1)
            if at < index:
                offset = self._block.data.find(needle, int(self._block.starts[index]))
                at = count if offset < 0 else int(np.searchsorted(self._block.ends, offset))
                self._at[needle] = at
            best = min(best, at)
        return best


def _next(ascending: list[int], least: int, otherwise: int) -> int:
    at = bisect_left(ascending, least)
    return ascending[at] if at < len(ascending) else otherwise
