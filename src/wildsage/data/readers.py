"""A channel as a stream of batches: the way in."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract import content_types
from wildsage.contract.channels import Distribution
from wildsage.contract.errors import ClientError, DataError, nearest
from wildsage.contract.files import shown
from wildsage.contract.record import LARGEST_LENGTH, MAGIC, frames
from wildsage.data import jsonlines, parquet
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.data.channel import Content, Files, Headed, PlainFile, Stream, read_up_to
from wildsage.data.csv import Csv, count_columns, sniff
from wildsage.data.formats import MARGIN, Broken, Format, Missing, Rows, Shape, Slab
from wildsage.data.kinds import kind_of
from wildsage.data.libsvm import Libsvm
from wildsage.data.prefetch import SLAB_BYTES, Prefetch
from wildsage.data.record import Record, Tensor, decode
from wildsage.data.recordio import VALUES, RecordIO, named_values, width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from numpy.typing import NDArray

    from wildsage.contract.channels import Channel
    from wildsage.contract.content_types import ContentType

HEAD_BYTES = 1 << 16  # in which the first row is looked for, at first
MOST_HEAD_BYTES = 1 << 28
SPARSE_ROW_BYTES = 256  # of a sparse row, guessed: it only decides how many rows are read at once
PLACE_BYTES = 12  # of a row's file and line
OTHER_NAMES = {"csv": content_types.CSV, "libsvm": content_types.LIBSVM, "parquet": content_types.PARQUET}
OTHER_NAMES |= {"recordio-protobuf": content_types.RECORDIO_PROTOBUF}


@dataclass(frozen=True)
class Asked:
    """What the caller asks of a format."""

    feature_dim: int | None
    label_width: int
    weights: bool
    missing: Missing
    delimiter: str | None
    source: str | None = None  # what says how many features there are; None: the channel


def open_channel(
    channel: Channel,
    content_type: str | None = None,
    *,
    batch_rows: int,
    feature_dim: int | None = None,
    label_width: int = 1,
    weights: bool = False,
    missing: Missing = "refuse",
    delimiter: str | None = ",",
    shuffle: bool = False,
    shuffle_rows: int = 1 << 16,
    seed: int = 0,
    threads: int = 1,
    rank: int = 0,
    world_size: int = 1,
    stop: Event | None = None,
) -> RowStream:
    """Open a channel, look at its first row, and return its rows as batches; nothing else is read yet.

    content_type: None means the channel's own, else what its first bytes say. feature_dim: None means what the first
    row has.
    label_width: columns of labels where the content type does not say (label_size); other formats than CSV and Parquet
    have as many as their first row, or none with 0. weights: of CSV and Parquet, a column of them behind the labels.
    missing: "nan" takes empty fields, NaN and infinity as NaN, "refuse" refuses them.
    delimiter: of CSV; None: that of `,;\\t|` which the first line has most of.
    shuffle: files in another order each epoch, and rows within windows of shuffle_rows; the same for the same seed.
    threads: that parse. rank, world_size: a replicated channel is dealt out batch by batch; a sharded one is what this
    worker was given. stop: once set, batches end.
    Raises ClientError for a channel without rows or a content type that is not known, DataError for a bad first row.
    """
    kind = _kind(content_type or kind_of(channel), f"channel {channel.name}: ")
    if batch_rows < 1:
        raise ClientError(f"batch_rows = {batch_rows} is not allowed: 1 or more")
    if channel.distribution is Distribution.SHARDED_BY_S3_KEY:
        rank, world_size = 0, 1
    asked = Asked(feature_dim, kind.integer("label_size", label_width), weights, missing, delimiter)
    unwrap = kind.name != content_types.RECORDIO_PROTOBUF
    return RowStream(
        Files(channel, shuffle=shuffle, seed=seed, unwrap=unwrap),
        kind.name,
        asked,
        batch_rows=batch_rows,
        threads=max(1, threads),
        rank=rank,
        world_size=world_size,
        stop=stop or Event(),
        shuffle_rows=shuffle_rows if shuffle else 0,
        seed=seed,
    )


def read_body(
    body: bytes,
    content_type: str | None = None,
    *,
    feature_dim: int | None = None,
    label_width: int = 0,
    missing: Missing = "refuse",
    delimiter: str | None = ",",
    name: str = "the request",
    source: str | None = None,
) -> Batch:
    """All rows of some bytes, such as the body of a request; of none, no rows.

    source: what says that there are feature_dim features, such as "the model takes", for messages.

    Raises ClientError for a content type that is not known, DataError for what is wrong with the rows.
    """
    kind = _kind(content_type, "")
    asked = Asked(feature_dim, kind.integer("label_size", label_width), False, missing, delimiter, source)
    content = Content(name, body)
    if kind.name == content_types.PARQUET:
        with parquet.opened(content) as found:
            shape = parquet.shape_of(found, feature_dim, asked.label_width, weights=False)
        rows: Any = parquet.ParquetRows(
            [Content(name, body)], shape, missing=missing, slab_rows=1024, batch_rows=1024, threads=1, rank=0,
            world_size=1, stopped=lambda: False,
        )  # fmt: skip
        parts = [_batch(slab, 0, slab.filled, [name], shape, "record").copy() for slab in rows]
        return Batch.joined(parts) if parts else _batch(Slab.empty(0, shape), 0, 0, [name], shape, "record")
    format_ = OPENERS[kind.name](_Head([content]), asked)
    size = len(body)
    data = np.zeros(size + 1 + MARGIN, np.uint8)
    data[:size] = np.frombuffer(body, np.uint8)
    if format_.line_ends and size and data[size - 1] != 10:
        data[size] = 10
        size += 1
    try:
        count, behind, _ = format_.find(data, 0, size, size, size)
    except Broken as broken:
        raise DataError(broken.reason, file=name, record=broken.rows + 1, byte=broken.at) from broken
    if behind < size:
        raise DataError("it ends within a record: it is cut off", file=name, byte=behind)
    slab = Slab.empty(count, format_.shape)
    slab.files[:] = 0
    if count:
        format_.parse(Rows(data, 0, size, count, name, 1, 0), slab, 0, format_.scratch())
    return _batch(slab, 0, count, [name], format_.shape, format_.unit)


def _kind(text: str | None, where: str) -> ContentType:
    said = (text or content_types.CSV).strip()
    kind = content_types.parse(OTHER_NAMES.get(said.lower(), said))
    if kind.name not in OPENERS and kind.name != content_types.PARQUET:
        allowed = [*OPENERS, content_types.PARQUET]
        hint = nearest(kind.name, allowed)
        raise ClientError(f"{where}content type {shown(kind.name)} is not allowed: {', '.join(allowed)}{hint}")
    return kind


def _batch(slab: Slab, begin: int, end: int, names: list[str], shape: Shape, unit: str) -> Batch:
    """Rows of a slab, sharing its memory."""
    leading, labels = slab.leading[begin:end], shape.labels
    features: NDArray[np.float32] | SparseRows
    if slab.features is None:
        if len(slab.parts) != 1:
            parts = [part for _, part in sorted(slab.parts, key=lambda item: item[0])]
            width = max([part.width for part in parts], default=shape.features or 0)
            slab.parts = [(0, SparseRows.joined(parts, width))]
        features = slab.parts[0][1].part(begin, end)
    else:
        features = slab.features[begin:end]
    return Batch(
        features,
        None if not labels else leading[:, 0] if labels == 1 else leading[:, :labels],
        leading[:, labels] if shape.weighted else None,
        Origin(names, slab.files[begin:end], slab.numbers[begin:end], unit),
    )


class RowStream:
    """The batches of a channel; each `for` over it is an epoch. Memory does not grow with the data."""

    def __init__(
        self, files: Files, content_type: str, asked: Asked, *, batch_rows: int, threads: int, rank: int,
        world_size: int, stop: Event, shuffle_rows: int, seed: int,
    ) -> None:  # fmt: skip
        self.epoch = 0  # that comes next
        self.rows: int | None = None  # of an epoch, of all workers; known after the first
        self.batch_rows = batch_rows
        self._files, self._asked, self._threads, self._stop = files, asked, threads, stop
        self._rank, self._world_size = rank, world_size
        self._shuffle_rows, self._seed = shuffle_rows, seed
        self._reading: Prefetch | parquet.ParquetRows | None = None
        self._first: list[PlainFile | Stream] | None = None  # a pipe whose first bytes were looked at
        self._format: Format | None = None  # None: Parquet
        head = _Head(files.of_epoch(0, stop.is_set))
        try:
            if content_type == content_types.PARQUET:
                self.shape = self._parquet_shape(head.files)
            else:
                self._format = OPENERS[content_type](head, asked)
                self.shape = self._format.shape
            if files.is_pipe:
                self._first = head.files
        finally:
            if self._first is None:
                head.close()

    @property
    def feature_dim(self) -> int | None:
        """Features of a row. None for libsvm without a given dimension, until an epoch is read."""
        return self.shape.features

    @property
    def expected_rows(self) -> int | None:
        """Rows of an epoch, of all workers: about how many while the first is read; None where nobody can tell."""
        if self.rows is not None or self._reading is None:
            return self.rows
        return self._reading.expected_rows

    @property
    def label_width(self) -> int:
        return self.shape.labels

    @property
    def sparse(self) -> bool:
        return self.shape.sparse

    @property
    def weighted(self) -> bool:
        return self.shape.weighted

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self.shape.feature_names

    def close(self) -> None:
        """Let go of a pipe that was opened and is not going to be read."""
        if self._first is not None:
            _Head(self._first).close()
            self._first = None

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the next epoch. Raises DataError for a bad row, ClientError where there are no rows."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        files, self._first = self._first or self._files.of_epoch(epoch, self._stop.is_set), None
        batches = self._batches(files)
        with closing(batches):
            yield from self._shuffled(batches, epoch) if self._shuffle_rows else batches

    def _batches(self, files: list[PlainFile | Stream]) -> Generator[Batch, None, None]:
        names = [file.name for file in files]
        unit = "record" if self._format is None else self._format.unit
        row_bytes = SPARSE_ROW_BYTES if self.shape.sparse else 4 * (self.shape.features or 0)
        row_bytes += 4 * self.shape.leading + PLACE_BYTES
        slab_rows = max(1, SLAB_BYTES // (row_bytes * self.batch_rows)) * self.batch_rows
        more: dict[str, Any] = {"rank": self._rank, "world_size": self._world_size, "stopped": self._stop.is_set}
        more |= {"batch_rows": self.batch_rows, "slab_rows": slab_rows, "threads": self._threads}
        reading: Prefetch | parquet.ParquetRows
        if self._format is None:
            reading = parquet.ParquetRows(files, self.shape, missing=self._asked.missing, **more)
        else:
            reading = Prefetch(files, self._format, **more)
        self._reading = reading
        widest = 0
        slabs = iter(reading)
        with closing(slabs):
            for slab in slabs:
                if slab.error is not None:
                    raise slab.error[1]
                for begin in range(0, slab.filled, self.batch_rows):
                    if self._stop.is_set():
                        return
                    end = min(begin + self.batch_rows, slab.filled)
                    batch = _batch(slab, begin, end, names, self.shape, unit)
                    if isinstance(batch.features, SparseRows):
                        widest = max(widest, batch.features.width)
                    yield batch
        if self._stop.is_set():
            return
        self.rows = reading.rows
        if self.shape.features is None:
            self.shape = replace(self.shape, features=widest)
        if not reading.rows:
            raise ClientError(f"channel {self._files.channel.name} is empty: {', '.join(names[:3])}")

    def _shuffled(self, batches: Iterable[Batch], epoch: int) -> Iterator[Batch]:
        """The same rows, in a random order within windows. What does not fill a batch goes into the next window."""
        random = np.random.default_rng([self._seed, epoch, self._rank])
        window: list[Batch] = []
        held = 0
        for batch in batches:
            window.append(batch.copy())
            held += len(batch)
            if held >= max(self._shuffle_rows, self.batch_rows):
                mixed = Batch.joined(window)
                mixed = mixed.take(random.permutation(held))
                whole = held // self.batch_rows * self.batch_rows
                for begin in range(0, whole, self.batch_rows):
                    yield mixed.part(begin, begin + self.batch_rows)
                window = [mixed.part(whole, held).copy()] if whole < held else []
                held -= whole
        if held:
            mixed = Batch.joined(window)
            mixed = mixed.take(random.permutation(held))
            for begin in range(0, held, self.batch_rows):
                yield mixed.part(begin, min(begin + self.batch_rows, held))

    def _parquet_shape(self, files: list[PlainFile | Stream]) -> Shape:
        for place, file in enumerate(files):
            if isinstance(file, PlainFile) and file.size == 0:
                continue
            if not isinstance(file, PlainFile):
                # Its schema is at its end: a pipe is read once, and kept.
                kept = parquet.Kept(file)
                files[place] = kept
                with parquet.opened(kept) as found:
                    shape = self._shape_of(found)
                kept.rewind()
                return shape
            with parquet.opened(file) as found:
                return self._shape_of(found)
        raise ClientError(f"channel {self._files.channel.name} is empty")

    def _shape_of(self, found: Any) -> Shape:
        asked = self._asked
        return parquet.shape_of(found, asked.feature_dim, asked.label_width, weights=asked.weights)


class _Head:
    """Looks at the first bytes of some files, and puts back those of a stream."""

    def __init__(self, files: list[PlainFile | Stream]) -> None:
        self.files = files
        self.name = ""  # of the file that was looked at

    def peek(self, count: int) -> bytes:
        """Up to `count` bytes of the first file that has any."""
        for place, file in enumerate(self.files):
            if isinstance(file, PlainFile):
                try:
                    with file.path.open("rb") as opened:
                        found = opened.read(count)
                except OSError as error:
                    raise DataError(f"cannot be read: {error.strerror}", file=file.name) from error
            else:
                found = read_up_to(file, count)
                self.files[place] = Headed(file, found)
            if found:
                self.name = file.name
                return found
        return b""

    def line(self) -> bytes:
        """The first line that is not empty; b"" if there is none."""
        count = HEAD_BYTES
        while True:
            found = self.peek(count)
            if found[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise DataError("the text is UTF-16; save it as UTF-8", file=self.name, line=1)
            text = found.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
            line, newline, _ = text.partition(b"\n")
            if newline or len(found) < count:
                return line.rstrip(b"\r")
            if count > MOST_HEAD_BYTES:
                raise DataError(f"a first line of more than {MOST_HEAD_BYTES >> 20} MB", file=self.name, line=1)
            count *= 8

    def record(self) -> Record | None:
        """The first record; None if there is none."""
        found = self.peek(HEAD_BYTES)
        if not found:
            return None
        count = 8 + int.from_bytes(found[4:8], "little")
        if count > HEAD_BYTES and found[:4] == MAGIC:
            found = self.peek(min(count, LARGEST_LENGTH))
        try:
            return decode(next(frames(found)))
        except DataError as error:
            raise self.error(error) from error

    def error(self, error: DataError) -> DataError:
        """An error of the first record, with its place."""
        return DataError(error.reason, file=self.name, record=1, byte=error.byte or 0)

    def close(self) -> None:
        for file in self.files:
            if not isinstance(file, PlainFile):
                file.close()


def _open_csv(head: _Head, asked: Asked) -> Format:
    line = head.line()
    delimiter = asked.delimiter or sniff(line)
    leading = asked.label_width + int(asked.weights)
    width = count_columns(line, delimiter) if line else leading
    if width < leading or (width == leading and line and not asked.feature_dim):
        what = f"{asked.label_width} label{'s' * (asked.label_width != 1)}" + (" and a weight" if asked.weights else "")
        reason = f"{width} column{'s' * (width != 1)} leave no feature beside {what}"
        raise DataError(reason, file=head.name, line=1)
    features = width - leading if asked.feature_dim is None else asked.feature_dim
    shape = Shape(features, asked.label_width, asked.weights)
    source = "line 1 of the channel has" if asked.feature_dim is None else "the labels and feature_dim make"
    if asked.source is not None and asked.feature_dim is not None:
        source = asked.source if not leading else f"{asked.source} {asked.feature_dim}, which with labels make"
    return Csv(shape, missing=asked.missing, delimiter=delimiter, source=source)


def _open_libsvm(head: _Head, asked: Asked) -> Format:
    first = (head.line().split() or [b""])[0]
    weighted = asked.label_width > 0 and b":" in first
    shape = Shape(asked.feature_dim, min(1, asked.label_width), weighted, sparse=True)
    return Libsvm(shape, missing=asked.missing)


def _open_json_lines(head: _Head, asked: Asked) -> Format:
    line = head.line()
    if not line:
        return jsonlines.JsonLines(Shape(asked.feature_dim or 0, 0), missing=asked.missing)
    try:
        shape = jsonlines.shape_of(line, asked.feature_dim, asked.label_width)
    except DataError as error:
        raise DataError(error.reason, file=head.name, line=1) from error
    return jsonlines.JsonLines(shape, missing=asked.missing)


def _open_recordio(head: _Head, asked: Asked) -> Format:
    record = head.record()
    if record is None:
        return RecordIO(Shape(asked.feature_dim or 0, 0), missing=asked.missing)
    try:
        tensor = named_values(record.features, "feature")
        width = width_of(tensor)
    except DataError as error:
        raise head.error(error) from error
    label = record.label.get(VALUES) if asked.label_width else None
    labels = len(label.values) if isinstance(label, Tensor) else 0
    sparse = tensor.keys is not None or not len(tensor.values)
    features = width if asked.feature_dim is None else asked.feature_dim
    source = asked.source or ("feature_dim is" if asked.feature_dim else "the channel has")
    return RecordIO(Shape(features, labels, sparse=sparse, source=source), missing=asked.missing)


OPENERS: dict[str, Callable[[_Head, Asked], Format]] = {
    content_types.CSV: _open_csv,
    content_types.LIBSVM: _open_libsvm,
    content_types.JSON_LINES: _open_json_lines,
    content_types.RECORDIO_PROTOBUF: _open_recordio,
}
