"""Word vectors in word2vec's text and binary formats and in safetensors: read and write.

Text: "<words> <dim>", then a word and its numbers a line; GloVe's files lack the first line. Binary: the same first
line, then a word, a blank and its floats, little-endian, each. Source: tmikolov/word2vec, word2vec.c (TrainModel).
Safetensors: "vectors", float32 (V, dim); "words", uint8, their bytes parted by newlines; "counts", int64 (V,).
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.blazingtext.fasttext_file import replacing, write_at
from wildsage.algorithms.blazingtext.kernels import numerals
from wildsage.contract.errors import AlgorithmError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = Callable[[int, int], NDArray[np.float32]]  # the vectors of words begin..end

HEADER = re.compile(rb"(\d{1,18})[ \t]+(\d{1,9})[ \t]*\r?\n")
HEADER_BYTES = 64
HEAD_LINE = 1 << 16  # bytes of the first line that tell text from floats
LARGEST_DIM = 1 << 24
CHUNK_BYTES = 16 << 20
SAFETENSORS = ".safetensors"
LARGEST_HEADER = 100_000_000  # of safetensors, by its own rule

REASONS = {
    numerals.NOT_A_NUMBER: "a number is wanted here",
    numerals.TOO_FEW: "the line has too few numbers: {dim} are wanted",
    numerals.TOO_MANY: "the line has too many numbers: {dim} are wanted",
    numerals.NO_WORD: "a word is wanted here",
    numerals.ZERO_BYTE: "a word with a zero byte is not allowed",
    numerals.CUT_OFF: "the file is cut off: it ends within a vector",
}


@dataclass(frozen=True)
class Vectors:
    """Words, rows float32 (V, dim), and counts, int64 (V,), if the file knows them."""

    words: list[bytes]
    rows: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None


def is_vectors(path: Path) -> bool:
    """Whether the file begins as word2vec's do, or is a safetensors file with vectors."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            if HEADER.match(head.removeprefix(BOM_UTF8)):
                return True
            size = int.from_bytes(head[:8], "little")
            if path.suffix != SAFETENSORS or size > LARGEST_HEADER or head[8:9] != b"{":
                return False
            file.seek(8)
            header: dict[str, Any] = json.loads(file.read(size))
            return header.keys() >= {"vectors", "words"}
    except (OSError, ValueError):
        return False


def read(path: Path) -> Vectors:
    """Read word vectors, in whichever of the formats. Raises DataError with line or byte where it stops being that."""
    if path.suffix == SAFETENSORS:
        return read_safetensors(path)
    try:
        size = path.stat().st_size
        data = np.asarray(np.memmap(path, np.uint8, mode="r")) if size else np.empty(0, np.uint8)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    if data[: len(BOM_UTF8)].tobytes() == BOM_UTF8:  # as some editors leave it; no binary file begins so
        data = data[len(BOM_UTF8) :]
    header = HEADER.match(data[:HEADER_BYTES].tobytes())
    if header is None:
        return _read_text(path, data, 0, *_measure(path, data))
    count, dim, start = int(header[1]), int(header[2]), header.end()
    if not 1 <= dim <= LARGEST_DIM:
        raise DataError(f"vectors of {dim} columns are not allowed: 1 to {LARGEST_DIM}", file=path, line=1)
    if count * (2 * dim + 1) > data.size:
        raise DataError(f"{count} vectors of {dim} columns do not fit into {data.size} bytes", file=path, line=1)
    if count and _is_binary(data, start, dim):
        return _read_binary(path, data, start, count, dim)
    return _read_text(path, data, start, count, dim)


