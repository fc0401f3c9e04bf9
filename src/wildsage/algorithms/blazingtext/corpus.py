"""A channel's text, read once: mapped, tokenised on several threads to numbers, as fastText splits it.

fastText splits at space, tab, newline, carriage return, vertical tab, form feed and zero bytes; each newline is also a
word, "</s>", and a line has no limit of length here (fastText's limit of 1,024 tokens is not for supervised text:
src/dictionary.cc, `getLine`). Bytes that are not UTF-8 are words like any other.
"""

from __future__ import annotations

import codecs
import gzip
import mmap
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from wildsage.algorithms.blazingtext.kernels.text import (
    BLOCK,
    LINES,
    NEEDED,
    POSITION,
    TOKENS,
    Scratch,
    Words,
    scan,
    unquote,
)
from wildsage.algorithms.blazingtext.memory import fresh
from wildsage.algorithms.blazingtext.ngrams import LABEL_PREFIX
from wildsage.algorithms.blazingtext.vocabulary import MINIMUM, WordCounts
from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.contract.channels import Channel

MAPPED = 1 << 20  # files from this size on are mapped, not read
PART = 1 << 24  # bytes at most that are encoded between two looks at the stop flag, a tenth of a second; then they go
SMALL_PART = 1 << 20  # and at least, where there are threads to share with
MANIFEST_TYPES = ("application/jsonlines", "application/x-jsonlines", "application/json-lines")


_NO_NUMBERS = np.empty(0, np.int32)


class StoppedEarlyError(Exception):
    """The stop flag was set while text was read, so there is nothing yet to keep."""


@dataclass(frozen=True)
class Text:
    """The bytes of a file: `size` of them, in an array of at least MINIMUM."""

    file: Path
    array: NDArray[np.uint8]
    size: int
    buffer: Any  # bytearray or mmap, below the array

    @classmethod
    def of(cls, file: Path, content: bytes | bytearray) -> Text:
        buffer = bytearray(content)
        size = len(buffer)
        buffer.extend(bytes(MINIMUM))
        return cls(file, np.frombuffer(buffer, np.uint8), size, buffer)


@dataclass(frozen=True)
class Part:
    """Whole lines of one file as numbers."""

    file: Path
    tokens: NDArray[np.int32]  # word numbers of its own
    starts: NDArray[np.int64]  # (lines + 1,), tokens before each line
    numbers: NDArray[np.int32]  # word numbers of its own -> the corpus's


@dataclass(frozen=True)
class Corpus:
    """A channel's text as numbers."""

    parts: list[Part]
    counts: WordCounts
    size: int  # bytes of text
    unquoted: int  # lines whose text was in quotes

    @property
    def tokens(self) -> int:
        return int(self.counts.counts.sum())


def read(channel: Channel, *, labelled: bool = True) -> list[Text]:
    """Map or read the channel's files, in order of name; gzip is unpacked.

    labelled: whether lines have labels; augmented manifests then become labelled lines.
    Raises ClientError for a channel without text, DataError for a file that is damaged.
    """
    if channel.input_mode is InputMode.PIPE:
        files = [channel.path.with_name(channel.path.name + "_0")]
    else:
        files = channel.files()
    if not files:
        raise ClientError(f"channel {channel.name}: no file in {channel.path}")
    texts = [_labelled(text, channel) if labelled else text for text in map(_open, files) if text.size]
    if not texts:
        names = ", ".join(file.name for file in files[:3]) + (", …" if len(files) > 3 else "")
        line = "__label__NAME word word …" if labelled else "word word …"
        raise ClientError(f"channel {channel.name}: empty ({names}); a line of it is: {line}")
    return texts


def _open(file: Path) -> Text:
    try:
        if file.is_file() and file.stat().st_size >= MAPPED:
            with file.open("rb") as opened:
                if opened.read(2) != b"\x1f\x8b":
                    mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
                    _take_mark(mapped, file)
                    return Text(file, np.frombuffer(mapped, np.uint8), len(mapped), mapped)
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", file=file) from error
    text = Text.of(file, content)
    _take_mark(text.buffer, file)
    return text


