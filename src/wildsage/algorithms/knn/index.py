"""faiss, by a narrow face: indexes are built, searched, written and mapped here, and nowhere else."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ, PROBES
from wildsage.algorithms.knn.kernels.lists import find_partners, gather, sort_by_list, swap
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
FEW = 64  # queries that are not worth a second thread
GIVEN_BACK = 4 << 20  # bytes of rows that are in an inverted file, before their own memory goes
ASSIGNED = 1 << 15  # rows whose lists are looked up at once
TRAINED_PQ = 1 << 16  # rows that faiss trains codes of 8 bits with
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
        self.lists = 1 if self._quantizer is None else int(index.nlist)
        self.is_product = bool(index.metric_type == self._faiss.METRIC_INNER_PRODUCT)
        self._all_lists = np.arange(self.lists)
        self._parameters: Any = None if self._quantizer is None else self._faiss.SearchParametersIVF(nprobe=PROBES)
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
        _train(index, rows, lists)
        _fill(index, rows)
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
        if not len(queries):
            return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        if self._quantizer is None:
            return self._exact(self._index, queries, k, workers)
        probes = min(probes, self.lists)
        values, numbers = self._probe(queries, k, workers, probes)
        while probes < self.lists and (numbers[:, -1] < 0).any():
            probes = min(2 * probes, self.lists)
            missing = np.flatnonzero(numbers[:, -1] < 0)
            values[missing], numbers[missing] = self._probe(queries[missing], k, workers, probes)
        if (numbers[:, -1] < 0).any():
            raise DataError("the index has rows that are not finite: it is damaged")
        return values, numbers

    def _probe(
        self, queries: NDArray[np.float32], k: int, workers: Workers, probes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What `probes` lists hold of the nearest; -1 for a row that they do not."""
        near, lists = self._exact(self._quantizer, queries, probes, workers)
        count, pointer = len(queries), self._faiss.swig_ptr
        values, numbers = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
        parameters = self._parameters
        if parameters.nprobe != probes:
            parameters = self._faiss.SearchParametersIVF(nprobe=probes)

        def probe(_: int, begin: int, end: int) -> None:
            # A thread of ours each, of one thread in faiss: its own took twice the time of one at 200 lookups.
            self._faiss.omp_set_num_threads(1)
            arrays = (lists[begin:end], near[begin:end], values[begin:end], numbers[begin:end])
            self._index.search_preassigned_c(
                end - begin, pointer(queries[begin:end]), k, *map(pointer, arrays), False, parameters
            )

        workers.split(count, probe, least=FEW)
        return values, numbers

    def _exact(
        self, index: Any, queries: NDArray[np.float32], k: int, workers: Workers
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        # faiss's own methods in C: what it wraps around them costs more than a lookup in a small index.
        count, width, is_product, pointer = len(queries), self.width, self.is_product, self._faiss.swig_ptr
        base, asked = self._flat_rows, queries.reshape(-1)
        if count == 1 and index is self._quantizer:
            kept, found = self.lists, self._all_lists
        else:
            kept = min(base.size // width, k + MORE)
            rough, found = np.empty(count * kept, np.float32), np.empty(count * kept, np.int64)
            index.search_c(count, pointer(queries), kept, pointer(rough), pointer(found))
        values, numbers = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
        out, ids = values.reshape(-1), numbers.reshape(-1)
        if count < FEW:
            rank(asked, base, width, found, kept, is_product, 0, count, k, out, ids)
        else:
            workers.split(
                count, lambda _, begin, end: rank(asked, base, width, found, kept, is_product, begin, end, k, out, ids)
            )
        return values, numbers


def _train(index: Any, rows: Rows, lists: int) -> None:
    """Train an inverted file with the rows that faiss would draw, but where they lie: its sample would be a copy."""
    count = rows.count
    wanted = index.cp.max_points_per_centroid * lists
    if hasattr(index, "pq"):
        wanted = max(wanted, TRAINED_PQ)
    if wanted >= count:
        index.train(rows.used)
        return
    faiss = library()
    drawn, partners = np.empty(count, np.int32), np.empty(wanted, np.int32)
    faiss.rand_perm(faiss.swig_ptr(drawn), count, index.cp.seed)
    find_partners(drawn, partners)
    del drawn
    swap(rows.used.reshape(-1), rows.width, partners, False)
    index.train(rows.used[:wanted])
    swap(rows.used.reshape(-1), rows.width, partners, True)


def _fill(index: Any, rows: Rows) -> None:
    """Put all rows into a trained inverted file, list by list, and let them go."""
    count, width = rows.count, rows.width
    lists = np.empty(count, np.int32)
    for begin in range(0, count, ASSIGNED):
        lists[begin : begin + ASSIGNED] = index.quantizer.assign(rows.used[begin : begin + ASSIGNED], 1)[:, 0]
    sizes = np.bincount(lists, minlength=index.nlist)
    begins = np.cumsum(sizes)
    order = np.empty(count, np.int32 if count < 1 << 31 else np.int64)
    sort_by_list(lists, begins, order)
    del lists
    gather(rows.used.reshape(-1), width, order, np.empty(width, np.float32))
    pointer, inverted, is_flat = library().swig_ptr, index.invlists, not hasattr(index, "pq")
    # From the end, so that memory is given back as the lists grow; each list is allocated once, at its size.
    for number in np.flatnonzero(sizes)[::-1].tolist():
        begin, size = int(begins[number]), int(sizes[number])
        part, ids = rows.used[begin : begin + size], order[begin : begin + size].astype(np.int64)
        if is_flat:
            inverted.add_entries(number, size, pointer(ids), pointer(part.reshape(-1).view(np.uint8)))
        else:
            chosen = np.full(size, number, np.int64)
            index.add_core(size, pointer(part), pointer(ids), pointer(chosen))
        del part
        if 4 * width * (rows.count - begin) >= GIVEN_BACK or not begin:
            rows.cut(begin)
    index.ntotal = count
