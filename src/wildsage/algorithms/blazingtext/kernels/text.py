"""Text to token ids: split at fastText's blanks, look each word up in a hash table, in one pass over the bytes.

A word's number is its place by first sight. "</s>", fastText's word for the end of a line, is the empty word here.
A table has a power of two of slots, a pair of uint64 each: the upper half of the word's hash, whether it is longer than
8 bytes, and its number + 1, zero if the slot is free; then its first eight bytes. At most half of the slots are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.ngrams import EOS_HASH, widen
from wildsage.algorithms.blazingtext.ngrams import hash_word as hash_as_fasttext_does
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import blanks, load8, prefetch, trailing_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1024  # bytes between two checks for room; it yields at most BLOCK + 1 tokens
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
END_OF_LINE = np.uint64(int.from_bytes(b"</s>", "little"))
LONG = np.uint64(1 << 31)
NEWLINE, QUOTE = 10, 34


class Words(NamedTuple):
    """Words by number. `table`: see above. The rest has room for a quarter of the table's length in words."""

    table: NDArray[np.uint64]  # (2 * slots,)
    positions: NDArray[np.int64]  # of the first byte, in the text that the words lie in
    lengths: NDArray[np.int32]  # bytes; 0 is "</s>"
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, slots: int) -> Words:
        """A table of `slots`, a power of two."""
        capacity = slots // 2
        return cls(
            np.zeros(2 * slots, np.uint64),
            np.zeros(capacity, np.int64),
            np.zeros(capacity, np.int32),
            np.zeros(capacity, np.int64),
        )

    def wider(self) -> Words:
        """The same words with twice the room."""
        new = Words.empty(self.table.size)
        copy_table(self.table, new.table)
        new.positions[: self.positions.size] = self.positions
        new.lengths[: self.lengths.size] = self.lengths
        new.counts[: self.counts.size] = self.counts
        return new


class Scratch(NamedTuple):
    """The tokens of a block of text; each array holds 2 * BLOCK."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    keys: NDArray[np.uint64]
    hashes: NDArray[np.uint64]

    @classmethod
    def empty(cls) -> Scratch:
        signed, unsigned = np.empty((2, 2 * BLOCK), np.int64), np.empty((2, 2 * BLOCK), np.uint64)
        return cls(signed[0], signed[1], unsigned[0], unsigned[1])


@kernel_part
def hash_word(text, start, length):
    """First eight bytes (zeros behind a shorter word), and a hash of all. text: uint8, at least 8 bytes."""
    over = start + 8 - text.size
    key = load8(text, start) if over <= 0 else load8(text, start - over) >> np.uint64(8 * over)
    if length < 8:
        key &= (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
    mixed = (key ^ np.uint64(length)) * MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    j = 8
    while j < length:  # by eight bytes; the last ones are those at the end, be some of them hashed before
        mixed = (mixed ^ load8(text, start + min(j, length - 8))) * MULTIPLIER
        mixed ^= mixed >> np.uint64(32)
        j += 8
    return key, (mixed ^ (mixed >> np.uint64(29))) * MULTIPLIER


@kernel
def copy_table(old, new):
    """Enter all words of a table in a larger one."""
    mask = np.uint64((new.size >> 1) - 1)
    for slot in range(0, old.size, 2):
        if old[slot]:
            place = (old[slot] >> np.uint64(32)) & mask
            while new[place + place]:
                place = (place + np.uint64(1)) & mask
            new[place + place] = old[slot]
            new[place + place + np.uint64(1)] = old[slot + 1]


@kernel_part
def find(text, start, length, key, hashed, words, home, number):
    """The number of a word of `text`, or -1 after entering it in the table as `number`. Known words lie in `home`."""
    table = words.table
    mask = np.uint64((table.size >> 1) - 1)
    slot = (hashed >> np.uint64(32)) & mask
    tag = (hashed >> np.uint64(32)) << np.uint64(32)
    if length > 8:
        tag |= LONG
    while table[slot + slot]:
        if table[slot + slot + np.uint64(1)] == key and (table[slot + slot] >> np.uint64(31)) == (tag >> np.uint64(31)):
            known = np.int64(table[slot + slot] & np.uint64(0x7FFFFFFF)) - 1
            if length <= 8:
                return known
            if words.lengths[known] == length:
                j, there = 8, words.positions[known]
                while j < length:
                    at = min(j, length - 8)
                    if load8(text, start + at) != load8(home, there + at):
                        break
                    j += 8
                if j >= length:
                    return known
        slot = (slot + np.uint64(1)) & mask
    table[slot + slot] = tag | np.uint64(number + 1)
    table[slot + slot + np.uint64(1)] = key
    return -1


@kernel
def scan(text, end, words, tokens, starts, scratch, state):
    """Encode text up to `end`, or until an array is full; state[0] says how far it got.

    text: uint8, 64 bytes or more; `end` is its end, or just behind a newline. tokens: int32, word numbers. starts:
    int64, tokens before each line, starts[0] = 0. state: int64 (5,), position, start of the present word, tokens,
    lines, words.
    Bound by the look-up; the next words' slots are prefetched, and blanks are found 64 bytes at a time.
    """
    position, begun, token, line, word = state[0], state[1], state[2], state[3], state[4]
    mask = np.uint64((words.table.size >> 1) - 1)
    last = text.size - 64
    while (
        position < end
        and word + 2 * BLOCK <= words.counts.size
        and token + 2 * BLOCK <= tokens.size
        and line + 2 * BLOCK <= starts.size
    ):
        n = 0
        block_end = min(position + BLOCK, end)
        while position < block_end:
            if position <= last:
                found = blanks(text, position)
            else:
                found = blanks(text, last) >> np.uint64(position - last)
            if position + 64 > end:
                found &= (np.uint64(1) << np.uint64(end - position)) - np.uint64(1)
            while found:
                blank = position + trailing_zeros(found)
                found &= found - np.uint64(1)
                if blank > begun:
                    scratch.starts[n] = begun
                    scratch.lengths[n] = blank - begun
                    n += 1
                if text[blank] == NEWLINE:
                    scratch.starts[n] = blank
                    scratch.lengths[n] = 0
                    n += 1
                begun = blank + 1
            position += 64
        if position >= end and begun < end:
            scratch.starts[n] = begun
            scratch.lengths[n] = end - begun
            n += 1
            begun = end
        for k in range(n):
            length = scratch.lengths[k]
            key, hashed = hash_word(text, scratch.starts[k], length)
            if length == 4 and key == END_OF_LINE:  # fastText cannot tell it from the end of a line
                scratch.lengths[k] = 0
                key, hashed = hash_word(text, scratch.starts[k], 0)
            scratch.keys[k] = key
            scratch.hashes[k] = hashed
            prefetch(words.table, np.int64((hashed >> np.uint64(32)) & mask) * 2)
        for k in range(n):
            length = scratch.lengths[k]
            number = find(text, scratch.starts[k], length, scratch.keys[k], scratch.hashes[k], words, text, word)
            if number < 0:
                number = word
                words.positions[number] = scratch.starts[k]
                words.lengths[number] = length
                words.counts[number] = 0
                word += 1
            words.counts[number] += 1
            tokens[token] = number
            token += 1
            if length == 0:
                line += 1
                starts[line] = token
    state[0], state[1], state[2], state[3], state[4] = position, begun, token, line, word


@kernel
def merge_words(text, theirs, theirs_size, words, home, state, numbers):
    """Add the first `theirs_size` words of `theirs`, which lie in `text`, to `words`, whose bytes are kept in `home`.

    state: int64 (2,), words and bytes so far; there is room. numbers: int32, out, their number -> ours.
    """
    size, used = state[0], state[1]
    for k in range(theirs_size):
        start, length = theirs.positions[k], np.int64(theirs.lengths[k])
        key, hashed = hash_word(text, start, length)
        number = find(text, start, length, key, hashed, words, home, size)
        if number < 0:
            number = size
            words.positions[number] = used
            words.lengths[number] = length
            words.counts[number] = 0
            for j in range(length):
                home[used + j] = text[start + j]
            used += length
            size += 1
        words.counts[number] += theirs.counts[k]
        numbers[k] = number
    state[0], state[1] = size, used


@kernel
def hash_words(home, positions, lengths, prefix, hashes, is_label):
    """fastText's hash of each word, widened as an n-gram of one word; and which words begin with `prefix`."""
    for k in range(positions.size):
        begin, end = positions[k], positions[k] + lengths[k]
        hashes[k] = widen(hash_as_fasttext_does(home, begin, end) if lengths[k] else EOS_HASH)
        same = 0
        while same < prefix.size and same < lengths[k] and home[begin + same] == prefix[same]:
            same += 1
        is_label[k] = same == prefix.size


