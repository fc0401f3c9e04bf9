"""A channel as a stream of batches: the way in."""

from __future__ import annotations

from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from wildsage.contract import content_types
from wildsage.contract.channels import Distribution
from wildsage.contract.errors import ClientError, nearest
from wildsage.contract.files import shown
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.data.channel import Files, Headed, PlainFile, Stream, read_up_to
from wildsage.data.csv import Csv, count_columns, sniff
from wildsage.data.formats import Missing, Shape, Slab
from wildsage.data.prefetch import SLAB_BYTES, Prefetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wildsage.contract.channels import Channel
    from wildsage.contract.content_types import ContentType
    from wildsage.data.formats import Format

HEAD_BYTES = 1 << 16  # in which the first row is looked for, at first
MOST_HEAD_BYTES = 1 << 28


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

    content_type: None means the channel's own, else CSV. feature_dim: None means what the first row has.
    label_width: columns of labels where the content type does not say (label_size). weights: CSV has the weight behind
    the labels. missing: "nan" takes empty fields, NaN and infinity as NaN, "refuse" refuses them.
    delimiter: of CSV; None: that of `,;\\t|` which the first line has most of.
    shuffle: files in another order each epoch, and rows within windows of shuffle_rows; the same for the same seed.
    threads: that parse. rank, world_size: a replicated channel is dealt out batch by batch; a sharded one is what this
    worker was given. stop: once set, batches end.
    Raises ClientError for a channel without rows or a content type that is not known, DataError for a bad first row.
    """
    said = content_types.parse(content_type or channel.content_type or content_types.CSV)
    if batch_rows < 1:
        raise ClientError(f"batch_rows = {batch_rows} is not allowed: 1 or more")
    if channel.distribution is Distribution.SHARDED_BY_S3_KEY:
        rank, world_size = 0, 1
    files = Files(channel, shuffle=shuffle, seed=seed)
    opener = READERS.get(said.name)
    if opener is None:
        allowed = ", ".join(READERS)
        raise ClientError(
            f"channel {channel.name}: content type {shown(said.name)} is not allowed: {allowed}"
            f"{nearest(said.name, READERS)}"
        )
    stream = RowStream(
        files,
        batch_rows=batch_rows,
        threads=max(1, threads),
        rank=rank,
        world_size=world_size,
        stop=stop or Event(),
        shuffle_rows=shuffle_rows if shuffle else 0,
        seed=seed,
    )
    asked = Asked(said, feature_dim, said.integer("label_size", label_width), weights, missing, delimiter)
    stream.start(opener, asked)
    return stream


class Asked:
    """What the caller asks of a format."""

    def __init__(
        self, said: ContentType, feature_dim: int | None, label_width: int, weights: bool, missing: Missing,
        delimiter: str | None,
    ) -> None:  # fmt: skip
        self.said, self.feature_dim, self.label_width, self.weights = said, feature_dim, label_width, weights
        self.missing, self.delimiter = missing, delimiter


class RowStream:
    """The batches of a channel; each `for` over it is an epoch. Memory does not grow with the data."""

    def __init__(
        self, files: Files, *, batch_rows: int, threads: int, rank: int, world_size: int, stop: Event,
        shuffle_rows: int, seed: int,
    ) -> None:  # fmt: skip
        self.epoch = 0  # that comes next, or is being read
        self.rows: int | None = None  # of an epoch, of all workers; known after the first
        self.batch_rows = batch_rows
        self._files, self._threads, self._stop = files, threads, stop
        self._rank, self._world_size = rank, world_size
        self._shuffle_rows, self._seed = shuffle_rows, seed
        self._first: list[PlainFile | Stream] | None = None  # a pipe whose first bytes were looked at

    def start(self, opener: Opener, asked: Asked) -> None:
        """Look at the first row."""
        epoch_files = self._files.of_epoch(0, self._stop.is_set)
        head = _Head(epoch_files)
        self._format = opener(head, asked)
        self.shape = self._format.shape
        if self._files.is_pipe:
            self._first = head.files
        else:
            for file in head.files:
                if not isinstance(file, PlainFile):
                    file.close()

    @property
    def feature_dim(self) -> int | None:
        """Features of a row. None for libsvm without a given dimension, until an epoch is read."""
        return self.shape.features

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

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        files, self._first = self._first or self._files.of_epoch(epoch, self._stop.is_set), None
        row_bytes = max(1, 4 * ((self.shape.features or 0) + self.shape.leading) + 12)
        batches = max(1, SLAB_BYTES // (row_bytes * self.batch_rows))
        prefetch = Prefetch(
            files,
            self._format,
            batch_rows=self.batch_rows,
            slab_rows=batches * self.batch_rows,
            threads=self._threads,
            rank=self._rank,
            world_size=self._world_size,
            stopped=self._stop.is_set,
        )
        names = [file.name for file in files]
        slabs = iter(prefetch)
        with closing(slabs):  # type: ignore[type-var]
            for slab in slabs:
                if slab.error is not None:
                    raise slab.error[1]
                if self._stop.is_set():
                    return
                for begin in range(0, slab.filled, self.batch_rows):
                    yield self._batch(slab, begin, min(begin + self.batch_rows, slab.filled), names)
        if not self._stop.is_set():
            self.rows = prefetch.rows
            if not prefetch.rows:
                raise ClientError(f"channel {self._files.channel.name} is empty")

    def _batch(self, slab: Slab, begin: int, end: int, names: list[str]) -> Batch:
        labels, weights = self.shape.labels, self.shape.weighted
        leading = slab.leading[begin:end]
        features: np.ndarray | SparseRows
        if slab.features is None:
            raise TypeError("sparse")
        features = slab.features[begin:end]
        return Batch(
            features,
            None if not labels else leading[:, 0] if labels == 1 else leading[:, :labels],
            leading[:, labels] if weights else None,
            Origin(names, slab.files[begin:end], slab.numbers[begin:end], self._format.unit),
        )


class _Head:
    """Looks at the first bytes of some files, and puts back those of a stream."""

    def __init__(self, files: list[PlainFile | Stream]) -> None:
        self.files = files

    def peek(self, count: int) -> bytes:
        """Up to `count` bytes of the first file that has any."""
        for place, file in enumerate(self.files):
            if isinstance(file, PlainFile):
                with file.path.open("rb") as opened:
                    found = opened.read(count)
            else:
                found = read_up_to(file, count)
                self.files[place] = Headed(file, found)
            if found:
                return found
        return b""

    def line(self) -> bytes:
        """The first line that is not empty."""
        count = HEAD_BYTES
        while True:
            found = self.peek(count)
            text = found.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
            line, newline, _ = text.partition(b"\n")
            if newline or len(found) < count or count > MOST_HEAD_BYTES:
                return line.rstrip(b"\r")
            count *= 8


if TYPE_CHECKING:
    Opener = Callable[[_Head, Asked], Format]


def _open_csv(head: _Head, asked: Asked) -> Format:
    line = head.line()
    delimiter = asked.delimiter or sniff(line)
    width = count_columns(line, delimiter)
    leading = asked.label_width + int(asked.weights)
    features = width - leading if asked.feature_dim is None else asked.feature_dim
    return Csv(Shape(features, asked.label_width, asked.weights), missing=asked.missing, delimiter=delimiter)


READERS: dict[str, Opener] = {
    content_types.CSV: _open_csv,
}
