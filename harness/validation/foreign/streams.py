"""Reading the bytes of an archive: never past its end, never more at once or altogether than was agreed."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, Final, Protocol

from harness.validation.foreign.members import HARMLESS_BYTES, MAX_RATIO, MAX_TOTAL_BYTES

if TYPE_CHECKING:
    from typing import BinaryIO

CHUNK_BYTES: Final = 1 << 16
MAX_READ_BYTES: Final = 2 << 20
"""Of a zip's directory: far more than ``MAX_MEMBERS`` need."""


class Broken(Exception):
    """The archive is not what it claims to be; the message says why. Becomes a finding, never leaves ``foreign``."""

    def __init__(self, reason: str, *, byte_offset: int | None = None) -> None:
        super().__init__(reason)
        self.byte_offset = byte_offset


class Oversized(Exception):
    """The archive holds more than is read; the message says how much was found."""


class Stream(Protocol):
    """Bytes that are read forwards."""

    @property
    def position(self) -> int:
        """Bytes read or skipped so far."""

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, fewer at the end; raises ``Broken`` or ``Oversized``."""

    def skip(self, size_bytes: int) -> None:
        """Leave out bytes; raises ``Broken`` where there are not as many."""

    def finish(self) -> None:
        """Go to the end, so that a checksum there is held against what was read; raises as ``read``."""


class PlainStream:
    """A file as it stands."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self._size_bytes = size_bytes
        self.position = 0

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, fewer at the end."""
        content = self._stream.read(size_bytes)
        self.position += len(content)
        return content

    def skip(self, size_bytes: int) -> None:
        """Seek forwards; raises ``Broken`` where the file ends before."""
        if self.position + size_bytes > self._size_bytes:
            raise Broken(f"ends {self.position + size_bytes - self._size_bytes} bytes early", byte_offset=self.position)
        self.position = self._stream.seek(self.position + size_bytes)

    def finish(self) -> None:
        """Nothing: a plain file has no checksum."""


class GzipStream:
    """The unpacked bytes of a gzip file, which may be a bomb."""

    def __init__(self, stream: BinaryIO) -> None:
        self._packed = stream
        self._stream = gzip.GzipFile(fileobj=stream, mode="rb")
        self.position = 0

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, fewer at the end; raises ``Broken``, or ``Oversized`` where too much came out already."""
        try:
            content = self._stream.read(size_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise Broken(f"is no whole gzip stream: {error}", byte_offset=self._packed.tell()) from error
        self.position += len(content)
        allowed = min(max(HARMLESS_BYTES, MAX_RATIO * self._packed.tell()), MAX_TOTAL_BYTES)
        if self.position > allowed:
            raise Oversized(f"{self._packed.tell()} bytes that unpack to more than {allowed}")
        return content

    def skip(self, size_bytes: int) -> None:
        """Unpack and drop bytes; raises as ``read``, and ``Broken`` where the stream ends before."""
        left = size_bytes
        while left:
            dropped = len(self.read(min(left, CHUNK_BYTES)))
            if not dropped:
                raise Broken(f"ends {left} bytes early", byte_offset=self.position)
            left -= dropped

    def finish(self) -> None:
        """Unpack and drop the rest; raises as ``read``."""
        while self.read(CHUNK_BYTES):
            pass


class CappedFile(io.RawIOBase):
    """A file for the library's zip reader, which reads a directory of any size at once: here it may not."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def read(self, size_bytes: int = -1) -> bytes:
        """At most ``MAX_READ_BYTES``; raises ``Oversized`` where more were asked for and are there."""
        content = self._stream.read(MAX_READ_BYTES + 1 if size_bytes < 0 else min(size_bytes, MAX_READ_BYTES + 1))
        if len(content) > MAX_READ_BYTES:
            raise Oversized(f"a directory of more than {MAX_READ_BYTES} bytes")
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As the file's."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """As the file's."""
        return self._stream.tell()

    def seekable(self) -> bool:
        """Always."""
        return True

    def readable(self) -> bool:
        """Always."""
        return True
