"""A reader for tar streams that only goes forward and never believes a size."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from windtunnel.artifacts.stores.port import CHUNK
from windtunnel.errors import InvalidInput

_HEADER_LIMIT = 1024 * 1024


class ForwardReader(io.RawIOBase):
    """Lets `tarfile` read a compressed stream as a file.

    Seeking forward reads and drops; one byte back is kept, which is all that `tarfile` ever needs. Reading in large
    pieces is refused: file content is read in chunks, so only a forged header asks for more at once.

    Args:
        source: the compressed or plain stream.
        limit: the most bytes that may come.
        refuse: makes the error from its reason.
    """

    def __init__(self, source: BinaryIO, *, limit: int, refuse: Callable[[str], InvalidInput]) -> None:
        super().__init__()
        self._source = source
        self._limit = limit
        self._refuse = refuse
        self._position = 0
        self._consumed = 0
        self._previous = b""
        self.last = b""

    def readable(self) -> bool:
        """Implements `RawIOBase.readable`."""
        return True

    def seekable(self) -> bool:
        """Implements `RawIOBase.seekable`: forward only."""
        return True

    def tell(self) -> int:
        """Implements `RawIOBase.tell`."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Implements `RawIOBase.read`: exactly `size` bytes, fewer only at the end of the stream."""
        if size is None or size < 0 or size > _HEADER_LIMIT:
            raise self._refuse("a header claims an absurd size")
        data = b""
        if size and self._position == self._consumed - 1:
            data = self._previous
            self._position += 1
        while len(data) < size and (piece := self._take(size - len(data))):
            data += piece
        self.last = data
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Implements `RawIOBase.seek`: forward from the start, and one byte back."""
        if whence != io.SEEK_SET or offset < self._consumed - 1:
            raise io.UnsupportedOperation("tar streams are read forward")
        while self._consumed < offset and self._take(min(CHUNK, offset - self._consumed)):
            pass
        if self._consumed < offset:
            raise EOFError("the archive ends inside a member")
        self._position = offset
        return offset

    def drain(self) -> None:
        """Read to the end, so that the compressor's checksum is verified."""
        while self._take(CHUNK):
            pass

    def _take(self, size: int) -> bytes:
        data = self._source.read(size)
        self._consumed += len(data)
        self._position = self._consumed
        if self._consumed > self._limit:
            raise self._refuse("it unpacks to more than the limit")
        if data:
            self._previous = data[-1:]
        return data
