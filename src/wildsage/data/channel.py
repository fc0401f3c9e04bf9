"""The bytes of a channel, file after file: plain files in pieces that threads read side by side, all else as streams.

A stream is what can only be read from its beginning: a gzip file, a named pipe. What a file is, its first bytes say,
not its name.
"""

from __future__ import annotations

import os
import random
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.record import MAGIC
from wildsage.data.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from wildsage.contract.channels import Channel

GZIP = b"\x1f\x8b"
BLOCK = 1 << 18  # compressed bytes that are read at once


class Stream(Protocol):
    """Bytes from the beginning to the end."""

    name: str

    def read_into(self, view: memoryview) -> int:
        """Fill a part of the view; how many bytes, 0 at the end. Raises DataError for what is damaged."""

    def close(self) -> None:
        """Let go of what is open."""


@dataclass(frozen=True)
class PlainFile:
    """A file whose bytes can be read from any place."""

    name: str
    path: Path
    size: int


class OpenFile:
    """A file as a stream."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise _unreadable(name, error) from error

    def read_into(self, view: memoryview) -> int:
        try:
            return self._file.readinto(view) or 0
        except OSError as error:
            raise _unreadable(self.name, error) from error

    def close(self) -> None:
        self._file.close()


class Unzipped:
    """What a gzip stream holds; of several members after each other, all."""

    def __init__(self, source: Stream, head: bytes = b"") -> None:
        self.name = source.name
        self._source = source
        self._packed = head
        self._block = bytearray(BLOCK)
        self._member = zlib.decompressobj(wbits=31)
        self._started = False

    def read_into(self, view: memoryview) -> int:
        while True:
            if not self._packed:
                count = self._source.read_into(memoryview(self._block))
                if not count:
                    if self._started and not self._member.eof:
                        raise DataError("the gzip file ends before its time: it is cut off", file=self.name)
                    return 0
                self._packed = bytes(memoryview(self._block)[:count])
            if self._member.eof:
                self._packed = self._packed.lstrip(b"\0")  # padding, which gzip allows between members
                if not self._packed:
                    continue
                self._member = zlib.decompressobj(wbits=31)
            try:
                plain = self._member.decompress(self._packed, len(view))
            except zlib.error as error:
                raise DataError(f"the gzip file is damaged: {error}", file=self.name) from error
            self._started = True
            self._packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if plain:
                view[: len(plain)] = plain
                return len(plain)

    def close(self) -> None:
        self._source.close()


class Headed:
    """A stream whose first bytes have been looked at already."""

    def __init__(self, source: Stream, head: bytes) -> None:
        self.name = source.name
        self._source, self._head = source, head

    def read_into(self, view: memoryview) -> int:
        if self._head:
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        return self._source.read_into(view)

    def close(self) -> None:
        self._source.close()


class Content:
    """Bytes in memory as a stream."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self._rest = memoryview(content)

    def read_into(self, view: memoryview) -> int:
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._rest = memoryview(b"")


class Unwrapped:
    """What RecordIO frames hold, each ended by a newline: a pipe with RecordWrapperType RecordIO has a file in each."""

    def __init__(self, source: Stream) -> None:
        self.name = source.name
        self._source = source
        self._left = 0  # bytes of the frame that are still to come
        self._padding = 0
        self._open = False
        self._byte = 10  # the last one given out
        self._at = 0

    def read_into(self, view: memoryview) -> int:
        while not self._left:
            if self._open and self._byte != 10:
                self._byte = view[0] = 10
                return 1
            read_up_to(self._source, self._padding)
            head = read_up_to(self._source, 8)
            if not head:
                return 0
            if len(head) < 8 or head[:4] != MAGIC:
                raise DataError("no RecordIO record begins here", file=self.name, byte=self._at)
            self._left = int.from_bytes(head[4:], "little")
            self._at += 8 + self._left + self._padding
            self._padding = -self._left % 4
            self._open = True
        count = self._source.read_into(view[: self._left])
        if not count:
            raise DataError("the record is cut off", file=self.name, byte=self._at)
        self._left -= count
        self._byte = view[count - 1]
        return count

    def close(self) -> None:
        self._source.close()


def plain_bytes(source: Stream) -> Stream:
    """A stream that unpacks itself if it is gzip."""
    head = read_up_to(source, 2)
    return Unzipped(source, head) if head == GZIP else Headed(source, head)


def read_up_to(source: Stream, count: int) -> bytes:
    """The next `count` bytes, or fewer at the end."""
    buffer = bytearray(count)
    done = 0
    while done < count:
        step = source.read_into(memoryview(buffer)[done:])
        if not step:
            break
        done += step
    return bytes(buffer[:done])


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"cannot be read: {error.strerror or error}", file=name)


class Files:
    """The files of a channel in the order of an epoch."""

    def __init__(self, channel: Channel, *, shuffle: bool = False, seed: int = 0, unwrap: bool = False) -> None:
        """unwrap: whether a RecordWrapperType of the channel is a wrapper, and not the rows' own format."""
        self.channel = channel
        self._wrapped = unwrap and self.is_pipe and channel.record_wrapper is not None
        self._shuffle, self._seed = shuffle, seed

    @property
    def is_pipe(self) -> bool:
        return self.channel.input_mode is InputMode.PIPE

    def of_epoch(self, epoch: int, stopped: Callable[[], bool]) -> list[PlainFile | Stream]:
        """What there is to read in an epoch, from 0. A pipe is waited for; an empty list if `stopped` says so.

        Raises ClientError for a channel without files, DataError for one that cannot be read.
        """
        if self.is_pipe:
            pipe = Pipe(self.channel.path.with_name(f"{self.channel.path.name}_{epoch}"), self.channel.name, stopped)
            return [Unwrapped(pipe) if self._wrapped else plain_bytes(pipe)]
        files = self.channel.files()
        if not files:
            raise ClientError(f"channel {self.channel.name}: no file in {self.channel.path}")
        if self._shuffle:
            random.Random(f"{self._seed} {epoch}").shuffle(files)  # noqa: S311 (an order, no secret)
        return [open_file(file, self.name_of(file)) for file in files]

    def name_of(self, file: Path) -> str:
        """How messages call a file: by its channel and its place in it."""
        if file == self.channel.path:
            return file.name
        return str(file.relative_to(self.channel.path.parent))


def open_file(path: Path, name: str | None = None) -> PlainFile | Stream:
    """A file to be read in any order, or a stream where its first bytes are gzip's, or where it is no regular file."""
    name = name or path.name
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            return plain_bytes(OpenFile(path, name))
        with path.open("rb", buffering=0) as file:
            packed = file.read(2) == GZIP
    except OSError as error:
        raise _unreadable(name, error) from error
    return LateUnzipped(path, name) if packed else PlainFile(name, path, facts.st_size)


class LateUnzipped:
    """A gzip file that is opened when it is read: a channel may have more files than can be open at once."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path = path
        self._stream: Stream | None = None

    def read_into(self, view: memoryview) -> int:
        if self._stream is None:
            self._stream = Unzipped(OpenFile(self._path, self.name))
        return self._stream.read_into(view)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _read_at(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    content = os.pread(descriptor, len(view), offset)  # macOS
    view[: len(content)] = content
    return len(content)


def read_range(descriptor: int, view: memoryview, offset: int, name: str) -> int:
    """Fill the view with a file's bytes from an offset on; how many there were."""
    done = 0
    try:
        while done < len(view):
            step = _read_at(descriptor, view[done:], offset + done)
            if not step:
                break
            done += step
    except OSError as error:
        raise _unreadable(name, error) from error
    return done
