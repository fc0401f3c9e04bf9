"""A channel's text files, read from beginning to end in pieces of whole lines, plain or packed, a file or a pipe.

They are read, not mapped: a file that is cut short meanwhile is then an error, where a mapped one would end the
process; and a packed one is never unpacked as a whole, however large that may be.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
import numpy as np

from wildsage.algorithms.blazingtext.ngrams import LABEL_PREFIX
from wildsage.algorithms.blazingtext.vocabulary import MINIMUM
from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from wildsage.contract.channels import Channel

HEAD = 1 << 16  # bytes that are looked at beforehand
MARK = len(codecs.BOM_UTF8)
GZIP_MAGIC, GZIP_RATIO = b"\x1f\x8b", 4  # text gains about three times
MANIFEST_TYPES = ("application/jsonlines", "application/x-jsonlines", "application/json-lines")
BLANKS, NEWLINE = b" \t\r\v\f", 10
_DAMAGED = (OSError, EOFError, zlib.error)


class Piece(NamedTuple):
    """Bytes of a text: whole lines, or, of a line that is too long, whole words."""

    buffer: bytearray  # at least MINIMUM longer than `size`
    size: int
    begin: int  # where in the file, unpacked

    @property
    def array(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.buffer, np.uint8)


@dataclass(frozen=True)
class Text:
    """A file's text, not yet read but for its head."""

    file: Path
    head: bytes  # all of it, if `whole`, or else the first bytes; a byte order mark is blanked
    size: int  # bytes; of a packed file, or of a pipe, an estimate
    is_manifest: bool = False
    packed: bool = False
    whole: bool = False  # whether the head is all
    pipe: IO[bytes] | None = None  # of what cannot be opened twice, all that comes behind `taken`
    taken: bytes = b""

    @classmethod
    def of(cls, file: Path, content: bytes) -> Text:
        """A text in memory."""
        return cls(file, bytes(content), len(content), whole=True)

    def pieces(self, step: int, *, cut_lines: bool, end_line: bool = False) -> Iterator[Piece]:
        """Read it, about `step` bytes at a time, behind newlines.

        cut_lines: whether a longer line may be cut, too. end_line: whether a last line without a newline gets one.
        Raises DataError, with the byte, for a file that is damaged, or becomes shorter while it is read.
        """
        begin, carried, last = 0, bytearray(), NEWLINE
        if self.whole or not (self.packed or self.pipe is not None):
            step = min(step, self.size + 1)  # a buffer of its own size for each of many small files
        with self._opened() as opened:
            while True:
                room = step + len(carried)
                piece = bytearray(room + MINIMUM)
                piece[: len(carried)] = carried
                filled = len(carried)
                try:
                    while filled < room:
                        got = opened.readinto(memoryview(piece)[filled:room])  # type: ignore[attr-defined]
                        if not got:
                            break
                        filled += got
                except _DAMAGED as error:
                    raise DataError(f"cannot be read: {error}", file=self.file, byte=begin + filled) from error
                if begin == 0:
                    piece[: len(self.head[:MARK])] = self.head[:MARK]  # without its mark
                ended, size = filled < room, filled
                if not ended:
                    size = piece.rfind(b"\n", 0, filled) + 1
                    if not size and cut_lines:
                        size = max(piece.rfind(bytes([blank]), 0, filled) for blank in BLANKS) + 1
                    if not size:  # twice as much, so that a long line is not copied again and again
                        carried, step = piece[:filled], max(step, filled)
                        continue
                carried = piece[size:filled]
                piece[size:filled] = bytes(filled - size)
                last = piece[size - 1] if size else last
                added = int(ended and end_line and last != NEWLINE)
                if added:
                    piece[size:size] = b"\n"
                if size + added:
                    yield Piece(piece, size + added, begin)
                begin += size
                if ended:
                    break
        if not self.packed and self.pipe is None and begin < self.size:
            raise DataError(
                f"became shorter while it was read: {begin:,} bytes, where there had been {self.size:,}",
                file=self.file,
                byte=begin,
            )

    def line_of(self, byte: int) -> int | None:
        """The line that a byte is in, by reading the file again; None if that cannot be done."""
        line, at = 1, 0
        if self.pipe is not None:
            return None
        try:
            with self._opened() as opened:
                while at < byte:
                    part = opened.read(min(byte - at, 1 << 20))
                    if not part:
                        return None
                    line, at = line + part.count(b"\n"), at + len(part)
        except (*_DAMAGED, DataError):
            return None
        return line

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.whole:
            yield io.BytesIO(self.head)
        elif self.pipe is not None:
            with self.pipe:
                joined = io.BufferedReader(_Joined(self.taken, self.pipe))
                yield cast("IO[bytes]", gzip.GzipFile(fileobj=joined)) if self.packed else joined
        else:
            try:
                opened = gzip.GzipFile(self.file) if self.packed else _UpTo(self.file, self.size)
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror}", file=self.file) from error
            with opened:
                yield cast("IO[bytes]", opened)


