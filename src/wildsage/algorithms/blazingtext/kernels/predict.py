"""Kernels of a trained classifier: read its dictionary, index its words, answer texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.ngrams import (
    EOS_HASH,
    FNV_BASIS,
    LABEL_PREFIX,
    character_ngrams,
    extend_ngram,
    hash_byte,
    hash_word,
    widen,
)
from wildsage.algorithms.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.ngrams import Bytes, Integer

# Codes of fastText's losses, src/args.h.
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4

BLOCK = 1024  # features gathered at a time; also the most that one word, or one byte of one, may add
SIGMOID_BINS, SIGMOID_REACH = 512, 8
PREFIX = np.frombuffer(LABEL_PREFIX, np.uint8)
LEAST_SCORE = np.float32(np.log(1e-5))
ONE, HALF_WORD, LOW = np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)

# fastText reads its sigmoid from a table, and so its models' answers are the table's.
SIGMOID = (
    1 / (1 + np.exp(-(np.arange(SIGMOID_BINS + 1) * (2 * SIGMOID_REACH) / SIGMOID_BINS - SIGMOID_REACH)))
).astype(np.float32)


class Dictionary(NamedTuple):
    """Words and labels, and where each is; shapes: see index_entries. words: how many come first. eos: id of "</s>"."""

    slots: NDArray[np.uint64]
    entries: NDArray[np.uint8]
    words: int
    eos: int


class Features(NamedTuple):
    """What a text has: rows of words and of buckets still to be summed, and the n-grams that may yet grow.

    words, buckets: int64 (2 * BLOCK,). growing: uint64 (word_ngrams,), a ring of the latest hashes.
    orders: int64 (4,): word_ngrams, minn, maxn, bucket.
    """

    words: NDArray[np.int64]
    buckets: NDArray[np.int64]
    growing: NDArray[np.uint64]
    orders: NDArray[np.int64]


class Rows(NamedTuple):
    """The input rows. bucket_at: int32 (bucket,), a bucket's row or -1 for none (zero); empty: bucket b has row b."""

    words: NDArray[np.float32]
    buckets: NDArray[np.float32]
    bucket_at: NDArray[np.int32]


