"""Which rows of a stream are kept: those with the least keys, a key being a hash of where the row came from."""

from __future__ import annotations

import numpy as np

from wildsage.kernels.kernel import kernel, kernel_part


@kernel_part
def mixed(x):
    """A uint64 whose bits all depend on all bits of x: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def make_keys(marks, files, numbers, keys):
    """Write the keys of rows, uint64 (n,).

    marks: uint64, of each file a hash of its name and the seed. files: int32 (n,), numbers: int64 (n,), where each
    row is.
    """
    for i in range(files.shape[0]):
        step = np.uint64(numbers[i]) * np.uint64(0x9E3779B97F4A7C15)
        keys[i] = mixed(mixed(marks[files[i]] + step) + step)


@kernel_part
def above(keys, a, b):
    """Whether slot a has to go before slot b; equal keys go by slot, so that the order of events cannot matter."""
    return keys[a] > keys[b] or (keys[a] == keys[b] and a > b)


@kernel_part
def sink(keys, heap, size, place):
    """Put right a heap whose greatest is first, but for one place."""
    slot = heap[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and above(keys, heap[child + 1], heap[child]):
            child += 1
        if not above(keys, heap[child], slot):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = slot


@kernel
def make_heap(keys, heap):
    """Arrange all slots, int64 (n,), by their keys: the greatest comes first."""
    size = heap.shape[0]
    for i in range(size):
        heap[i] = i
    for i in range(size // 2 - 1, -1, -1):
        sink(keys, heap, size, i)


@kernel
def choose(fresh, keys, heap, rows, slots):
    """Let rows with keys below the greatest of the sample take its slot, one after the other; returns how many do.

    fresh: uint64 (n,), the keys of n rows. keys: uint64, those of the sample, updated. rows, slots: int64 (n,): which
    row goes to which slot; a slot may come twice, and the last counts. About log2(size) steps a row that is kept.
    """
    count, size = 0, heap.shape[0]
    for i in range(fresh.shape[0]):
        slot = heap[0]
        if fresh[i] < keys[slot]:
            keys[slot] = fresh[i]
            sink(keys, heap, size, 0)
            rows[count], slots[count] = i, slot
            count += 1
    return count
