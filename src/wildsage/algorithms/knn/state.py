"""The sample of the rows: what k-NN keeps of a stream."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.knn.kernels.sampling import choose, make_heap, make_keys
from wildsage.algorithms.knn.rows import Rows
from wildsage.algorithms.streaming import State
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from wildsage.algorithms.knn.preparation import Preparation
    from wildsage.algorithms.streaming import Workers
    from wildsage.data.batch import Batch

LARGEST_VALUE = 1e15  # squares of a million of them fit a float32
LARGEST_CLASS = 1 << 24  # up to here float32 has every whole number


class Sample(State):
    """The `capacity` rows with the least keys of all that came, prepared, and their labels and keys.

    A row's key is a hash of the seed and of the row's place in the data, so each row is as likely kept as any other,
    and which ones are does not depend on how rows are dealt out, in which batches or to which worker: two states that
    saw two halves, merged, hold the very rows of one that saw all. Bottom-k sampling: Cohen and Kaplan, "Summarizing
    data using bottom-k sketches", PODC 2007. Memory: 4 bytes a column of a kept row, and 12 beside, 20 once it is full.
    """

    def __init__(
        self, capacity: int, preparation: Preparation, workers: Workers, *, seed: str, whole_labels: bool
    ) -> None:
        self.capacity, self.preparation, self.workers = capacity, preparation, workers
        self.rows = Rows(preparation.width)
        self.seen = 0
        self._labels, self._keys = np.zeros(0, np.float32), np.zeros(0, np.uint64)
        self._seed, self._whole_labels = seed, whole_labels
        self._heap: NDArray[np.int64] | None = None  # of the slots, once all are taken
        self._marks = np.zeros(0, np.uint64)

    @property
    def labels(self) -> NDArray[np.float32]:
        """Of the rows, (rows.count,)."""
        return self._labels[: self.rows.count]

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Of the rows, (rows.count,)."""
        return self._keys[: self.rows.count]

    def update(self, batch: Batch) -> None:
        """Take in the rows of a batch. Raises DataError for a label that is no class, where classes are wanted,
        and for a number that is too large.
        """
        labels = batch.labels
        if labels is None:
            raise batch.error(0, "no label, and k-NN needs one for every row")
        if self._whole_labels:
            check_classes(batch)
        check_values(batch)
        self._marks = self._marks_of(batch.origin.names)
        keys = np.empty(len(batch), np.uint64)
        make_keys(self._marks, batch.origin.files, batch.origin.numbers, keys)
        self._take(batch.features, labels, keys, batch)
        self.seen += len(batch)

    def merge(self, other: Self) -> None:
        """Take in what another sample kept: as if its rows had come to this one, exactly."""
        self.take_kept(other.rows.used, other.labels, other.keys, other.seen)

    def take_kept(
        self, rows: NDArray[np.float32], labels: NDArray[np.float32], keys: NDArray[np.uint64], seen: int
    ) -> None:
        """Take in a sample of `seen` rows, (n, width) and prepared already."""
        self._take(rows, labels, keys, None)
        self.seen += seen

    def arrays(self) -> dict[str, NDArray[Any]]:
        seen = np.array([self.seen], np.int64)
        return {"rows": self.rows.used, "labels": self.labels, "keys": self.keys, "seen": seen}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        rows, labels, keys = arrays["rows"], arrays["labels"], arrays["keys"]
        seen = int(arrays["seen"][0])
        fits = rows.ndim == 2 and rows.shape == (len(labels), self.rows.width) and labels.shape == keys.shape
        if not fits or len(labels) > self.capacity:
            raise ValueError("the arrays are of another sample")
        self.rows, self._heap = Rows(self.rows.width), None
        self.rows.extend(len(labels), self.capacity)[:] = rows
        self._labels, self._keys = labels.astype(np.float32), keys.astype(np.uint64)
        self.seen = seen

    def _take(self, features: Any, labels: NDArray[np.float32], keys: NDArray[np.uint64], batch: Batch | None) -> None:
        """Keep what is to be kept of some rows: prepared ones, or those of a batch."""
        have = self.rows.count
        free = min(self.capacity - have, len(keys))
        if free:
            self._reserve(have + free)
            self._labels[have : have + free], self._keys[have : have + free] = labels[:free], keys[:free]
            out = self.rows.extend(free, self.capacity)
            if batch is None:
                out[:] = features[:free]
            else:
                self.preparation.apply((batch if free == len(keys) else batch.part(0, free)).dense(), out, self.workers)
        if free == len(keys):
            return
        if self._heap is None:
            self._heap = np.empty(self.capacity, np.int64)
            make_heap(self.keys, self._heap)
        left = len(keys) - free
        chosen, slots = np.empty(left, np.int64), np.empty(left, np.int64)
        count = choose(keys[free:], self._keys, self._heap, chosen, slots)
        if not count:
            return
        # A slot that was taken twice belongs to the row that came last.
        slots, last = np.unique(slots[:count][::-1], return_index=True)
        chosen = free + chosen[:count][::-1][last]
        self._labels[slots] = labels[chosen]
        if batch is None:
            self.rows.used[slots] = features[chosen]
            return
        made = np.empty((len(slots), self.rows.width), np.float32)
        self.preparation.apply(batch.take(chosen).dense(), made, self.workers)
        self.rows.used[slots] = made

    def _reserve(self, count: int) -> None:
        if count > len(self._labels):
            ample = min(self.capacity, count + max(count // 8, 1024))
            self._labels.resize(ample, refcheck=False)
            self._keys.resize(ample, refcheck=False)

    def _marks_of(self, names: Sequence[str]) -> NDArray[np.uint64]:
        """A hash of each file's name and the seed; names only become more."""
        new = [
            int.from_bytes(hashlib.blake2b(f"{self._seed}\0{name}".encode(), digest_size=8).digest(), "little")
            for name in names[len(self._marks) :]
        ]
        return np.concatenate([self._marks, np.array(new, np.uint64)]) if new else self._marks


def check_classes(batch: Batch) -> None:
    """Raise DataError, with its place, for the first label that cannot be a class: a whole number that float32 has."""
    labels = batch.labels
    if labels is None:
        return
    bad = (labels != np.floor(labels)) | (np.abs(labels) > LARGEST_CLASS)
    if bad.any():
        row = int(np.argmax(bad))
        allowed = f"a whole number up to {LARGEST_CLASS:,}, since predictor_type = classifier"
        raise batch.error(row, f"label {labels[row]:.9g} is not allowed: {allowed}")


def check_values(batch: Batch) -> None:
    """Raise DataError, with its place, for the first row with a number whose distances float32 cannot hold.

    faiss knows no neighbours at such a distance.
    """
    features = batch.features
    values = features.values if isinstance(features, SparseRows) else features
    if not values.size or max(float(values.max()), -float(values.min())) <= LARGEST_VALUE:
        return
    if isinstance(features, SparseRows):
        place = int(np.argmax(np.abs(features.values) > LARGEST_VALUE))
        row, column = int(np.searchsorted(features.starts, place, "right")) - 1, int(features.columns[place])
        value = features.values[place]
    else:
        row, column = divmod(int(np.argmax(np.abs(features) > LARGEST_VALUE)), features.shape[1])
        value = features[row, column]
    raise batch.error(
        row, f"feature {column + 1} = {value:g} is too large for distances in float32: up to {LARGEST_VALUE:g}"
    )