@kernel
def scan_entries(
    data: NDArray[np.uint8], start: int, words: int, places: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[Integer, int]:
    """Find the entries of a .bin's dictionary: a word, a NUL, its count as int64, 0 for a word and 1 for a label.

    data: uint8, the file. start: where the entries begin. words: that many words come first, then the labels.
    places, counts: int64 (entries,), filled: where each begins, how often it was seen.
    Returns (end, 0), or (where, 1) if the data ends within an entry, (where, 2) if an entry is of the wrong kind.
    """
    at = start
    for i in range(places.size):
        places[i] = at
        begin = at
        while at < data.size and data[at] != 0:
            at += 1
        if at + 10 > data.size:
            return begin, 1
        count = np.uint64(0)
        for j in range(8):
            count |= np.uint64(data[at + 1 + j]) << np.uint64(8 * j)
        counts[i] = np.int64(count)
        if data[at + 9] != (1 if i >= words else 0):
            return at + 9, 2
        at += 10
    return at, 0


@kernel
def same(text: Bytes, start: Integer, end: Integer, entries: NDArray[np.uint8], place: Integer) -> bool:
    """Whether text[start:end] is the entry at `place`; the text has no NUL, the entry ends with one."""
    for i in range(end - start):
        if text[start + i] != entries[place + i]:
            return False
    return bool(entries[place + end - start] == 0)


@kernel
def is_eos(text: Bytes, start: int, end: int) -> bool:
    """Whether text[start:end] is "</s>"."""
    return (
        end - start == 4
        and text[start] == 60
        and text[start + 1] == 47
        and text[start + 2] == 115
        and text[start + 3] == 62
    )


@kernel
def index_entries(entries: NDArray[np.uint8], places: NDArray[np.int64], slots: NDArray[np.uint64]) -> int:
    """Enter every word into a hash table with open addressing, and return the id of "</s>", or -1.

    slots: uint64 (2 * S,), zero, S a power of two above the number of entries. A slot is a pair: the word's hash above
    its id + 1, and its place in entries. Of two equal words the latter stays, as in fastText.
    """
    eos = -1
    mask = np.uint64(slots.size // 2 - 1)
    for i in range(places.size):
        end = places[i]
        while entries[end] != 0:
            end += 1
        h = np.uint64(hash_word(entries, places[i], end))
        s = h & mask
        while slots[s + s] != 0 and not (
            slots[s + s] >> HALF_WORD == h and same(entries, places[i], end, entries, np.int64(slots[s + s + ONE]))
        ):
            s = (s + ONE) & mask
        slots[s + s] = h << HALF_WORD | np.uint64(i + 1)
        slots[s + s + ONE] = np.uint64(places[i])
        if is_eos(entries, places[i], end):
            eos = i
    return eos


@kernel
def find(text: Bytes, start: int, end: int, h: np.uint32, dictionary: Dictionary) -> Integer:
    """The id of text[start:end], whose hash is h, or -1."""
    slots = dictionary.slots
    mask = np.uint64(slots.size // 2 - 1)
    s = np.uint64(h) & mask
    while slots[s + s] != 0:
        if slots[s + s] >> HALF_WORD == np.uint64(h) and same(
            text, start, end, dictionary.entries, np.int64(slots[s + s + ONE])
        ):
            return np.int64(slots[s + s] & LOW) - 1
        s = (s + ONE) & mask
    return -1


@kernel
def starts_as_label(text: Bytes, start: int, end: int) -> bool:
    """Whether an unknown word would be a label: those count for nothing."""
    if end - start < PREFIX.size:
        return False
    same_bytes = 0
    while same_bytes < PREFIX.size and text[start + same_bytes] == PREFIX[same_bytes]:
        same_bytes += 1
    return same_bytes == PREFIX.size


@kernel
def add_rows(rows: NDArray[np.float32], wanted: NDArray[np.int64], count: int, total: NDArray[np.float32]) -> None:
    """Add rows[wanted[:count]] to total, float32 (d,). Four at a time: total is read and written a quarter as often."""
    i = 0
    while i + 4 <= count:
        a, b, c, d = wanted[i], wanted[i + 1], wanted[i + 2], wanted[i + 3]
        for f in range(total.size):
            total[f] += (rows[a, f] + rows[b, f]) + (rows[c, f] + rows[d, f])
        i += 4
    while i < count:
        a = wanted[i]
        for f in range(total.size):
            total[f] += rows[a, f]
        i += 1


@kernel
def push_buckets(features: Features, found: int, count: int, bucket_at: NDArray[np.int32]) -> int:
    """Turn the `found` buckets after features.buckets[:count] into rows; those without one are zero, and go."""
    if bucket_at.size == 0:
        return count + found
    kept = count
    for i in range(count, count + found):
        row = bucket_at[features.buckets[i]]
        if row >= 0:
            features.buckets[kept] = row
            kept += 1
    return kept


@kernel
def sum_features(
    text: Bytes,
    start: int,
    end: int,
    dictionary: Dictionary,
    features: Features,
    rows: Rows,
    total: NDArray[np.float32],
) -> int:
    """Sum the rows of all features of text[start:end], one line, into total, float32 (d,), and return their number.

    Words end at space, \\t, \\n, \\v, \\f, \\r and NUL; the line ends with "</s>", also with one that it holds itself.
    A known word has its row; word_ngrams n-grams are over all words, known or not; maxn > 0 adds character n-grams.
    """
    word_ngrams, minn, maxn, bucket = features.orders[0], features.orders[1], features.orders[2], features.orders[3]
    number = words = buckets = seen = 0
    total[:] = 0
    at, going = start, True
    while going:
        while at < end and (text[at] == 32 or 9 <= text[at] <= 13 or text[at] == 0):
            at += 1
        begin, h = at, FNV_BASIS
        while at < end and not (text[at] == 32 or 9 <= text[at] <= 13 or text[at] == 0):
            h = hash_byte(h, text[at])
            at += 1
        if begin == at:
            h = EOS_HASH
            id_: Integer = dictionary.eos
        else:
            id_ = find(text, begin, at, h, dictionary)
        going = h != EOS_HASH or (begin < at and not is_eos(text, begin, at))
        if id_ >= dictionary.words or (id_ < 0 and starts_as_label(text, begin, at)):
            continue
        if id_ >= 0:
            features.words[words] = id_
            words += 1
            number += 1
        if maxn > 0 and going:
            for first in range(at - begin + 2):
                found = (
                    character_ngrams(text, begin, at, first, minn, maxn, bucket, features.buckets, buckets) - buckets
                )
                number += found
                buckets = push_buckets(features, found, buckets, rows.bucket_at)
                if buckets >= BLOCK:
                    add_rows(rows.buckets, features.buckets, buckets, total)
                    buckets = 0
        if word_ngrams > 1:
            found = 0
            for earlier in range(max(0, seen - word_ngrams + 1), seen):
                slot = earlier % word_ngrams
                ngram = extend_ngram(features.growing[slot], h)
                features.growing[slot] = ngram
                features.buckets[buckets + found] = np.int64(ngram % np.uint64(bucket))
                found += 1
            features.growing[seen % word_ngrams] = widen(h)
            seen += 1
            number += found
            buckets = push_buckets(features, found, buckets, rows.bucket_at)
        if words >= BLOCK:
            add_rows(rows.words, features.words, words, total)
            words = 0
        if buckets >= BLOCK:
            add_rows(rows.buckets, features.buckets, buckets, total)
            buckets = 0
    add_rows(rows.words, features.words, words, total)
    add_rows(rows.buckets, features.buckets, buckets, total)
    return number


@kernel
def dot(output: NDArray[np.float32], row: int, hidden: NDArray[np.float32]) -> np.float32:
    """output[row] times hidden, in float32."""
    product = np.float32(0)
    for f in range(hidden.size):
        product += output[row, f] * hidden[f]
    return product


@kernel
def softmax(output: NDArray[np.float32], hidden: NDArray[np.float32], scores: NDArray[np.float32]) -> bool:
    """Fill scores, float32 (C,), with the probability of each label. False if they are not finite."""
    top = np.float32(-np.inf)
    for c in range(scores.size):
        scores[c] = dot(output, c, hidden)
        top = max(top, scores[c])
    mass = np.float32(0)
    for c in range(scores.size):
        scores[c] = np.exp(scores[c] - top)
        mass += scores[c]
    for c in range(scores.size):
        scores[c] /= mass
    return bool(np.isfinite(mass))


@kernel
def sigmoids(output: NDArray[np.float32], hidden: NDArray[np.float32], scores: NDArray[np.float32]) -> bool:
    """Fill scores, float32 (C,), with the probability of each label by itself. False if one is NaN."""
    for c in range(scores.size):
        x = dot(output, c, hidden)
        if np.isnan(x):
            return False
        if x < -SIGMOID_REACH:
            scores[c] = 0
        elif x > SIGMOID_REACH:
            scores[c] = 1
        else:
            scores[c] = SIGMOID[int((x + SIGMOID_REACH) * (SIGMOID_BINS / (2 * SIGMOID_REACH)))]
    return True


@kernel
def walk_tree(
    output: NDArray[np.float32],
    hidden: NDArray[np.float32],
    tree: NDArray[np.int32],
    only_best: bool,
    scores: NDArray[np.float32],
    nodes: NDArray[np.int64],
    reached: NDArray[np.float32],
) -> bool:
    """Fill scores, float32 (C,), with the probability of each leaf of the label tree, -1 for one below 1e-5.

    tree: int32 (C - 1, 2), children of the inner nodes, which are numbered from C on and have their row in output.
    only_best: leave out branches that cannot beat the best leaf so far. nodes, reached: the stack, (C + 1,).
    A step adds log(p + 1e-5), as in fastText, so that depth costs what it costs there. False if a value is NaN.
    """
    scores[:] = -1
    best = LEAST_SCORE
    nodes[0], reached[0], height = 2 * scores.size - 2, np.float32(0), 1
    while height > 0:
        height -= 1
        node, score = nodes[height], reached[height]
        if score < best:
            continue
        inner = node - scores.size
        if inner < 0:
            scores[node] = min(np.float32(1), np.exp(score))
            if only_best:
                best = max(best, score)
            continue
        p = np.float32(1 / (1 + np.exp(-dot(output, inner, hidden))))
        if np.isnan(p):
            return False
        nodes[height], reached[height] = tree[inner, 1], score + np.float32(np.log(p + 1e-5))
        nodes[height + 1], reached[height + 1] = tree[inner, 0], score + np.float32(np.log(1 - p + 1e-5))
        height += 2
    return True


@kernel
def sink(ids: NDArray[np.int32], probabilities: NDArray[np.float32], root: int, size: int) -> None:
    """Let the pair at `root` sink in the heap of the first `size` pairs, whose top is the worst."""
    while True:
        worst = root
        for child in range(2 * root + 1, min(2 * root + 3, size)):
            p, q = probabilities[child], probabilities[worst]
            if p < q or (p == q and ids[child] > ids[worst]):
                worst = child
        if worst == root:
            return
        ids[root], ids[worst] = ids[worst], ids[root]
        probabilities[root], probabilities[worst] = probabilities[worst], probabilities[root]
        root = worst


@kernel
def pick_best(scores: NDArray[np.float32], ids: NDArray[np.int32], probabilities: NDArray[np.float32]) -> None:
    """Fill ids and probabilities, (k,), with the k highest scores, best first; a tie goes to the lower id.

    k is at most C. A negative score is no answer: its id becomes -1.
    """
    k = ids.size
    if k == 1:
        best = 0
        for c in range(1, scores.size):
            if scores[c] > scores[best]:
                best = c
        ids[0], probabilities[0] = best, scores[best]
    else:
        for c in range(k):
            ids[c], probabilities[c] = c, scores[c]
        for root in range(k // 2 - 1, -1, -1):
            sink(ids, probabilities, root, k)
        for c in range(k, scores.size):
            if scores[c] > probabilities[0]:  # a tie is the lower id's, which is there already
                ids[0], probabilities[0] = c, scores[c]
                sink(ids, probabilities, 0, k)
        for size in range(k - 1, 0, -1):
            ids[0], ids[size] = ids[size], ids[0]
            probabilities[0], probabilities[size] = probabilities[size], probabilities[0]
            sink(ids, probabilities, 0, size)
    for i in range(k):
        if probabilities[i] < 0:
            ids[i] = -1


def scratch_size(word_ngrams: int, classes: int, dim: int) -> int:
    """How many int64 answer_texts wants as scratch."""
    return 4 * BLOCK + max(1, word_ngrams) + classes + 1 + (dim + 2 * classes + 2) // 2


@kernel
def answer_texts(
    text: Bytes,
    slots: NDArray[np.uint64],
    entries: NDArray[np.uint8],
    word_bytes: NDArray[np.uint8],
    bucket_bytes: NDArray[np.uint8],
    bucket_at: NDArray[np.int32],
    output_bytes: NDArray[np.uint8],
    tree: NDArray[np.int32],
    orders: NDArray[np.int64],
    eos: int,
    loss: int,
    k: int,
    scratch: NDArray[np.int64],
    ids: NDArray[np.int32],
    probabilities: NDArray[np.float32],
) -> int:
    """Classify texts, which lie in one buffer with \n between them.

    word_bytes, bucket_bytes, output_bytes: float32 rows as uint8 (rows, 4 * d). In a mapped file they lie at any
    address, which the processor does not mind, but each alignment would be a type, and a kernel, of its own.
    orders: see Features. eos: id of "</s>". scratch: int64, of scratch_size, overwritten.
    ids: int32 (texts * k,), probabilities: float32 (texts * k,), filled: the k best labels of each text, best first,
    -1 where there is none. Returns -1, or the number of the first text whose answer is not a number.
    Bound by the fetch of a row a feature where the table is larger than the caches. It takes more parameters than a
    kernel should, since a tuple of arrays costs more to unpack at each call.
    """
    output = output_bytes.view(np.float32)
    classes, dim = output.shape
    dictionary = Dictionary(slots, entries, word_bytes.shape[0], eos)
    rows = Rows(word_bytes.view(np.float32), bucket_bytes.view(np.float32), bucket_at)
    growing_at, nodes_at = 4 * BLOCK, 4 * BLOCK + max(1, orders[0])
    reals_at = nodes_at + classes + 1
    features = Features(
        scratch[: 2 * BLOCK], scratch[2 * BLOCK : growing_at], scratch[growing_at:nodes_at].view(np.uint64), orders
    )
    nodes, reals = scratch[nodes_at:reals_at], scratch[reals_at:].view(np.float32)
    hidden, scores, reached = reals[:dim], reals[dim : dim + classes], reals[dim + classes :]
    start = 0
    for i in range(ids.size // k):
        end = start
        while end < len(text) and text[end] != 10:
            end += 1
        number = sum_features(text, start, end, dictionary, features, rows, hidden)
        start = end + 1
        if number == 0:
            ids[i * k : i * k + k] = -1
            continue
        share = np.float32(1) / np.float32(number)
        for f in range(hidden.size):
            hidden[f] *= share
        if loss == HIERARCHICAL:
            finite = walk_tree(output, hidden, tree, k == 1, scores, nodes, reached)
        elif loss == SOFTMAX:
            finite = softmax(output, hidden, scores)
        else:
            finite = sigmoids(output, hidden, scores)
        if not finite:
            return i
        pick_best(scores, ids[i * k : i * k + k], probabilities[i * k : i * k + k])
    return -1
