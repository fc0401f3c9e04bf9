"""Rows moved in place: a sample to the front, and list by list, for an inverted file that never holds them twice."""

from __future__ import annotations

from wildsage.kernels.kernel import kernel


@kernel
def find_partners(order, partners):
    """Write with which place each of the first places is to be swapped, one after the other, int32 (m,).

    Then the first m rows are those that order, int32 (n,), a permutation, says.
    """
    for i in range(partners.shape[0]):
        place = order[i]
        while place < i:  # it was swapped away by then
            place = order[place]
        partners[i] = place


@kernel
def swap(rows, width, partners, back):
    """Swap rows 0, 1, … with those numbered partners, int32 (m,); with back, undo it. rows: float32 (n * width,)."""
    count = partners.shape[0]
    for step in range(count):
        i = count - 1 - step if back else step
        one, other = i * width, partners[i] * width
        for j in range(width):
            rows[one + j], rows[other + j] = rows[other + j], rows[one + j]


@kernel
def sort_by_list(lists, ends, order):
    """Write the numbers of rows list by list, ascending in each: order, (n,).

    lists: int32 (n,), of each row. ends: int64 (lists,), where each one's rows end in order; becomes where they begin.
    """
    for i in range(lists.shape[0] - 1, -1, -1):
        ends[lists[i]] -= 1
        order[ends[lists[i]]] = i


@kernel
def gather(rows, width, order, held):
    """Move row order[i] to place i, for all i; order, (n,), is a permutation, and is itself again in the end.

    rows: float32 (n * width,). held: float32 (width,), scratch. Each row is moved once.
    """
    for begin in range(order.shape[0]):
        if order[begin] < 0:
            continue
        for j in range(width):
            held[j] = rows[begin * width + j]
        place = begin
        while True:
            source = order[place]
            order[place] = ~source  # done
            if source == begin:
                break
            for j in range(width):
                rows[place * width + j] = rows[source * width + j]
            place = source
        for j in range(width):
            rows[place * width + j] = held[j]
    for i in range(order.shape[0]):
        order[i] = ~order[i]
