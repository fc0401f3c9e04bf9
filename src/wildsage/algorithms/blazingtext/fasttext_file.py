"""fastText's files, version 12: .bin of classifiers and word vectors, read (mapped) and written (sparse), and .ftz.

Little-endian, without padding: magic, version; the settings; the dictionary (sizes, then an entry a word, then the
buckets that pruning kept); whether the input rows are quantised, the rows; the same for the output rows. Dense rows are
their shape and their floats; quantised ones are laid out as _Reader.read_quantised reads them.
Source: facebookresearch/fastText, src/fasttext.cc (saveModel), args.cc, dictionary.cc, densematrix.cc, quantmatrix.cc
and productquantizer.cc (save).
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.hyperparameters import LIMITS
from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, ONE_VS_ALL, scan_entries
from wildsage.algorithms.blazingtext.kernels.rows import spread_rows
from wildsage.algorithms.blazingtext.kernels.text import write_entries
from wildsage.contract.errors import AlgorithmError, DataError, InternalServerError
from wildsage.kernels.vector import padded

if TYPE_CHECKING:
    from typing import Self, TypeAlias

    from numpy.typing import NDArray

    Rows: TypeAlias = "NDArray[np.float32] | QuantisedRows | TableRows"

MAGIC, VERSION = 793712314, 12
OLDEST_VERSION = 11  # the same, but its supervised models have no character n-grams, whatever their settings say
CBOW, SKIP_GRAM, SUPERVISED = 1, 2, 3

HEAD = struct.Struct("<ii")
SETTINGS = struct.Struct("<12id")
DICTIONARY = struct.Struct("<iiiqq")
ENTRY = struct.Struct("<xqb")  # after the word
SHAPE = struct.Struct("<Bqq")
QUANTISED = struct.Struct("<BBqqi")  # that it is quantised, whether its norms are too, shape, bytes of codes
QUANTISER = struct.Struct("<iiii")  # dim, parts, columns of a part, columns of the last part
ENTRIES_START = HEAD.size + SETTINGS.size + DICTIONARY.size
MODEL_PLACE = HEAD.size + 7 * 4

CENTROIDS = 256
NOT_PRUNED = -1
PAGE_BYTES = 4096
CHUNK_BYTES = 16 << 20
BLOCK_BYTES = 1 << 20  # what is put together to be written: it stays in the cache
# A shorter gap between rows is written as zeros: a system call costs as much.
WORTHWHILE_HOLE_BYTES = 4 * PAGE_BYTES
LARGEST = (1 << 31) - 1


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
class QuantisedRows:
    """Rows as codes of a product quantiser: a row is its norm times the centroids that its codes name, side by side.

    n rows of dim columns, in M parts of dsub columns each, the last of which may be narrower.
    codes: uint8 (n, M). centroids: float32 (256 * dim,), part after part, 256 centroids each. norm_codes: uint8 (n,),
    and norms: float32 (256,); both empty if every row's norm is 1.
    Source: Joulin et al., "FastText.zip", arXiv 1612.03651, section 3; Jégou et al. 2011 for product quantisation.
    """

    dim: int
    dsub: int
    codes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    norm_codes: NDArray[np.uint8]
    norms: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.dim

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> QuantisedRows:
        return replace(
            self, codes=self.codes[rows], norm_codes=self.norm_codes[rows] if self.norms.size else self.norm_codes
        )

    def decode(self) -> NDArray[np.float32]:
        """The rows as they are meant: float32 (n, dim)."""
        found = np.empty(self.shape, np.float32)
        for part in range(self.codes.shape[1]):
            begin, end = part * self.dsub, min(self.dim, (part + 1) * self.dsub)
            centroids = self.centroids[CENTROIDS * begin : CENTROIDS * end].reshape(CENTROIDS, end - begin)
            found[:, begin:end] = centroids[self.codes[:, part]]
        if self.norms.size:
            found *= self.norms[self.norm_codes][:, None]
        return found


@dataclass(frozen=True)
class TableRows:
    """Rows where training left them: row k is the first `dim` columns of table[places[k]]; some may be in one place.

    table: float32 or float16 (R, width), width a multiple of 16. places: int32 (n,).
    """

    dim: int
    table: NDArray[np.float32] | NDArray[np.float16]
    places: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        return self.places.size, self.dim

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> TableRows:
        return replace(self, places=self.places[rows])

    def decode(self) -> NDArray[np.float32]:
        """A copy of the rows: float32 (n, dim)."""
        return self.table[self.places, : self.dim].astype(np.float32)


def dense(rows: Rows) -> NDArray[np.float32]:
    """Rows as floats: themselves, or decoded."""
    return rows if isinstance(rows, np.ndarray) else rows.decode()


@dataclass(frozen=True)
class FastTextFile:
    """What a .bin or .ftz holds; V words, C labels, dim columns.

    tokens: how many the trainer read. entries: uint8, the dictionary's entries as they lie in the file, words first.
    places: int64 (V + C,), where each begins. counts: int64 (V + C,), how often each was seen.
    word_rows: (V, dim). bucket_rows: (R, dim). bucket_ids: int64 (R,), ascending, the buckets that have a row; None:
    all have one, in order. pruned: the other buckets are no features at all, where they are otherwise zero; the ids may
    then come in any order.
    output: (C, dim) of a classifier; (V, dim) of word vectors, or (0, dim), where only the input rows are known.
    Rows are float32, or all input rows are quantised together, and the output rows perhaps, too; those of buckets may
    lie in a training table.
    Arrays from a file are mapped, read-only, and need not be aligned.
    """

    settings: FastTextSettings
    tokens: int
    entries: NDArray[np.uint8]
    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    word_rows: NDArray[np.float32] | QuantisedRows
    bucket_ids: NDArray[np.int64] | None
    bucket_rows: Rows
    output: NDArray[np.float32] | QuantisedRows
    pruned: bool = False

    @classmethod
    def from_rows(
        cls,
        *,
        words: list[bytes],
        word_counts: NDArray[np.int64],
        labels: list[bytes],
        label_counts: NDArray[np.int64],
        settings: FastTextSettings,
        word_rows: NDArray[np.float32],
        bucket_ids: NDArray[np.int64],
        bucket_rows: NDArray[np.float32] | TableRows,
        output: NDArray[np.float32],
    ) -> Self:
        """Make a file's content of what training leaves; float32 arrays are kept, not copied.

        words, labels: by descending count, as fastText orders them; labels with their prefix.
        word_counts: int64 (V,). label_counts: int64 (C,). word_rows: float32 (V, dim).
        bucket_ids: int64 (R,), ascending, the buckets that have a row; every other bucket is zero.
        bucket_rows: float32 (R, dim). output: float32, as above.
        Without n-grams of either kind there are no buckets, whatever settings.bucket says, as in fastText.
        Raises AlgorithmError if these do not belong together.
        """
        supervised = settings.model == SUPERVISED
        if settings.maxn <= 0 and (settings.word_ngrams <= 1 or not supervised):
            settings = replace(settings, bucket=0)
        rows = len(labels) if supervised else len(words) if output.shape[0] else 0
        shapes = {
            "word_counts": (word_counts.shape, (len(words),)),
            "label_counts": (label_counts.shape, (len(labels),)),
            "word_rows": (word_rows.shape, (len(words), settings.dim)),
            "bucket_rows": (bucket_rows.shape, (bucket_ids.size, settings.dim)),
            "output": (output.shape, (rows, settings.dim)),
        }
        for name, (shape, wanted) in shapes.items():
            if shape != wanted:
                raise AlgorithmError(f"a model's {name} must be of shape {wanted}, not {shape}")
        if supervised and not labels:
            raise AlgorithmError("a classifier needs a label")
        if bucket_ids.size and not (
            bucket_ids[0] >= 0 and bucket_ids[-1] < settings.bucket and bool((np.diff(bucket_ids) > 0).all())
        ):
            raise AlgorithmError(f"bucket_ids must ascend within 0 and {settings.bucket - 1}")
        packed = pack_entries(words, word_counts, label=False) + pack_entries(labels, label_counts, label=True)
        lengths = np.fromiter(map(len, [*words, *labels]), np.int64) + ENTRY.size
        counts = np.concatenate([word_counts, label_counts]).astype(np.int64)
        return cls(
            settings=settings,
            tokens=int(counts.sum()),
            entries=np.frombuffer(packed, np.uint8),
            places=np.cumsum(lengths) - lengths,
            counts=counts,
            word_rows=np.ascontiguousarray(word_rows, np.float32),
            bucket_ids=bucket_ids,
            bucket_rows=(
                bucket_rows if isinstance(bucket_rows, TableRows) else np.ascontiguousarray(bucket_rows, np.float32)
            ),
            output=np.ascontiguousarray(output, np.float32),
        )

    @property
    def supervised(self) -> bool:
        return self.settings.model == SUPERVISED

    @property
    def quantised(self) -> bool:
        return isinstance(self.word_rows, QuantisedRows)

    def words(self) -> list[bytes]:
        """The words' bytes, in the file's order."""
        return self._names(0, self.word_rows.shape[0])

    def labels(self) -> list[str]:
        """The labels with their prefix; bytes that are not UTF-8 become U+FFFD."""
        names = self._names(self.word_rows.shape[0], self.places.size)
        return [label.decode("utf-8", "replace") for label in names]

    def label_counts(self) -> NDArray[np.int64]:
        """int64 (C,), how often each label was seen in training."""
        return self.counts[self.word_rows.shape[0] :]

    def _names(self, first: int, last: int) -> list[bytes]:
        data = self.entries.tobytes()
        starts = self.places[first:last].tolist()
        ends = [*self.places[first + 1 : last].tolist(), self.places[last] if last < self.places.size else len(data)]
        return [data[start : end - ENTRY.size] for start, end in zip(starts, ends, strict=bool(starts))]


def has_magic(path: Path) -> bool:
    """Whether the file begins as fastText's files do."""
    return model_kind(path) is not None


