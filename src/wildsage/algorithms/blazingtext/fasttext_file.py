"""fastText's .bin format, version 12, of supervised models: read (mapped) and write (sparse).

Little-endian, without padding: magic, version; the settings; the dictionary (sizes, then an entry a word); whether the
input rows are quantised, their shape, the rows; the same for the output rows.
Source: facebookresearch/fastText, src/fasttext.cc (saveModel), args.cc, dictionary.cc and densematrix.cc (save).
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.kernels.predict import BLOCK, HIERARCHICAL, ONE_VS_ALL, scan_entries
from wildsage.contract.errors import DataError, InternalServerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC, VERSION = 793712314, 12
OLDEST_VERSION = 11  # the same, but its supervised models have no character n-grams, whatever their settings say
SUPERVISED = 3

HEAD = struct.Struct("<ii")
SETTINGS = struct.Struct("<12id")
DICTIONARY = struct.Struct("<iiiqq")
ENTRY = struct.Struct("<xqb")  # after the word
SHAPE = struct.Struct("<Bqq")
ENTRIES_START = HEAD.size + SETTINGS.size + DICTIONARY.size

PAGE_BYTES = 4096
CHUNK_BYTES = 16 << 20
# A shorter gap between rows is written as zeros: a system call costs as much.
WORTHWHILE_HOLE_BYTES = 4 * PAGE_BYTES


@dataclass(frozen=True)
class FastTextSettings:
    """The arguments block of a .bin, in its order, with fastText's own codes and defaults for supervised models.

    loss: 1 hierarchical softmax, 2 negative sampling, 3 softmax, 4 one-vs-all.
    model: 1 cbow, 2 skip-gram, 3 supervised.
    Source: facebookresearch/fastText, src/args.h and src/args.cc.
    """

    dim: int = 100
    ws: int = 5
    epoch: int = 5
    min_count: int = 1
    neg: int = 5
    word_ngrams: int = 1
    loss: int = 3
    model: int = SUPERVISED
    bucket: int = 2_000_000
    minn: int = 0
    maxn: int = 0
    lr_update_rate: int = 100
    t: float = 1e-4


@dataclass(frozen=True)
class FastTextFile:
    """What a .bin holds; V words, C labels, dim columns.

    tokens: how many the trainer read. entries: uint8, the dictionary's entries as they lie in the file, words first.
    places: int64 (V + C,), where each begins. counts: int64 (V + C,), how often each was seen.
    word_rows: float32 (V, dim). bucket_rows: float32 (R, dim). bucket_ids: int64 (R,), ascending, the buckets that have
    a row, every other being zero; None: all have one, in order. output: float32 (C, dim).
    Arrays from a file are mapped, read-only, and need not be aligned.
    """

    settings: FastTextSettings
    tokens: int
    entries: NDArray[np.uint8]
    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    word_rows: NDArray[np.float32]
    bucket_ids: NDArray[np.int64] | None
    bucket_rows: NDArray[np.float32]
    output: NDArray[np.float32]

    def labels(self) -> list[str]:
        """The labels with their prefix; bytes that are not UTF-8 become U+FFFD."""
        data = self.entries.tobytes()
        starts = self.places[self.word_rows.shape[0] :].tolist()
        return [data[start : data.index(b"\0", start)].decode("utf-8", "replace") for start in starts]

    def label_counts(self) -> NDArray[np.int64]:
        """int64 (C,), how often each label was seen in training."""
        return self.counts[self.word_rows.shape[0] :]


def has_magic(path: Path) -> bool:
    """Whether the file begins as fastText's files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC.to_bytes(4, "little")
    except OSError:
        return False


def pack_entries(words: list[bytes], counts: NDArray[np.int64], *, label: bool) -> bytes:
    """The dictionary's entries of words or labels. None may hold a NUL."""
    return b"".join(word + ENTRY.pack(count, label) for word, count in zip(words, counts.tolist(), strict=True))


