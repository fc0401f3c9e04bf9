"""Parquet, through pyarrow: labels in the first columns, then the weight if there is one, then features, by name."""

from __future__ import annotations

import queue
import tempfile
import threading
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import ClientError, DataError
from wildsage.data.channel import PlainFile, Stream
from wildsage.data.formats import Missing, Shape, Slab

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray

AHEAD = 2  # slabs that wait to be used
BLOCK = 1 << 18
SPOOLED = 1 << 26  # bytes of a pipe that are kept in memory; beyond it is a temporary file
WAIT_S = 0.2


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ClientError('Parquet needs pyarrow: pip install "wildsage[parquet]"') from error
    return pyarrow


class Kept:
    """A stream whose bytes stay, to be read again."""

    def __init__(self, source: Stream) -> None:
        self.name = source.name
        self.spool = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 (closed by close)
        block = memoryview(bytearray(BLOCK))
        while count := source.read_into(block):
            self.spool.write(block[:count])
        source.close()
        self.rewind()

    def rewind(self) -> None:
        self.spool.seek(0)

    def read_into(self, view: memoryview) -> int:
        content = self.spool.read(len(view))
        view[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self.spool.close()


@contextmanager
def opened(file: PlainFile | Stream) -> Iterator[Any]:
    """A file as pyarrow's ParquetFile; a stream is first read to its end. Raises DataError for what is none."""
    pyarrow = _pyarrow()
    kept = None if isinstance(file, PlainFile) else file if isinstance(file, Kept) else Kept(file)
    source = kept.spool if kept is not None else str(file.path) if isinstance(file, PlainFile) else None
    try:
        with _named(file.name), closing(pyarrow.parquet.ParquetFile(source)) as found:
            yield found
    finally:
        if kept is not None and kept is not file:
            kept.close()


@contextmanager
def _named(name: str) -> Iterator[None]:
    pyarrow = _pyarrow()
    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"not read as Parquet: {error}", file=name) from error


def shape_of(found: Any, feature_dim: int | None, label_width: int, *, weights: bool) -> Shape:
    """What rows are made of, by a file's schema."""
    names = found.schema_arrow.names
    leading = label_width + int(weights)
    features = len(names) - leading if feature_dim is None else feature_dim
    return Shape(max(0, features), label_width, weights, feature_names=tuple(names[leading:]))


class ParquetRows:
    """One pass over Parquet files, as slabs in order; a thread reads ahead."""

    def __init__(
        self, files: Sequence[PlainFile | Stream], shape: Shape, *, missing: Missing, slab_rows: int, batch_rows: int,
        threads: int, rank: int, world_size: int, stopped: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._files, self._shape, self._missing, self._threads = files, shape, missing == "nan", threads
        self._slab_rows, self._batch_rows, self._rank, self._world_size = slab_rows, batch_rows, rank, world_size
        self._stopped = stopped
        self._closed = threading.Event()
        self._ready: queue.Queue[Slab | BaseException | None] = queue.Queue(AHEAD)
        self._free: queue.SimpleQueue[Slab] = queue.SimpleQueue()
        self.rows = 0  # found so far, of all workers

    expected_rows: int | None = None  # not told before the end

    def __iter__(self) -> Generator[Slab, None, None]:
        worker = threading.Thread(target=self._work, name="parquet-reader", daemon=True)
        worker.start()
        try:
            while (slab := self._ready.get()) is not None:
                if isinstance(slab, BaseException):
                    raise slab
                yield slab
                slab.clear()
                self._free.put(slab)
        finally:
            self._closed.set()
            worker.join()
            for file in self._files:
                if not isinstance(file, PlainFile):
                    file.close()

    def _work(self) -> None:
        try:
            for slab in self._slabs():
                if not self._put(slab):
                    return
        except Exception as error:  # noqa: BLE001 (it is raised where the rows are used)
            self._put(error)
            return
        self._put(None)

    def _put(self, what: Slab | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(what, timeout=WAIT_S)
            except queue.Full:
                continue
            return True
        return False

    def _slabs(self) -> Iterator[Slab]:
        slab = self._slab()
        for number, file in enumerate(self._files):
            if isinstance(file, PlainFile) and file.size == 0:
                continue
            with opened(file) as found, _named(file.name):
                first = 1
                self._check(found, file.name)
                for batch in found.iter_batches(self._slab_rows, use_threads=self._threads > 1):
                    if self._closed.is_set() or self._stopped():
                        return
                    for begin, end in self._ours(len(batch)):
                        while begin < end:
                            count = min(end - begin, self._slab_rows - slab.filled)
                            self._copy(batch.slice(begin, count), slab, file.name, first + begin)
                            slab.files[slab.filled : slab.filled + count] = number
                            slab.filled += count
                            begin += count
                            if slab.filled == self._slab_rows:
                                yield slab
                                slab = self._slab()
                    first += len(batch)
        if slab.filled:
            yield slab

    def _ours(self, count: int) -> Iterator[tuple[int, int]]:
        """The runs of the next `count` rows that are this worker's."""
        begin = 0
        while begin < count:
            batch, within = divmod(self.rows, self._batch_rows)
            step = count - begin if self._world_size == 1 else min(count - begin, self._batch_rows - within)
            if batch % self._world_size == self._rank or self._world_size == 1:
                yield begin, begin + step
            begin += step
            self.rows += step

    def _slab(self) -> Slab:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return Slab.empty(self._slab_rows, self._shape)

    def _check(self, found: Any, name: str) -> None:
        names, width = found.schema_arrow.names, self._shape.leading + (self._shape.features or 0)
        if len(names) != width:
            raise DataError(f"{len(names)} columns, but the channel's first file has {width}", file=name)

    def _copy(self, batch: Any, slab: Slab, name: str, number: int) -> None:
        end = slab.filled + len(batch)
        slab.numbers[slab.filled : end] = np.arange(number, number + len(batch))
        leading = self._shape.leading
        for place, column in enumerate(batch.columns):
            into = slab.leading[:, place] if place < leading else slab.features[:, place - leading]  # type: ignore[index]
            into[slab.filled : end] = self._numbers(column, place, batch.schema.names[place], name, number)

    def _numbers(self, column: Any, place: int, title: str, name: str, number: int) -> NDArray[np.float32]:
        pyarrow = _pyarrow()
        types = pyarrow.types
        kind = column.type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
            raise DataError(f'column "{title}" is of type {kind}: numbers are wanted', file=name, column=place + 1)
        if not types.is_floating(kind):
            column = column.cast(pyarrow.float64(), safe=False)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            values: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
        bad = ~np.isfinite(values)
        if bad.any():
            if not self._missing or place < self._shape.leading:
                row = int(bad.argmax())
                what = "no value" if not column.is_valid()[row].as_py() else "a value that is not a finite 32-bit float"
                raise DataError(f'column "{title}" has {what}', file=name, record=number + row, column=place + 1)
            values = np.where(bad, np.float32(np.nan), values)
        return values


def write_parquet(
    file: IO[bytes],
    features: NDArray[np.float32],
    labels: NDArray[Any] | None = None,
    *,
    feature_names: Sequence[str] | None = None,
) -> None:
    """Write rows with the label as first column. Raises ClientError without pyarrow, or for names of another number."""
    pyarrow = _pyarrow()
    names = list(feature_names or (f"feature_{number}" for number in range(features.shape[1])))
    if len(names) != features.shape[1]:
        raise ClientError(f"{len(names)} names for {features.shape[1]} features")
    columns = {} if labels is None else {"label": pyarrow.array(labels)}
    columns |= {name: pyarrow.array(features[:, number]) for number, name in enumerate(names)}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