def write_text(path: Path, words: list[bytes], dim: int, source: Source) -> None:
    """Write word2vec's text format, whole or not at all. Numbers have nine digits: read back, they are the same floats.

    source: gives the vectors of words begin..end, float32 (n, dim). Raises AlgorithmError for one that is not finite.
    """
    step = max(1, CHUNK_BYTES // (4 * dim))
    longest = max(map(len, words), default=0)
    out = np.empty(min(step, len(words)) * (longest + numerals.LONGEST_NUMBER * dim + 1), np.uint8)
    with replacing(path) as descriptor:
        at = write_at(descriptor, b"%d %d\n" % (len(words), dim), 0)
        for begin in range(0, len(words), step):
            some = words[begin : begin + step]
            rows = np.ascontiguousarray(source(begin, begin + len(some)), np.float32)
            starts = np.cumsum([0, *map(len, some)], dtype=np.int64)
            written = numerals.write_lines(np.frombuffer(b"".join(some), np.uint8), starts, rows, out)
            if written < 0:
                raise AlgorithmError(f"the vector of {some[-1 - written].decode('utf-8', 'replace')!r} is not finite")
            at = write_at(descriptor, out[:written].data, at)


def write_binary(path: Path, words: list[bytes], dim: int, source: Source) -> None:
    """Write word2vec's binary format, whole or not at all. source: see write_text."""
    step = max(1, CHUNK_BYTES // (4 * dim))
    with replacing(path) as descriptor:
        at = write_at(descriptor, b"%d %d\n" % (len(words), dim), 0)
        for begin in range(0, len(words), step):
            some = words[begin : begin + step]
            rows = np.ascontiguousarray(source(begin, begin + len(some)), "<f4")
            records = [b"%s %s\n" % pair for pair in zip(some, map(bytes, rows), strict=True)]
            at = write_at(descriptor, b"".join(records), at)


def write_safetensors(path: Path, words: list[bytes], dim: int, source: Source, counts: NDArray[np.int64]) -> None:
    """Write safetensors, whole or not at all. source: see write_text. Raises AlgorithmError for a newline in a word."""
    from safetensors.numpy import save

    if any(b"\n" in word for word in words):
        raise AlgorithmError("a word with a newline cannot be written to safetensors")
    rows = source(0, len(words)) if words else np.empty((0, dim), np.float32)
    tensors: dict[str, NDArray[Any]] = {
        "vectors": np.ascontiguousarray(rows, np.float32),
        "words": np.frombuffer(b"\n".join(words), np.uint8),
        "counts": np.ascontiguousarray(counts, np.int64),
    }
    with replacing(path) as descriptor:
        write_at(descriptor, save(tensors, {"format": "wildsage word vectors 1"}), 0)


def read_safetensors(path: Path) -> Vectors:
    """Read safetensors that write_safetensors wrote, or others with the same tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            if not {"vectors", "words"} <= names:
                raise DataError(f"holds {', '.join(sorted(names)) or 'nothing'}, not vectors and words", file=path)
            rows, joined = file.get_tensor("vectors"), file.get_tensor("words")
            counts = file.get_tensor("counts") if "counts" in names else None
    except (SafetensorError, OSError, TypeError) as error:
        raise DataError(f"not a file of safetensors: {error}", file=path) from error
    if rows.ndim != 2 or rows.dtype.kind != "f" or not 1 <= rows.shape[1] <= LARGEST_DIM:
        raise DataError(f"vectors must be floats (V, dim), not {rows.dtype} {rows.shape}", file=path)
    if joined.ndim != 1 or joined.dtype != np.uint8:
        raise DataError(f"words must be bytes parted by newlines, uint8, not {joined.dtype} {joined.shape}", file=path)
    words = joined.tobytes().split(b"\n") if joined.size or rows.shape[0] else []
    if len(words) != rows.shape[0] or any(not word or b"\0" in word for word in words):
        raise DataError(f"{rows.shape[0]} vectors, but {len(words)} words, which must not be empty", file=path)
    if counts is not None and (counts.shape != (len(words),) or counts.dtype.kind not in "iu"):
        raise DataError(f"counts must be an integer a word, not {counts.dtype} {counts.shape}", file=path)
    found = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(found).all():
        raise DataError("its vectors are not all finite", file=path)
    return Vectors(words, found, None if counts is None else counts.astype(np.int64))


def _measure(path: Path, data: NDArray[np.uint8]) -> tuple[int, int]:
    """The number of lines, and the numbers in the first, of a text without a header."""
    newlines = int(np.count_nonzero(data == 10))
    count = newlines + int(data.size > 0 and data[-1] != 10)
    first = data[: 1 << 20].tobytes().partition(b"\n")[0]
    dim = len(first.split()) - 1
    if not 1 <= dim <= LARGEST_DIM or not _is_number(first.split()[-1]):
        raise DataError(
            'not word vectors: a first line "<words> <dim>", or a word and numbers, is wanted', file=path, line=1
        )
    return min(count, data.size // (2 * dim + 1) + 1), dim


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_binary(data: NDArray[np.uint8], start: int, dim: int) -> bool:
    """Whether what follows the header is no line of text."""
    row, places, lengths = np.empty((1, dim), np.float32), np.empty(1, np.int64), np.empty(1, np.int64)
    end = start + 2 * LARGEST_DIM
    count, _, _ = numerals.read_lines(data[:end], start, row, places, lengths)
    head = data[start : start + HEAD_LINE].tobytes()
    return bool(count == 0 and data.size - start > 4 * dim and not _looks_like_text(head, dim))


def _looks_like_text(head: bytes, dim: int) -> bool:
    """Whether a line that cannot be read is still meant to be text: most of what follows its word are numbers."""
    fields = head.partition(b"\n")[0].split()[1:]
    numbers = sum(map(_is_number, fields))
    if 2 * numbers <= len(fields):
        return False
    try:  # few numbers may be a binary row's bytes by chance
        return 2 * numbers >= dim or head[:256].decode("utf-8", "strict").replace("\n", "").isprintable()
    except UnicodeDecodeError:
        return False


def _read_text(path: Path, data: NDArray[np.uint8], start: int, count: int, dim: int) -> Vectors:
    rows = np.empty((count, dim), np.float32)
    places, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    found, at, wrong = numerals.read_lines(data, start, rows, places, lengths)
    at = int(at)
    if wrong:
        raise _wrong(path, data, at, wrong, dim)
    if start and found < count:
        line = int(np.count_nonzero(data == 10)) + 1
        raise DataError(f"the file is cut off: {found} vectors of {count}", file=path, line=line)
    rest = data[at:].tobytes().strip()
    if start and rest:
        raise _wrong(path, data, at, 0, dim)
    return Vectors(_words(data, places[:found], lengths[:found]), rows[:found])


def _wrong(path: Path, data: NDArray[np.uint8], at: int, reason: int, dim: int) -> DataError:
    before = data[:at]
    line = int(np.count_nonzero(before == 10)) + 1
    newline = np.flatnonzero(before[max(0, at - (1 << 24)) :] == 10)
    column = at - (int(newline[-1]) + max(0, at - (1 << 24)) if newline.size else -1)
    text = REASONS[reason].format(dim=dim) if reason else "more lines than the first one says"
    return DataError(text, file=path, line=line, column=column)


def _read_binary(path: Path, data: NDArray[np.uint8], start: int, count: int, dim: int) -> Vectors:
    if count * (4 * dim + 2) > data.size:
        raise DataError(f"{count} vectors of {dim} columns do not fit into {data.size} bytes", file=path, line=1)
    rows = np.empty((count, dim), "<f4")
    places, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    found, at, wrong = numerals.read_records(data, start, rows.view(np.uint8), places, lengths)
    if wrong:
        raise DataError(f"{REASONS[wrong].format(dim=dim)} (of word {found + 1})", file=path, byte=int(at))
    if data[at:].tobytes().strip(b"\n"):
        raise DataError("more bytes follow the last vector", file=path, byte=int(at))
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        place = int(places[bad[0]])
        raise DataError(f"the vector of word {int(bad[0]) + 1} is not finite", file=path, byte=place)
    return Vectors(_words(data, places, lengths), rows)


def _words(data: NDArray[np.uint8], places: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[bytes]:
    return [data[begin : begin + size].tobytes() for begin, size in zip(places.tolist(), lengths.tolist(), strict=True)]