def read(path: Path) -> FastTextFile:
    """Map a model of fastText. Raises DataError with the byte where it stops being one.

    Every size is checked against the file's before anything is allocated by it.
    """
    try:
        size = path.stat().st_size
        data = np.asarray(np.memmap(path, np.uint8, mode="r")) if size else np.empty(0, np.uint8)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    return _Reader(path, data).read()


class _Reader:
    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path, self.data, self.at = path, data, 0

    def wrong(self, reason: str, at: int | None = None) -> DataError:
        return DataError(reason, file=self.path, byte=self.at if at is None else at)

    def unpack(self, form: struct.Struct, what: str) -> tuple[int, ...]:
        if self.at + form.size > self.data.size:
            raise self.wrong(f"the file is cut off: it ends within {what}", self.data.size)
        values = form.unpack_from(self.data.data, self.at)
        self.at += form.size
        return values

    def read(self) -> FastTextFile:
        settings = self.read_settings()
        size, words, labels, tokens, pruned = self.unpack(DICTIONARY, "the sizes of its dictionary")
        sizes_at = self.at - DICTIONARY.size
        if pruned >= 0:
            raise self.wrong(
                "a quantised model (.ftz, pruned) is not supported yet: use the .bin it was made of", sizes_at
            )
        if words < 0 or labels < 1 or size != words + labels:
            raise self.wrong(
                f"a dictionary of {size} entries with {words} words and {labels} labels cannot be", sizes_at
            )
        if size > (self.data.size - self.at) // ENTRY.size:
            raise self.wrong(f"{size} dictionary entries do not fit into {self.data.size} bytes", sizes_at)
        places, counts = np.empty(size, np.int64), np.empty(size, np.int64)
        stopped, fault = scan_entries(self.data, self.at, words, places, counts)
        end = int(stopped)
        if fault == 1:
            raise self.wrong(f"the file is cut off: it ends within the entry that begins at byte {end}", self.data.size)
        if fault == 2:
            raise self.wrong("a dictionary entry is of the wrong kind: words come first, then labels", end)
        start, self.at = self.at, end
        places -= start
        rows = self.read_rows("input", words + settings.bucket, settings.dim)
        output = self.read_rows("output", labels, settings.dim)
        if self.at != self.data.size:
            raise self.wrong(f"the model ends here, but {self.data.size - self.at} more bytes follow")
        entries = self.data[start:end]
        return FastTextFile(settings, tokens, entries, places, counts, rows[:words], None, rows[words:], output)

    def read_settings(self) -> FastTextSettings:
        magic, version = self.unpack(HEAD, "its first 8 bytes")
        if magic != MAGIC:
            raise self.wrong("not a model of fastText: the file begins otherwise", 0)
        if not OLDEST_VERSION <= version <= VERSION:
            raise self.wrong(
                f"version {version} of fastText's format is not supported: {OLDEST_VERSION} or {VERSION}", 4
            )
        start = self.at
        values = self.unpack(SETTINGS, "its settings")
        settings = FastTextSettings(*values)
        if settings.model != SUPERVISED:
            raise self.wrong("word vectors, not a classifier: only a supervised model can be loaded here", start + 28)
        if version < 12:
            settings = replace(settings, minn=0, maxn=0)
        ranges = {
            "dim": (1, 1 << 24),
            "word_ngrams": (0, BLOCK),
            "loss": (HIERARCHICAL, ONE_VS_ALL),
            "bucket": (1 if settings.word_ngrams > 1 or settings.maxn > 0 else 0, (1 << 31) - 1),
            "minn": (0, (1 << 31) - 1),
            "maxn": (0, BLOCK),
        }
        for place, field in enumerate(fields(FastTextSettings)):
            low, high = ranges.get(field.name, (None, None))
            value = getattr(settings, field.name)
            if low is not None and high is not None and not low <= value <= high:
                raise self.wrong(f"{field.name} = {value} is not allowed: {low} to {high}", start + 4 * place)
        return settings

    def read_rows(self, what: str, rows: int, dim: int) -> NDArray[np.float32]:
        start = self.at
        quantised, m, n = self.unpack(SHAPE, f"the shape of its {what} rows")
        if what == "input" and quantised:  # the flag before the output rows means nothing in a dense model
            raise self.wrong("a quantised model (.ftz) is not supported yet: use the .bin it was made of", start)
        if (m, n) != (rows, dim):
            raise self.wrong(f"its {what} rows are {m} x {n}, where the dictionary asks for {rows} x {dim}", start + 1)
        end = self.at + 4 * rows * dim
        if end > self.data.size:
            raise self.wrong(f"the file is cut off: its {what} rows end at byte {end}", self.data.size)
        found = self.data[self.at : end].view("<f4").reshape(rows, dim)
        self.at = end
        return found