@kernel
def is_blank(byte):
    """Whether fastText splits words at this byte."""
    return byte == 32 or byte == 0 or (byte >= 9 and byte <= 13)


@kernel
def begins_with(text, start, end, prefix):
    """Whether text[start:end] begins with `prefix`."""
    if end - start < prefix.size:
        return False
    same = 0
    while same < prefix.size and text[start + same] == prefix[same]:
        same += 1
    return same == prefix.size


@kernel
def unquote(text, begin, end, prefix):
    """Strip, in place, the quotes around each line's text, as a CSV writer set them; returns how many lines had any.

    A line's text is what its labels, in front and behind, leave. It counts as quoted if it begins and ends with a quote
    that touches a word, and if all quotes between are doubled; these become single ones. Lines keep their length, for
    blanks fill what is left over. text: uint8; the lines lie in begin..end. prefix: uint8, what labels begin with.
    """
    changed = 0
    while begin < end:
        stop = begin
        while stop < end and text[stop] != NEWLINE:
            stop += 1
        first, last = begin, stop
        begin = stop + 1
        while True:  # past labels in front
            while first < last and is_blank(text[first]):
                first += 1
            if not begins_with(text, first, last, prefix):
                break
            while first < last and not is_blank(text[first]):
                first += 1
        while True:  # and behind
            while last > first and is_blank(text[last - 1]):
                last -= 1
            word = last
            while word > first and not is_blank(text[word - 1]):
                word -= 1
            if not begins_with(text, word, last, prefix):
                break
            last = word
        if last - first < 3 or text[first] != QUOTE or text[last - 1] != QUOTE:
            continue
        if is_blank(text[first + 1]) or is_blank(text[last - 2]):
            continue
        single = False
        p = first + 1
        while p < last - 1:
            if text[p] == QUOTE:
                if p + 1 < last - 1 and text[p + 1] == QUOTE:
                    p += 1
                else:
                    single = True
            p += 1
        if single:
            continue
        changed += 1
        to = first
        p = first + 1
        while p < last - 1:
            text[to] = text[p]
            to += 1
            p += 2 if text[p] == QUOTE else 1
        while to < last:
            text[to] = 32
            to += 1
    return changed
