"""Character n-grams of the vocabulary's words: which rows a word is made of, and how a batch of words trains them.

A word's vector is the mean of its own row and its n-grams' rows, as in fastText. Each distinct word of a batch is
composed once, trained as a row of its own, and what that has changed by is then added to each of the word's rows. For
a word alone that is fastText's step exactly; what words share reaches the others a batch later. fastText gathers and
scatters for each pair of words: about ten times the rows.
"""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.ngrams import character_ngrams
from wildsage.algorithms.kernel import kernel, kernel_part
from wildsage.algorithms.vector import WIDTH, fma, load, prefetch, splat, store

AHEAD = 4  # words between the fetch of their rows and their use
LINE = 16  # floats of a cache line


@kernel
def list_buckets(text, places, lengths, minn, maxn, bucket, starts, buckets):
    """The n-grams' buckets of each word, in fastText's order, equal ones as often as they come.

    text: uint8, bytes of the words. places, lengths: int64 (V,); a length of 0 is "</s>", which has none.
    starts: int64 (V + 1,), out. buckets: int64, out, with room for all: (length + 2) * (maxn - minn + 1) a word.
    """
    count = 0
    for word in range(places.size):
        starts[word] = count
        if lengths[word] > 0:
            begin, end = places[word], places[word] + lengths[word]
            for first in range(lengths[word] + 2):
                count = character_ngrams(text, begin, end, first, minn, maxn, bucket, buckets, count)
    starts[places.size] = count


@kernel
def number_rows(starts, buckets, row_of, row_starts, rows, ids):
    """Number the buckets that any word has, by first sight, and list each word's rows: its own, then its buckets'.

    starts, buckets: see list_buckets. row_of: int32 (buckets there are,), all -1, changed. row_starts: int64 (V + 1,),
    rows: int32 (buckets.size + V,), out; bucket rows are numbered from V on. ids: int64 (buckets.size,), out: the
    bucket of each row. Returns how many there are.
    """
    size, count, at = starts.size - 1, 0, 0
    for word in range(size):
        row_starts[word] = at
        rows[at] = word
        at += 1
        for k in range(starts[word], starts[word + 1]):
            if row_of[buckets[k]] < 0:
                row_of[buckets[k]] = size + count
                ids[count] = buckets[k]
                count += 1
            rows[at] = row_of[buckets[k]]
            at += 1
    row_starts[size] = at
    return count


@kernel_part
def fetch_lists(distinct, i, count, inputs, starts, lists, width):
    """Ask for the input rows of word i, if there is one."""
    if i < count:
        for k in range(starts[distinct[i]], starts[distinct[i] + 1]):
            at = np.int64(lists[k]) * width
            for d in range(0, width, LINE):
                prefetch(inputs, at + d)


@kernel
def compose_batch(words, n, inputs, starts, lists, width, batch_rows, slots, distinct, local, kept):
    """Compose each distinct one of words[:n] once; returns how many there are.

    batch_rows: int32 (n,), out, the row of each word in `local`. slots: int32 (V,), all -1, changed. distinct: int32
    (n,), out, the word of each row. local, kept: float32 (n * width,), out, the means of the words' input rows.
    Bound by the memory of those: 19 a word in English, with n-grams of 3 to 6 characters.
    """
    count, one, zero = 0, splat(np.float32(1)), splat(np.float32(0))
    for i in range(n):
        word = words[i]
        if slots[word] < 0:
            slots[word] = count
            distinct[count] = word
            count += 1
        batch_rows[i] = slots[word]
    for i in range(count):
        fetch_lists(distinct, i + AHEAD, count, inputs, starts, lists, width)
        begin, end = starts[distinct[i]], starts[distinct[i] + 1]
        share = splat(np.float32(1) / np.float32(end - begin))
        for d in range(0, width, WIDTH):
            v = zero
            for k in range(begin, end):
                v = fma(load(inputs, np.int64(lists[k]) * width + d), one, v)
            v = fma(v, share, zero)
            store(local, i * width + d, v)
            store(kept, i * width + d, v)
    return count


@kernel
def scatter_batch(distinct, count, inputs, starts, lists, width, slots, local, kept):
    """Add what each of a batch's rows has changed by, local - kept, to each of its word's input rows; reset slots."""
    one, minus = splat(np.float32(1)), splat(np.float32(-1))
    for i in range(count):
        fetch_lists(distinct, i + AHEAD, count, inputs, starts, lists, width)
        word = distinct[i]
        slots[word] = -1
        for d in range(0, width, WIDTH):
            v = fma(load(kept, i * width + d), minus, load(local, i * width + d))
            for k in range(starts[word], starts[word + 1]):
                at = np.int64(lists[k]) * width + d
                store(inputs, at, fma(v, one, load(inputs, at)))