class _UpTo(io.FileIO):
    """A file, up to a size: what is appended meanwhile does not count."""

    def __init__(self, file: Path, size: int) -> None:
        super().__init__(file)
        self._left = size

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = super().readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= got
        return got

    def read(self, size: int | None = -1, /) -> bytes:
        got = super().read(self._left if size is None or size < 0 else min(size, self._left)) or b""
        self._left -= len(got)
        return got


class _Joined(io.RawIOBase):
    """Some bytes, and then a stream."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(part) :]
        buffer[: len(part)] = part
        return len(part)


def read(channel: Channel, *, labelled: bool = True) -> list[Text]:
    """The channel's texts, in order of name.

    labelled: whether lines have labels; augmented manifests then become labelled lines.
    Raises ClientError for a channel without text, DataError for a file that is damaged.
    """
    if channel.input_mode is InputMode.PIPE:
        files = [channel.path.with_name(channel.path.name + "_0")]
    else:
        files = channel.files()
    if not files:
        raise ClientError(f"channel {channel.name}: no file in {channel.path}")
    content_type = (channel.content_type or "").partition(";")[0].strip().lower()
    texts = [_look_at(file, labelled, content_type in MANIFEST_TYPES) for file in files]
    texts = [text for text in texts if text.head]
    if not texts:
        names = ", ".join(file.name for file in files[:3]) + (", …" if len(files) > 3 else "")
        line = "__label__NAME word word …" if labelled else "word word …"
        raise ClientError(f"channel {channel.name}: empty ({names}); a line of it is: {line}")
    return texts


def _look_at(file: Path, labelled: bool, is_manifest: bool) -> Text:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(file.open("rb"))
            taken = head = _read(opened, HEAD + 1)
            size, packed = os.fstat(opened.fileno()).st_size, head[:2] == GZIP_MAGIC
            if packed and file.is_file():
                size *= GZIP_RATIO
                with gzip.open(file) as unpacked:
                    head = _read(cast("IO[bytes]", unpacked), HEAD + 1)
            elif packed:
                head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD + 1)
        except _DAMAGED as error:
            raise DataError(f"cannot be read: {error}", file=file) from error
        if head[:3] == codecs.BOM_UTF8:  # it would be part of the first word, a label
            head = b"   " + head[3:]
        elif head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and b"\0" in head[2:64]:
            raise DataError("the text is UTF-16; save it as UTF-8", file=file, line=1)
        pipe: IO[bytes] | None = None
        if head and not file.is_file():
            pipe = opened
            stack.pop_all()  # it stays open
    whole = len(head) <= HEAD and pipe is None
    is_manifest = labelled and (is_manifest or _looks_like_manifest(head))
    size = len(head) if whole else size
    kept = head if whole else head[:MARK]  # there may be thousands of files
    return Text(file, kept, size, is_manifest, packed, whole, pipe, taken if pipe else b"")


def _read(opened: IO[bytes], size: int) -> bytes:
    """Up to `size` bytes; less at the end only."""
    parts = []
    while size > 0 and (part := opened.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Example(msgspec.Struct):
    source: str
    label: int | list[int]


def _looks_like_manifest(head: bytes) -> bool:
    head = head.lstrip()
    if head[:1] != b"{":
        return False
    try:
        first = msgspec.json.decode(head.partition(b"\n")[0])
    except msgspec.DecodeError:
        return False
    return isinstance(first, dict) and "source" in first


def from_manifest(text: Text, piece: Piece) -> Piece:
    """Lines of an augmented manifest, {"source": "text", "label": 1 or [1, 3]}, as labelled lines.

    Raises DataError with file and line.
    """
    decoder = msgspec.json.Decoder(_Example, strict=False)
    lines, at = bytearray(), piece.begin
    blanks = bytes.maketrans(b"\n\r\v\f\0", b"     ")
    given = bytes(memoryview(piece.buffer)[: piece.size]).split(b"\n")
    for line in given if given[-1] else given[:-1]:
        if line.strip():
            try:
                example = decoder.decode(line)
                labels = example.label if isinstance(example.label, list) else [example.label]
                source = example.source.encode()
            except (msgspec.DecodeError, UnicodeError) as error:
                wanted = '{"source": "text", "label": 1}, or "label": [1, 3]'
                raise DataError(f"{error}; wanted is {wanted}", file=text.file, line=text.line_of(at)) from error
            for label in labels:
                lines += b"%s%d " % (LABEL_PREFIX, label)
            lines += source.translate(blanks)
        lines += b"\n"
        at += len(line) + 1
    size = len(lines)
    lines.extend(bytes(MINIMUM))
    return Piece(lines, size, piece.begin)


def check_bytes(text: Text, piece: Piece) -> None:
    """Raise DataError, with the line, for a zero byte: UTF-16 has many, and so has what is no text."""
    place = piece.buffer.find(b"\0", 0, piece.size)
    if place >= 0:
        byte = piece.begin + place
        raise DataError(
            "a zero byte, which no text has: is it UTF-16, or no text at all? Wanted is UTF-8",
            file=text.file,
            line=text.line_of(byte),
            byte=byte,
        )