def write(path: Path, model: FastTextFile) -> None:
    """Write a model: beside the file, then renamed over it, on disk before this returns.

    Pages without a value other than zero are left as holes, which need neither time nor disk; they read as zeros.
    Raises InternalServerError if the disk refuses.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _fill(descriptor, model)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise InternalServerError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _fill(descriptor: int, model: FastTextFile) -> None:
    settings, words, labels = model.settings, model.word_rows.shape[0], model.output.shape[0]
    head = (
        HEAD.pack(MAGIC, VERSION)
        + SETTINGS.pack(*astuple(settings))
        + DICTIONARY.pack(words + labels, words, labels, model.tokens, -1)
        + model.entries.tobytes()
        + SHAPE.pack(0, words + settings.bucket, settings.dim)
    )
    words_at = len(head)
    buckets_at = words_at + 4 * words * settings.dim
    output_at = buckets_at + 4 * settings.bucket * settings.dim
    _write_at(descriptor, head, 0)
    for row, block in _chunks(model.word_rows):
        _write_at(descriptor, block.data.cast("B"), words_at + 4 * settings.dim * row)
    if model.bucket_ids is None:
        pieces = _chunks(model.bucket_rows, WORTHWHILE_HOLE_BYTES)
    else:
        pieces = _runs(model.bucket_ids, model.bucket_rows)
    for row, block in pieces:
        if block.any():
            _write_at(descriptor, block.data.cast("B"), buckets_at + 4 * settings.dim * row)
    tail = SHAPE.pack(0, labels, settings.dim) + model.output.astype("<f4").tobytes()
    _write_at(descriptor, tail, output_at)


def _write_at(descriptor: int, data: bytes | memoryview, at: int) -> None:
    rest = memoryview(data)
    while rest.nbytes:  # a single call writes 2 GB at most
        written = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written


def _chunks(rows: NDArray[np.float32], chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pieces of rows, as the file wants them, each with the number of its first row."""
    step = max(1, chunk_bytes // (4 * max(1, rows.shape[1])))
    for start in range(0, rows.shape[0], step):
        yield start, np.ascontiguousarray(rows[start : start + step], "<f4")


def _runs(ids: NDArray[np.int64], rows: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pieces of a mostly zero table whose row ids[i] is rows[i], each with the number of its first row.

    Rows that are near each other go together, with the zeros between them: 755,000 of 2,000,000 rows are touched in an
    ordinary training, and leave hardly a page untouched.
    """
    if not ids.size:
        return
    row_bytes = 4 * rows.shape[1]
    gap, step = 1 + WORTHWHILE_HOLE_BYTES // row_bytes, max(1, CHUNK_BYTES // row_bytes)
    new_run = np.flatnonzero((np.diff(ids) > gap) | (np.diff(ids // step) > 0)) + 1
    bounds = [0, *new_run.tolist(), ids.size]
    for start, end in pairwise(bounds):
        first, last = int(ids[start]), int(ids[end - 1])
        if last - first + 1 == end - start:
            yield first, np.ascontiguousarray(rows[start:end], "<f4")
            continue
        block = np.zeros((last - first + 1, rows.shape[1]), "<f4")
        block[ids[start:end] - first] = rows[start:end]
        yield first, block
