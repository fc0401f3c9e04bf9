"""Kernels of a trained model: read its dictionary, index its words, answer texts, compose the vectors of words."""

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
from wildsage.kernels.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.ngrams import Bytes, Integer

# Codes of fastText's losses, src/args.h.
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4

BLOCK = 1024  # features gathered at a time; also the most that one word, or one byte of one, may add
SIGMOID_BINS, SIGMOID_REACH = 512, 8
PREFIX = np.frombuffer(LABEL_PREFIX, np.uint8)
LEAST_SCORE = np.float32(np.log(1e-5))
# What `orders` holds, int64. PRUNED: buckets without a row are no features. DIM: columns. INPUT_DSUB, OUTPUT_DSUB:
# columns of a part of quantised rows, 0 for dense ones, HALVES where buckets' rows are halves and words' dense. END: id
# of "</s>". (One array: each argument of a call costs.)
WORD_NGRAMS, MINN, MAXN, BUCKET, PRUNED, DIM, INPUT_DSUB, OUTPUT_DSUB, LOSS, END = range(10)
CENTROIDS = 256
HALVES = -1
# A half of exponent e and mantissa m is (m + 1024) * HALF_POWERS[e], for e = 0 without the 1024; e = 31 is no number.
HALF_POWERS = np.array([2.0**-24] + [2.0 ** (e - 25) for e in range(1, 31)] + [np.inf], np.float32)
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
    orders: int64 (10,), see its places.
    """

    words: NDArray[np.int64]
    buckets: NDArray[np.int64]
    growing: NDArray[np.uint64]
    orders: NDArray[np.int64]


class Rows(NamedTuple):
    """The input rows, as dense ones and as codes, of which one is meant (dsub says which).

    words, buckets: float32 (rows, d). word_codes, bucket_codes: uint8, the same bytes. centroids: see quantised_table.
    bucket_at: int32 (bucket,), a bucket's row or -1 for none; empty: bucket b has row b. dsub: columns of a part of a
    quantised row, 0 if the rows are dense.
    """

    words: NDArray[np.float32]
    buckets: NDArray[np.float32]
    word_codes: NDArray[np.uint8]
    bucket_codes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    bucket_at: NDArray[np.int32]
    dsub: int


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
def add_codes(
    codes: NDArray[np.uint8],
    centroids: NDArray[np.float32],
    dsub: int,
    wanted: NDArray[np.int64],
    count: int,
    total: NDArray[np.float32],
) -> None:
    """Add quantised rows to total, float32 (d,). codes, centroids: see quantised_table.

    Bound by the reads of centroids, 1 kB a column, which stay in the second-level cache.
    """
    dim = total.size
    whole = dim // dsub
    for i in range(count):
        row = wanted[i]
        norm = centroids[CENTROIDS * dim + codes[row, -(-dim // dsub)]]
        if dsub == 2:
            for m in range(whole):
                at = CENTROIDS * 2 * m + 2 * np.int64(codes[row, m])
                total[2 * m] += norm * centroids[at]
                total[2 * m + 1] += norm * centroids[at + 1]
        else:
            for m in range(whole):
                at = dsub * (CENTROIDS * m + np.int64(codes[row, m]))
                for f in range(dsub):
                    total[dsub * m + f] += norm * centroids[at + f]
        rest = dim - whole * dsub
        if rest > 0:
            at = CENTROIDS * dsub * whole + rest * np.int64(codes[row, whole])
            for f in range(rest):
                total[dsub * whole + f] += norm * centroids[at + f]


@kernel
def add_halves(halves: NDArray[np.uint8], wanted: NDArray[np.int64], count: int, total: NDArray[np.float32]) -> None:
    """Add rows of halves to total, float32 (d,). halves: uint8 (rows, 2 * d or more), as they lie in memory."""
    for i in range(count):
        row = wanted[i]
        for f in range(total.size):
            low, high = np.int64(halves[row, 2 * f]), np.int64(halves[row, 2 * f + 1])
            exponent = (high >> 2) & 31
            mantissa = ((high & 3) << 8) | low
            if exponent > 0:
                mantissa += 1024
            number = np.float32(mantissa) * HALF_POWERS[exponent]
            total[f] += -number if high & 128 else number


@kernel
def add_words(rows: Rows, wanted: NDArray[np.int64], count: int, total: NDArray[np.float32]) -> None:
    """Add the rows of words to total."""
    if rows.dsub > 0:
        add_codes(rows.word_codes, rows.centroids, rows.dsub, wanted, count, total)
    else:
        add_rows(rows.words, wanted, count, total)


@kernel
def add_buckets(rows: Rows, wanted: NDArray[np.int64], count: int, total: NDArray[np.float32]) -> None:
    """Add the rows of buckets to total."""
    if rows.dsub > 0:
        add_codes(rows.bucket_codes, rows.centroids, rows.dsub, wanted, count, total)
    elif rows.dsub == HALVES:
        add_halves(rows.bucket_codes, wanted, count, total)
    else:
        add_rows(rows.buckets, wanted, count, total)


@kernel
def push_buckets(features: Features, found: int, count: int, bucket_at: NDArray[np.int32]) -> int:
    """Turn the `found` buckets after features.buckets[:count] into rows; those without one go. Returns the count."""
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
    orders = features.orders
    word_ngrams, minn, maxn, bucket = orders[WORD_NGRAMS], orders[MINN], orders[MAXN], orders[BUCKET]
    pruned = orders[PRUNED] != 0
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
                kept = push_buckets(features, found, buckets, rows.bucket_at)
                number += kept - buckets if pruned else found
                buckets = kept
                if buckets >= BLOCK:
                    add_buckets(rows, features.buckets, buckets, total)
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
            kept = push_buckets(features, found, buckets, rows.bucket_at)
            number += kept - buckets if pruned else found
            buckets = kept
        if words >= BLOCK:
            add_words(rows, features.words, words, total)
            words = 0
        if buckets >= BLOCK:
            add_buckets(rows, features.buckets, buckets, total)
            buckets = 0
    add_words(rows, features.words, words, total)
    add_buckets(rows, features.buckets, buckets, total)
    return number


@kernel
def list_features(
    text: Bytes,
    end: int,
    dictionary: Dictionary,
    orders: NDArray[np.int64],
    bucket_at: NDArray[np.int32],
    growing: NDArray[np.uint64],
    begins: NDArray[np.int64],
    found: NDArray[np.int64],
    features: NDArray[np.int64],
    spans: NDArray[np.int64],
) -> int:
    """The features of text[:end], one by one, as sum_features sums them: what an explanation needs.

    growing: uint64 (word_ngrams,), begins: int64 (word_ngrams,), found: int64 (BLOCK,), all overwritten.
    features: int64 (n,), the word, or V + the bucket's row, or -1 for a bucket that is zero. spans: int64 (n, 2), the
    bytes of text that it is of; the end of the line is end to end + 5. As many as fit are written.
    Returns how many there are.
    """
    word_ngrams, minn, maxn, bucket = orders[WORD_NGRAMS], orders[MINN], orders[MAXN], orders[BUCKET]
    count = seen = at = 0
    going = True
    while going:
        while at < end and (text[at] == 32 or 9 <= text[at] <= 13 or text[at] == 0):
            at += 1
        begin, h = at, FNV_BASIS
        while at < end and not (text[at] == 32 or 9 <= text[at] <= 13 or text[at] == 0):
            h = hash_byte(h, text[at])
            at += 1
        past = at
        if begin == at:
            h = EOS_HASH
            id_: Integer = dictionary.eos
            past = end + 5
        else:
            id_ = find(text, begin, at, h, dictionary)
        going = h != EOS_HASH or (begin < at and not is_eos(text, begin, at))
        if id_ >= dictionary.words or (id_ < 0 and starts_as_label(text, begin, at)):
            continue
        if id_ >= 0:
            if count < features.size:
                features[count], spans[count, 0], spans[count, 1] = id_, begin, past
            count += 1
        for first in range(at - begin + 2 if maxn > 0 and going else 0):
            for j in range(character_ngrams(text, begin, at, first, minn, maxn, bucket, found, 0)):
                row = found[j] if bucket_at.size == 0 else bucket_at[found[j]]
                if row >= 0 or orders[PRUNED] == 0:
                    if count < features.size:
                        features[count] = dictionary.words + row if row >= 0 else -1
                        spans[count, 0], spans[count, 1] = begin, past
                    count += 1
        if word_ngrams > 1:
            for earlier in range(max(0, seen - word_ngrams + 1), seen):
                slot = earlier % word_ngrams
                growing[slot] = extend_ngram(growing[slot], h)
                hashed = np.int64(growing[slot] % np.uint64(bucket))
                row = hashed if bucket_at.size == 0 else bucket_at[hashed]
                if row >= 0 or orders[PRUNED] == 0:
                    if count < features.size:
                        features[count] = dictionary.words + row if row >= 0 else -1
                        spans[count, 0], spans[count, 1] = begins[slot], past
                    count += 1
            growing[seen % word_ngrams] = widen(h)
            begins[seen % word_ngrams] = begin
            seen += 1
    return count


class Outputs(NamedTuple):
    """The output rows: dense ones, float32 (C, d), or codes, if dsub > 0; see Rows."""

    rows: NDArray[np.float32]
    codes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    dsub: int


@kernel
def dot(output: Outputs, row: int, hidden: NDArray[np.float32]) -> np.float32:
    """Output row times hidden, in float32."""
    product = np.float32(0)
    if output.dsub == 0:
        rows = output.rows
        for f in range(hidden.size):
            product += rows[row, f] * hidden[f]
        return product
    codes, centroids, dsub, dim = output.codes, output.centroids, output.dsub, hidden.size
    parts = -(-dim // dsub)
    for m in range(parts):
        width = min(dsub, dim - m * dsub)
        at = CENTROIDS * dsub * m + width * np.int64(codes[row, m])
        for f in range(width):
            product += centroids[at + f] * hidden[dsub * m + f]
    return np.float32(product * centroids[CENTROIDS * dim + codes[row, parts]])


@kernel
def softmax(output: Outputs, hidden: NDArray[np.float32], scores: NDArray[np.float32]) -> bool:
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
def sigmoids(output: Outputs, hidden: NDArray[np.float32], scores: NDArray[np.float32]) -> bool:
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
    output: Outputs,
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
    centroids: NDArray[np.float32],
    tree: NDArray[np.int32],
    orders: NDArray[np.int64],
    k: int,
    scratch: NDArray[np.int64],
    ids: NDArray[np.int32],
    probabilities: NDArray[np.float32],
) -> int:
    """Classify texts, which lie in one buffer with \n between them.

    word_bytes, bucket_bytes, output_bytes: float32 rows as uint8 (rows, 4 * d). In a mapped file they lie at any
    address, which the processor does not mind, but each alignment would be a type, and a kernel, of its own.
    Quantised rows are codes, see quantised_table, and `centroids` holds those of the input rows, then of the output.
    orders: see its places above. scratch: int64, of scratch_size, overwritten.
    ids: int32 (texts * k,), probabilities: float32 (texts * k,), filled: the k best labels of each text, best first,
    -1 where there is none. Returns -1, or the number of the first text whose answer is not a number.
    Bound by the fetch of a row a feature where the table is larger than the caches. It takes more parameters than a
    kernel should, since a tuple of arrays costs more to unpack at each call.
    """
    classes, dim = output_bytes.shape[0], orders[DIM]
    dictionary = Dictionary(slots, entries, word_bytes.shape[0], orders[END])
    loss = orders[LOSS]
    rows = Rows(
        word_bytes.view(np.float32),
        bucket_bytes.view(np.float32),
        word_bytes,
        bucket_bytes,
        centroids,
        bucket_at,
        orders[INPUT_DSUB],
    )
    before = CENTROIDS * (dim + 1) if orders[INPUT_DSUB] > 0 else 0
    output = Outputs(output_bytes.view(np.float32), output_bytes, centroids[before:], orders[OUTPUT_DSUB])
    growing_at, nodes_at = 4 * BLOCK, 4 * BLOCK + max(1, orders[WORD_NGRAMS])
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


@kernel
def find_words(
    text: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    dictionary: Dictionary,
    ids: NDArray[np.int64],
) -> None:
    """Look words up, text[starts[i]:ends[i]] each. ids: int64 (n,), filled; -1 for what is not in the dictionary."""
    for i in range(starts.size):
        id_ = find(text, starts[i], ends[i], hash_word(text, starts[i], ends[i]), dictionary)
        ids[i] = id_ if id_ < dictionary.words else -1


@kernel
def compose_words(
    text: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    ids: NDArray[np.int64],
    word_bytes: NDArray[np.uint8],
    bucket_bytes: NDArray[np.uint8],
    bucket_at: NDArray[np.int32],
    centroids: NDArray[np.float32],
    orders: NDArray[np.int64],
    scratch: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> None:
    """The vectors of words, text[starts[i]:ends[i]] each: the mean of their own row and their n-grams' rows.

    ids: int64 (n,), of the words, -1 unknown. scratch: int64 (4 * BLOCK,). vectors: float32 (n, d), filled; zeros for a
    word that has neither. The other arrays are those of answer_texts.
    Source: facebookresearch/fastText, src/fasttext.cc (getWordVector).
    """
    rows = Rows(
        word_bytes.view(np.float32),
        bucket_bytes.view(np.float32),
        word_bytes,
        bucket_bytes,
        centroids,
        bucket_at,
        orders[INPUT_DSUB],
    )
    growing = scratch[2 * BLOCK : 2 * BLOCK].view(np.uint64)
    features = Features(scratch[: 2 * BLOCK], scratch[2 * BLOCK :], growing, orders)
    minn, maxn, bucket = orders[MINN], orders[MAXN], orders[BUCKET]
    for i in range(starts.size):
        total = vectors[i]
        total[:] = 0
        number = buckets = 0
        if ids[i] >= 0:
            features.words[0] = ids[i]
            add_words(rows, features.words, 1, total)
            number = 1
        begin, end = starts[i], ends[i]
        for first in range(end - begin + 2 if maxn > 0 and not is_eos(text, begin, end) else 0):
            found = character_ngrams(text, begin, end, first, minn, maxn, bucket, features.buckets, buckets) - buckets
            kept = push_buckets(features, found, buckets, bucket_at)
            number += kept - buckets if orders[PRUNED] != 0 else found
            buckets = kept
            if buckets >= BLOCK:
                add_buckets(rows, features.buckets, buckets, total)
                buckets = 0
        add_buckets(rows, features.buckets, buckets, total)
        if number > 1:
            share = np.float32(1) / np.float32(number)
            for f in range(total.size):
                total[f] *= share
