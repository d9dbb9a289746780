"""The lines of a log that can matter; the noise between them is only counted."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from windtunnel.log_parser.domain.lines.blocks import Opens, blocks
from windtunnel.log_parser.domain.lines.known_prefixes import header_of_long
from windtunnel.log_parser.domain.lines.learned_prefixes import Learner
from windtunnel.log_parser.domain.lines.read_lines import Line, LineReader
from windtunnel.log_parser.domain.lines.signals import SIGNALS, Scanner

# How many lines after one that was understood are read whatever they are: rows of tables, reasons, reports of crashes.
_AFTER, _AFTER_WITH_PID = 400, 40
# How many lines of a message of `logcat -v long` are read after its header.
_LONGEST_MESSAGE = 60
_MOST_PROCESSES = 8

# Takes the number and the bytes of a line that was passed over. False: no more of them are wanted.
Skipped = Callable[[int, bytes], bool]


@dataclass(slots=True)
class _Block:
    """The lines of a block: where each begins and ends, which hold a signal, which say nothing at all."""

    data: bytes
    starts: list[int]
    ends: list[int]
    wanted: list[int]
    silent: list[int]
    headers: list[int]
    # Of the first line.
    number: int


class RelevantLines:
    """Reads a log: lines with a signal, lines after one that was understood, and lines of a process that is followed.

    Args:
        open_log: opens the log.
        shapes: prefixes that were learned from it.
        skipped: told of each line, not blank, that is passed over; None: they are only counted.
    """

    def __init__(
        self, open_log: Opens, shapes: tuple[re.Pattern[str], ...] = (), skipped: Skipped | None = None
    ) -> None:
        self._open = open_log
        self._shapes = shapes
        self._learner = Learner()
        self._tell = skipped
        self._scanner = Scanner(SIGNALS)
        self._until = 0
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
            mark: the process as it stands in its lines.
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
                    raw = data[block.starts[index] : block.ends[index]]
                    line = reader.read(raw, number + index, partial=block.ends[index] == len(data))
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
        first, last = content[np.minimum(starts, len(data) - 1)], content[np.maximum(ends - 1, 0)]
        hits = np.searchsorted(ends, self._scanner.find(content))
        # A message may be empty behind its prefix: such a line is not one that nobody understood.
        maybe_empty = np.flatnonzero((last == 0x20) | (last == 0x3A) | (last == 0x0D))
        silent = [
            index for index in np.flatnonzero(first <= 0x20).tolist() if not data[starts[index] : ends[index]].strip()
        ]
        headers = [
            index
            for index in np.flatnonzero(first == 0x5B).tolist()
            if header_of_long(data[starts[index] : ends[index]].decode("utf-8", "replace")) is not None
        ]
        empty = [
            index for index in maybe_empty.tolist() if data[ends[index] - 1] != 0x0D or data[ends[index] - 2] in b" :"
        ]
        wanted = sorted({*hits.tolist(), *empty} - set(silent))
        return _Block(data, starts.tolist(), ends.tolist(), wanted, sorted({*silent, *headers}), headers, number)

    def _chosen(self, block: _Block) -> Iterator[int]:
        """Indexes of the lines to read, ascending; those between are counted."""
        index, count = 0, len(block.starts)
        followed = _Followed(block)
        while index < count:
            if block.number + index >= self._until:
                chosen = min(_next(block.wanted, index, count), followed.next(self._followed, index))
                header = bisect_left(block.headers, chosen + 1) - 1
                if header >= 0 and index <= block.headers[header] and chosen - block.headers[header] < _LONGEST_MESSAGE:
                    chosen = block.headers[header]
                # A line before may belong to it: the brace of a report.
                chosen = max(index, chosen - 1)
                self._pass_over(block, index, chosen)
                index = chosen
                if index >= count:
                    return
            yield index
            index += 1

    def _pass_over(self, block: _Block, begin: int, end: int) -> None:
        silent = block.silent[bisect_left(block.silent, begin) : bisect_left(block.silent, end)]
        self.skipped += end - begin - len(silent)
        tell = self._tell
        if tell is None:
            return
        for index in sorted(set(range(begin, end)) - set(silent)):
            if not tell(block.number + index, block.data[block.starts[index] : block.ends[index]]):
                self._tell = None
                return

    @staticmethod
    def _end_of_message(block: _Block, header: int) -> int:
        """The line after the message of a header of `logcat -v long`."""
        later = bisect_left(block.headers, header + 1)
        end = block.headers[later] if later < len(block.headers) else len(block.starts)
        return min(end, header + _LONGEST_MESSAGE)


class _Followed:
    """Where in a block the processes are named that are followed."""

    def __init__(self, block: _Block) -> None:
        self._block = block
        self._at: dict[bytes, int] = {}

    def next(self, needles: dict[bytes, None], index: int) -> int:
        """The first line, from one on, that names one of them; the number of lines if none does."""
        count = len(self._block.starts)
        best = count
        for needle in needles:
            at = self._at.get(needle, -1)
            if at < index:
                offset = self._block.data.find(needle, self._block.starts[index])
                at = count if offset < 0 else bisect_left(self._block.ends, offset)
                self._at[needle] = at
            best = min(best, at)
        return best


def _next(ascending: list[int], least: int, otherwise: int) -> int:
    at = bisect_left(ascending, least)
    return ascending[at] if at < len(ascending) else otherwise
