"""faiss, by a narrow face: indexes are built, searched, written and mapped here, and nowhere else."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ, PROBES
from wildsage.algorithms.knn.kernels.neighbours import rank
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import beside_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.knn.rows import Rows
    from wildsage.algorithms.streaming import Workers

# The first bytes of an index file: of L2 and of products, flat; of inverted files.
FOURCC = {b"IxF2": FLAT, b"IxFI": FLAT, b"IwFl": IVF_FLAT, b"IwPQ": IVF_PQ}
MORE = 4  # rows that are looked at beside the nearest, in case that faiss's rounding has mixed up their order
PARTS = 16  # rows go into an inverted file in so many parts, and leave their own memory
CODE_BITS = 8  # of a sub-vector, as the service has it


def library() -> Any:
    """Import faiss. Raises ClientError where it is not installed."""
    # It tells which of its libraries it has tried.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    # Its threads would spin while they wait for work, which beside other processes costs more than it gains.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import faiss
    except ImportError as error:
        raise ClientError(f'knn needs the package faiss: pip install "wildsage[knn]" ({error})') from error
    return faiss


class Index:
    """Rows that can be looked up by nearness. The memory that it may stand on is kept as long as it."""

    def __init__(self, index: Any, memory: object = None) -> None:
        self._index, self._memory = index, memory
        self._faiss = library()
        # The lists of an inverted file are chosen by a flat index of their centroids.
        self._quantizer = None if self.kind == FLAT else self._faiss.downcast_index(index.quantizer)
        self.width, self.count = int(index.d), int(index.ntotal)
        self.is_product = bool(index.metric_type == self._faiss.METRIC_INNER_PRODUCT)
        flat = index if self._quantizer is None else self._quantizer
        self._flat_rows: NDArray[np.float32] = self._faiss.rev_swig_ptr(flat.get_xb(), int(flat.ntotal) * self.width)

    @classmethod
    def build(
        cls, kind: str, rows: Rows, *, product: bool, lists: int, subvectors: int, seed: int, threads: int
    ) -> Self:
        """Index rows, whose memory goes over into the index: they are gone after it.

        product: nearness is the inner product, not the Euclidean distance. lists: of an inverted file.
        """
        faiss = library()
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_INNER_PRODUCT if product else faiss.METRIC_L2
        width, count = rows.width, rows.count
        empty = faiss.IndexFlat(width, metric) if product else faiss.IndexFlatL2(width)
        if kind == FLAT:
            return cls._stand_on(rows, faiss.serialize_index(empty))
        if kind == IVF_FLAT:
            index = faiss.IndexIVFFlat(empty, width, lists, metric)
        else:
            # 2^bits centroids need as many rows.
            bits = min(CODE_BITS, count.bit_length() - 1)
            index = faiss.IndexIVFPQ(empty, width, lists, subvectors, bits)
            index.pq.cp.seed, index.pq.cp.min_points_per_centroid = seed + 1, 1
        # Few rows are told about in our own words.
        index.cp.seed, index.cp.min_points_per_centroid = seed + 1, 1
        index.train(rows.used)
        # From the end, so that memory is given back as the lists grow.
        for part in range(PARTS - 1, -1, -1):
            begin = count * part // PARTS
            if begin < rows.count:
                index.add_with_ids(rows.used[begin:], np.arange(begin, rows.count))
                rows.cut(begin)
        return cls(index)

    @classmethod
    def _stand_on(cls, rows: Rows, empty: NDArray[np.uint8]) -> Self:
        """A flat index on the rows' own memory: the file of an empty one is its header, and the rows follow it."""
        faiss = library()
        rows.cut(rows.count)
        file = rows.front(len(empty))
        header = file[: len(empty)]
        header[:] = empty
        header[8:16].view(np.uint8)[:] = np.frombuffer(np.int64(rows.count).tobytes(), np.uint8)
        header[-8:] = np.frombuffer(np.uint64(rows.count * rows.width).tobytes(), np.uint8)
        index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(file), file.nbytes))
        return cls(index, (rows, file))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map an index file. Raises DataError for one that is none."""
        faiss = library()
        try:
            index = cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
        except (RuntimeError, MemoryError) as error:  # the second where a damaged length is asked for
            raise DataError(f"not a faiss index: {str(error).splitlines()[0]}", file=path.name) from error
        if not index._has_each_row_once():
            raise DataError("its lists do not have each row once: it is damaged", file=path.name)
        return index

    @property
    def kind(self) -> str:
        """As index_type has it; "" for what is no index of ours."""
        names = {"IndexFlat": FLAT, "IndexFlatL2": FLAT, "IndexFlatIP": FLAT, "IndexIVFFlat": IVF_FLAT}
        return (names | {"IndexIVFPQ": IVF_PQ}).get(type(self._index).__name__, "")

    @property
    def lists(self) -> int:
        return 1 if self._quantizer is None else int(self._index.nlist)

    def _has_each_row_once(self) -> bool:
        """Whether the lists of an inverted file have the numbers 0 to count - 1: labels are looked up by them."""
        if self._quantizer is None:
            return True
        lists = self._index.invlists
        sizes = [int(lists.list_size(place)) for place in range(min(self.lists, int(lists.nlist)))]
        if len(sizes) != self.lists or sum(sizes) != self.count or self._flat_rows.size != self.lists * self.width:
            return False
        seen = np.zeros(self.count, np.bool_)
        for place, size in enumerate(sizes):
            if size:
                numbers = self._faiss.rev_swig_ptr(lists.get_ids(place), size)
                if numbers.min() < 0 or numbers.max() >= self.count:
                    return False
                seen[numbers] = True
        return bool(seen.all())

    def write(self, path: Path) -> None:
        """Write faiss's own file, whole or not at all."""
        if self._quantizer is not None:
            self._index.nprobe = PROBES  # what a search left there is no part of it
        beside = beside_name(path)
        try:
            self._faiss.write_index(self._index, str(beside))
            os.replace(beside, path)
        except RuntimeError as error:
            raise OSError(str(error).splitlines()[0]) from error
        finally:
            with suppress(OSError):
                beside.unlink()

    def vectors(self) -> NDArray[np.float32]:
        """The rows as they were put in, (count, width); of IVFPQ, what its codes have kept of them."""
        if self.kind == FLAT:
            return self._flat_rows.reshape(-1, self.width)
        self._index.make_direct_map()
        found: NDArray[np.float32] = self._index.reconstruct_n(0, self.count)
        return found

    def search(
        self, queries: NDArray[np.float32], k: int, workers: Workers, probes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest rows to each query, float32 (n, width) in C order: values and numbers, (n, k), nearest first.

        Values are squared distances, or inner products. k: count at most. probes: lists that are looked through, of
        an inverted file; more where these hold fewer than k rows. No query's answer depends on the others.
        Raises DataError for an index with rows that are at no distance from anything, as a damaged one has.
        """
        # A child of a process whose OpenMP had threads cannot have any: one thread is safe after a fork.
        self._faiss.omp_set_num_threads(workers.threads)
        if self._quantizer is None:
            return self._exact(self._index, queries, k, workers)
        values = np.empty((len(queries), k), np.float32)
        numbers = np.full((len(queries), k), -1, np.int64)
        missing = np.arange(len(queries))
        while missing.size:
            asked = queries[missing]
            near, lists = self._exact(self._quantizer, asked, min(probes, self.lists), workers)
            self._index.nprobe = lists.shape[1]
            values[missing], numbers[missing] = self._index.search_preassigned(asked, k, lists, near)
            missing = missing[numbers[missing, -1] < 0]
            if missing.size and lists.shape[1] == self.lists:
                raise DataError("the index has rows that are not finite: it is damaged")
            probes *= 2
        return values, numbers

    def _exact(
        self, index: Any, queries: NDArray[np.float32], k: int, workers: Workers
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        base, is_product = self._flat_rows, self.is_product
        kept = min(base.size // self.width, k + MORE)
        if not len(queries):
            return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        _, found = index.search(queries, kept)
        found = found.reshape(-1)
        values, numbers = np.empty(found.size, np.float32), np.empty(found.size, np.int64)
        asked = queries.reshape(-1)

        def part(_: int, begin: int, end: int) -> None:
            rank(asked, base, self.width, found, kept, is_product, begin, end, k, values, numbers)

        workers.split(len(queries), part)
        return values.reshape(-1, kept)[:, :k], numbers.reshape(-1, kept)[:, :k]