def model_kind(path: Path) -> int | None:
    """The kind of model that a file of fastText's says it is, CBOW, SKIP_GRAM or SUPERVISED; None for another file."""
    try:
        with path.open("rb") as file:
            head = file.read(MODEL_PLACE + 4)
    except OSError:
        return None
    if head[:4] != MAGIC.to_bytes(4, "little"):
        return None
    return int.from_bytes(head[MODEL_PLACE:], "little") if len(head) == MODEL_PLACE + 4 else 0


def pack_entries(words: list[bytes], counts: NDArray[np.int64], *, label: bool) -> bytes:
    """The dictionary's entries of words or labels. Raises AlgorithmError for a word that holds a NUL."""
    joined = b"\0".join([*words, b""])
    if joined.count(b"\0") != len(words):
        raise AlgorithmError("a word of a model must not hold a zero byte")
    text = np.frombuffer(joined, np.uint8)
    packed = np.empty(text.size + (ENTRY.size - 1) * len(words), np.uint8)
    write_entries(text, counts.astype(np.int64, copy=False), label, packed)
    return packed.tobytes()


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

    def take(self, count: int, what: str) -> NDArray[np.uint8]:
        """The next bytes, as they lie in the file."""
        end = self.at + count
        if end > self.data.size:
            raise self.wrong(f"the file is cut off: its {what} end at byte {end}", self.data.size)
        found = self.data[self.at : end]
        self.at = end
        return found

    def read(self) -> FastTextFile:
        settings = self.read_settings()
        size, words, labels, tokens, pruned = self.unpack(DICTIONARY, "the sizes of its dictionary")
        sizes_at = self.at - DICTIONARY.size
        supervised = settings.model == SUPERVISED
        if words < 0 or labels < supervised or size != words + labels:
            raise self.wrong(
                f"a dictionary of {size} entries with {words} words and {labels} labels cannot be", sizes_at
            )
        if not NOT_PRUNED <= pruned <= settings.bucket:
            raise self.wrong(f"{pruned} buckets cannot have been kept of {settings.bucket}", sizes_at + 20)
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
        kept = None if pruned == NOT_PRUNED else self.read_kept(pruned, settings.bucket)
        buckets = settings.bucket if kept is None else pruned
        quantised = self.at < self.data.size and bool(self.data[self.at])
        if kept is not None and not quantised:
            raise self.wrong("its buckets are pruned, but its rows are not quantised: fastText refuses such files, too")
        rows = self.read_rows("input", words + buckets, settings.dim, may_be_quantised=True)
        output = self.read_rows(
            "output", labels if supervised else words, settings.dim, may_be_quantised=quantised, or_none=not supervised
        )
        if self.at != self.data.size:
            raise self.wrong(f"the model ends here, but {self.data.size - self.at} more bytes follow")
        entries = self.data[start:end]
        return FastTextFile(
            settings, tokens, entries, places, counts, rows[:words], kept, rows[words:], output, kept is not None
        )

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
        if version < VERSION and settings.model == SUPERVISED:
            settings = replace(settings, minn=0, maxn=0)
        hashes = settings.maxn > 0 or (settings.word_ngrams > 1 and settings.model == SUPERVISED)
        ranges = {
            "dim": (1, LIMITS["vector_dim"]),
            "word_ngrams": (0, LIMITS["word_ngrams"]),
            "loss": (HIERARCHICAL, ONE_VS_ALL),
            "model": (CBOW, SUPERVISED),
            "bucket": (1 if hashes else 0, LARGEST),
            "minn": (0, LARGEST),
            "maxn": (0, LIMITS["max_char"]),
        }
        for place, field in enumerate(fields(FastTextSettings)):
            low, high = ranges.get(field.name, (None, None))
            value = getattr(settings, field.name)
            if low is not None and high is not None and not low <= value <= high:
                raise self.wrong(f"{field.name} = {value} is not allowed: {low} to {high}", start + 4 * place)
        return settings

    def read_kept(self, count: int, buckets: int) -> NDArray[np.int64]:
        """int64 (count,): the bucket of each n-gram row that pruning kept."""
        start = self.at
        pairs = self.take(8 * count, "kept buckets").view("<i4").reshape(count, 2).astype(np.int64)
        bad = np.flatnonzero((pairs < 0).any(axis=1) | (pairs[:, 0] >= buckets) | (pairs[:, 1] >= count))
        if bad.size:
            bucket, row = pairs[bad[0]].tolist()
            raise self.wrong(f"bucket {bucket} of {buckets} cannot have row {row} of {count}", start + 8 * int(bad[0]))
        kept = np.full(count, -1, np.int64)
        kept[pairs[:, 1]] = pairs[:, 0]
        if (kept < 0).any() or np.unique(kept).size != count:
            raise self.wrong("its kept buckets do not each have a row of their own", start)
        return kept

    def read_rows(
        self, what: str, rows: int, dim: int, *, may_be_quantised: bool, or_none: bool = False
    ) -> NDArray[np.float32] | QuantisedRows:
        start = self.at
        # The flag before the output rows means nothing in a dense model.
        if may_be_quantised and start < self.data.size and self.data[start]:
            return self.read_quantised(what, rows, dim)
        _, m, n = self.unpack(SHAPE, f"the shape of its {what} rows")
        if (m, n) != (rows, dim) and not (or_none and (m, n) == (0, dim)):
            raise self.wrong(f"its {what} rows are {m} x {n}, where the dictionary asks for {rows} x {dim}", start + 1)
        return self.take(4 * m * n, f"{what} rows").view("<f4").reshape(m, n)

    def read_quantised(self, what: str, rows: int, dim: int) -> QuantisedRows:
        start = self.at
        _, with_norms, m, n, size = self.unpack(QUANTISED, f"the shape of its {what} rows")
        if with_norms > 1:
            raise self.wrong(f"whether its {what} rows' norms are quantised is 0 or 1, not {with_norms}", start + 1)
        if (m, n) != (rows, dim):
            raise self.wrong(f"its {what} rows are {m} x {n}, where the dictionary asks for {rows} x {dim}", start + 2)
        codes_at = self.at
        if size < 0:
            raise self.wrong(f"its {what} rows cannot have {size} bytes of codes", codes_at - 4)
        codes = self.take(size, f"{what} rows' codes")
        _, parts, dsub, centroids = self.read_quantiser(f"{what} rows", dim)
        if size != rows * parts:
            raise self.wrong(
                f"its {what} rows have {size} bytes of codes, where {rows} rows of {parts} parts need {rows * parts}",
                codes_at - 4,
            )
        norm_codes, norms = np.empty(0, np.uint8), np.empty(0, np.float32)
        if with_norms:
            norm_codes = self.take(rows, f"{what} rows' norms")
            _, _, _, norms = self.read_quantiser(f"norms of its {what} rows", 1)
        return QuantisedRows(dim, dsub, codes.reshape(rows, parts), centroids, norm_codes, norms)

    def read_quantiser(self, what: str, dim: int) -> tuple[int, int, int, NDArray[np.float32]]:
        """(dim, parts, columns of a part, centroids); the centroids are copied, to be aligned."""
        start = self.at
        found, parts, dsub, last = self.unpack(QUANTISER, f"the quantiser of the {what}")
        if found != dim or dsub < 1 or parts != -(-dim // dsub) or last != dim - (parts - 1) * dsub:
            raise self.wrong(
                f"the quantiser of the {what} has {parts} parts of {dsub} columns, the last of {last}, for {found}: "
                f"that does not divide {dim} columns",
                start,
            )
        return found, parts, dsub, self.take(4 * CENTROIDS * dim, f"{what}' centroids").view("<f4").copy()


def write(path: Path, model: FastTextFile) -> None:
    """Write a model: beside the file, then renamed over it.

    Pages without a value other than zero are left as holes, which need neither time nor disk; they read as zeros.
    Raises InternalServerError if the disk refuses, AlgorithmError for a pruned model that is not quantised.
    """
    if model.pruned and not model.quantised:
        raise AlgorithmError("a pruned model must be quantised to be written: the format has no other place for it")
    with replacing(path) as descriptor:
        _fill(descriptor, model)


@contextmanager
def replacing(path: Path) -> Iterator[int]:
    """Open a new file beside `path` for write_at; at the end it takes its place, unless this failed.

    It is whole, also if the process is killed. It is not flushed to the disk, which took as long as all the rest for a
    model of 800 MB: what must outlive a loss of power is the artefact that is made of it, and that is flushed.
    Raises InternalServerError if the disk refuses.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        os.replace(beside, path)
    except OSError as error:
        raise InternalServerError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _fill(descriptor: int, model: FastTextFile) -> None:
    settings, words = model.settings, model.word_rows.shape[0]
    labels = model.places.size - words
    kept = _kept(model.bucket_ids) if model.pruned and model.bucket_ids is not None else b""
    head = (
        HEAD.pack(MAGIC, VERSION)
        + SETTINGS.pack(*astuple(settings))
        + DICTIONARY.pack(words + labels, words, labels, model.tokens, len(kept) // 8 if model.pruned else NOT_PRUNED)
        + model.entries.tobytes()
        + kept
    )
    write_at(descriptor, head, 0)
    if isinstance(model.word_rows, QuantisedRows):
        at = _write_quantised(descriptor, [model.word_rows, model.bucket_rows], len(head))
    else:
        at = _write_input(descriptor, model, len(head))
    if isinstance(model.output, QuantisedRows):
        at = _write_quantised(descriptor, [model.output], at)
    else:
        tail = SHAPE.pack(0, *model.output.shape)
        write_at(descriptor, tail, at)
        for row, block in _chunks(model.output):
            write_at(descriptor, block.data.cast("B"), at + len(tail) + 4 * settings.dim * row)


def _kept(bucket_ids: NDArray[np.int64]) -> bytes:
    pairs = np.stack([bucket_ids, np.arange(bucket_ids.size)], axis=1)
    return pairs.astype("<i4").tobytes()


def _write_input(descriptor: int, model: FastTextFile, at: int) -> int:
    """Write dense input rows; returns the byte after them."""
    settings, words = model.settings, dense(model.word_rows)
    write_at(descriptor, SHAPE.pack(0, words.shape[0] + settings.bucket, settings.dim), at)
    words_at = at + SHAPE.size
    buckets_at = words_at + 4 * words.shape[0] * settings.dim
    for row, block in _chunks(words):
        write_at(descriptor, block.data.cast("B"), words_at + 4 * settings.dim * row)
    if model.bucket_ids is None:
        pieces = _chunks(dense(model.bucket_rows), WORTHWHILE_HOLE_BYTES)
    else:
        pieces = _runs(model.bucket_ids, model.bucket_rows)
    for row, block in pieces:
        if block.any():
            write_at(descriptor, block.data.cast("B"), buckets_at + 4 * settings.dim * row)
    return int(buckets_at + 4 * settings.bucket * settings.dim)


def _write_quantised(descriptor: int, pieces: list[Rows], at: int) -> int:
    """Write rows that are quantised together; returns the byte after them."""
    parts = [piece for piece in pieces if isinstance(piece, QuantisedRows)]
    first, rows = parts[0], sum(piece.shape[0] for piece in parts)
    count, with_norms = first.codes.shape[1], bool(first.norms.size)
    last = first.dim - (count - 1) * first.dsub
    data = [QUANTISED.pack(1, with_norms, rows, first.dim, rows * count)]
    data += [piece.codes.tobytes() for piece in parts]
    data += [QUANTISER.pack(first.dim, count, first.dsub, last), first.centroids.astype("<f4").tobytes()]
    if with_norms:
        data += [piece.norm_codes.tobytes() for piece in parts]
        data += [QUANTISER.pack(1, 1, 1, 1), first.norms.astype("<f4").tobytes()]
    for piece in data:
        at = write_at(descriptor, piece, at)
    return at


def write_at(descriptor: int, data: bytes | memoryview, at: int) -> int:
    """Write bytes at a place of a file, and return the place after them."""
    rest = memoryview(data)
    while rest.nbytes:  # a single call writes 2 GB at most
        written: int = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written
    return at


def _chunks(rows: NDArray[np.float32], chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pieces of rows, as the file wants them, each with the number of its first row."""
    step = max(1, chunk_bytes // (4 * max(1, rows.shape[1])))
    for start in range(0, rows.shape[0], step):
        yield start, np.ascontiguousarray(rows[start : start + step], "<f4")


def _runs(ids: NDArray[np.int64], rows: Rows) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pieces of a mostly zero table whose row ids[i] is rows[i], each with the number of its first row.

    Rows that are near each other go together, with the zeros between them: 755,000 of 2,000,000 rows are touched in an
    ordinary training, and leave hardly a page untouched. A piece is good until the next.
    """
    if not ids.size:
        return
    dim = rows.shape[1]
    gap, step = 1 + WORTHWHILE_HOLE_BYTES // (4 * dim), max(1, BLOCK_BYTES // (4 * dim))
    new_run = np.flatnonzero((np.diff(ids) > gap) | (np.diff(ids // step) > 0)) + 1
    out = np.empty(step * dim + padded(dim), "<f4")
    for start, end in pairwise([0, *new_run.tolist(), ids.size]):
        first, last = int(ids[start]), int(ids[end - 1])
        block = out[: (last - first + 1) * dim].reshape(-1, dim)
        if isinstance(rows, TableRows):
            table = rows.table.reshape(-1)
            flat = table.view(np.int16) if table.dtype == np.float16 else table
            spread_rows(flat, rows.table.shape[1], rows.places, ids, start, end, dim, out)
        else:
            block[:] = 0
            block[ids[start:end] - first] = dense(rows[start:end])
        yield first, block