def _take_mark(buffer: Any, file: Path) -> None:
    """Blank the byte order mark that some editors begin UTF-8 with: it would be part of the first word, a label.

    Raises DataError for UTF-16, in which no word would be found.
    """
    if buffer[:3] == codecs.BOM_UTF8:
        buffer[:3] = b"   "
    elif buffer[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and b"\0" in buffer[2:64]:
        raise DataError("the text is UTF-16; save it as UTF-8", file=file, line=1)


class _Example(msgspec.Struct):
    source: str
    label: int | list[int]


def _labelled(text: Text, channel: Channel) -> Text:
    """Turn an augmented manifest, {"source": "text", "label": 1 or [1, 3]} a line, into labelled lines."""
    content_type = (channel.content_type or "").partition(";")[0].strip().lower()
    if content_type not in MANIFEST_TYPES and not _looks_like_manifest(text):
        return text
    decoder = msgspec.json.Decoder(_Example, strict=False)
    lines = bytearray()
    blanks = bytes.maketrans(b"\n\r\v\f\0", b"     ")
    for number, line in enumerate(bytes(memoryview(text.buffer)[: text.size]).split(b"\n"), 1):
        if line.strip():
            try:
                example = decoder.decode(line)
                labels = example.label if isinstance(example.label, list) else [example.label]
                source = example.source.encode()
            except (msgspec.DecodeError, UnicodeError) as error:
                wanted = '{"source": "text", "label": 1}, or "label": [1, 3]'
                raise DataError(f"{error}; wanted is {wanted}", file=text.file, line=number) from error
            for label in labels:
                lines += b"%s%d " % (LABEL_PREFIX, label)
            lines += source.translate(blanks)
        lines += b"\n"
    return Text.of(text.file, lines)


def _looks_like_manifest(text: Text) -> bool:
    head = text.buffer[: min(text.size, 1 << 16)].lstrip()
    if head[:1] != b"{":
        return False
    try:
        first = msgspec.json.decode(head.partition(b"\n")[0])
    except msgspec.DecodeError:
        return False
    return isinstance(first, dict) and "source" in first


def encode(texts: list[Text], threads: int, stop: Event, *, labelled: bool = True) -> Corpus:
    """Count and number all words. Labelled texts are changed: quotes around a line's text go, and those doubled within.

    Raises StoppedEarlyError once `stop` is set.
    """
    total = sum(text.size for text in texts)
    step = min(PART, max(SMALL_PART, -(-total // threads)))
    pieces = [(text, begin, end) for text in texts for begin, end in _pieces(text, step)]
    quoted = {id(text): labelled and text.buffer.find(b'"', 0, text.size) >= 0 for text in texts}

    offsets = dict(zip(map(id, texts), np.cumsum([0] + [text.size for text in texts]).tolist(), strict=False))
    made: list[tuple[Part, int] | None] = [None] * len(pieces)
    waiting, unquoted = iter(range(len(pieces))), [0] * len(pieces)

    def work(thread: int) -> Words:
        """Encode what pieces are left, in order, with a table of this thread's own."""
        words = Words.empty(1 << (16 if total > SMALL_PART else 13))
        for k in waiting:
            if stop.is_set():
                raise StoppedEarlyError
            text, begin, end = pieces[k]
            if quoted[id(text)]:
                unquoted[k] = unquote(text.array, begin, end, np.array(list(LABEL_PREFIX), np.uint8))
            words, tokens, starts = _encode(text.array, begin, end, offsets[id(text)], words)
            made[k] = Part(text.file, tokens, starts, _NO_NUMBERS), thread
            _forget(text, begin, end)
        return words

    with ThreadPoolExecutor(threads) as pool:
        tables = list(pool.map(work, range(threads)))
    counts, numbers = WordCounts.merged(tables)
    parts = [replace(part, numbers=numbers[thread]) for part, thread in filter(None, made)]
    return Corpus(parts, counts, total, sum(unquoted))


def _forget(text: Text, begin: int, end: int) -> None:
    """Let go of the memory of a piece of a mapped text; who reads it again reads the file."""
    if isinstance(text.buffer, mmap.mmap) and hasattr(text.buffer, "madvise"):
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        length = end // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            text.buffer.madvise(mmap.MADV_DONTNEED, first, length)


def _pieces(text: Text, step: int) -> Iterator[tuple[int, int]]:
    """Cut a text behind newlines into pieces of about `step` bytes."""
    begin = 0
    while begin < text.size:
        newline = text.buffer.find(b"\n", min(begin + step, text.size) - 1, text.size)
        end = newline + 1 if newline >= 0 else text.size
        yield begin, end
        begin = end


def _encode(
    array: NDArray[np.uint8], begin: int, end: int, offset: int, words: Words
) -> tuple[Words, NDArray[np.int32], NDArray[np.int64]]:
    """(words, tokens, starts) of a piece. Arrays grow as they fill, for what a byte yields is not known.

    offset: position of array[0] in the whole text. words: those before; the table may have grown.
    """
    tokens = fresh((end - begin) // 4 + 4 * BLOCK, np.int32)
    starts = np.empty((end - begin) // 64 + 4 * BLOCK, np.int64)
    starts[0] = 0
    state = np.array([begin, 0, 0, -1, 0, 0], np.int64)
    scratch = Scratch.empty()
    while True:
        scan(array, end, offset, words, tokens, starts, scratch, state)
        if state[POSITION] >= end:
            break
        token, line = int(state[TOKENS]), int(state[LINES])
        if words.size + 2 * BLOCK > words.lengths.size:
            words = words.wider()
        if int(words.state[NEEDED]) > words.home.size:
            words = words.with_home(max(int(words.state[NEEDED]), 2 * words.home.size))
        if token + 2 * BLOCK > tokens.size:
            tokens = _longer(tokens)
        if line + 2 * BLOCK > starts.size:
            starts = _longer(starts)
    token, line = int(state[TOKENS]), int(state[LINES])
    if token > starts[line]:  # the last line has no newline
        line += 1
        starts[line] = token
    return words, tokens[:token], starts[: line + 1]


def _longer(array: NDArray[Any]) -> NDArray[Any]:
    longer = fresh(array.size * 3 // 2, array.dtype)
    longer[: array.size] = array
    return longer
