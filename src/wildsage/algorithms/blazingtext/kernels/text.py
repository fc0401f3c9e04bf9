"""Text to token ids: split at fastText's blanks, look each word up in a hash table, in one pass over the bytes.

A word's number is its place by first sight. "</s>", fastText's word for the end of a line, is the word "\\n" here.
A table has a power of two of slots, of four uint64 each: a word's key, two of them; its number + 1, zero if the slot is
free; its count. At most half of the slots are taken. The key of a word of up to 16 bytes is its bytes, zeros behind;
that of a longer one is its first eight, and a hash of the others that no bytes of a word can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.algorithms.blazingtext.memory import fresh
from wildsage.algorithms.blazingtext.ngrams import EOS_HASH, widen
from wildsage.algorithms.blazingtext.ngrams import hash_word as hash_as_fasttext_does
from wildsage.kernels.kernel import kernel, kernel_part
from wildsage.kernels.vector import blanks, load8, matches, ones, prefetch, trailing_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 2048  # bytes between two checks for room; it yields at most BLOCK + 1 tokens
FEW = 16  # words of 64 bytes that are written without asking how many there are; more are rare
MULTIPLIER, SECOND_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
END_OF_LINE = np.uint64(int.from_bytes(b"</s>", "little"))
NEWLINE, QUOTE = 10, 34
SHORT = 16  # bytes of the longest word that is its own key
TOP = np.uint64(1 << 63)
ONE, EIGHT = np.uint64(1), np.uint64(8)

POSITION, INSIDE, BEHIND, BEGUN, TOKENS, LINES = range(6)  # what a scan's `state` holds
SIZE, USED, EOS, NEEDED = range(4)  # what Words.state holds


class Words(NamedTuple):
    """Words by number. `table`: see above. The rest has room for half of the table's slots."""

    table: NDArray[np.uint64]  # (4 * slots,)
    home: NDArray[np.uint8]  # their bytes, one behind the other, and room for SHORT more
    begins: NDArray[np.int64]  # where in `home`
    lengths: NDArray[np.int32]  # bytes; 0 is "</s>"
    seen: NDArray[np.int64]  # position of the first sight in the whole text
    state: NDArray[np.int64]  # words, bytes of `home` in use, number of "</s>" (-1: none yet), bytes that were lacking

    @classmethod
    def empty(cls, slots: int, size: int = 1 << 16) -> Words:
        """A table of `slots`, a power of two, with room for `size` bytes."""
        capacity = slots // 2
        return cls(
            fresh(4 * slots, np.uint64),
            np.zeros(size, np.uint8),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int32),
            np.empty(capacity, np.int64),
            np.array([0, 0, -1, 0], np.int64),
        )

    @property
    def size(self) -> int:
        return int(self.state[SIZE])

    def wider(self) -> Words:
        """The same words with twice the room."""
        new = Words.empty(self.table.size // 2, self.home.size)._replace(home=self.home, state=self.state)
        copy_table(self.table, new.table)
        for old, copy in ((self.begins, new.begins), (self.lengths, new.lengths), (self.seen, new.seen)):
            copy[: old.size] = old
        return new

    def with_home(self, size: int) -> Words:
        """The same words with room for `size` bytes."""
        home = np.zeros(size, np.uint8)
        home[: self.home.size] = self.home
        return self._replace(home=home)

    def counts(self) -> NDArray[np.int64]:
        counts = np.zeros(self.size, np.int64)
        collect_counts(self.table, counts)
        return counts


class Scratch(NamedTuple):
    """The tokens of a block of text; each array holds BLOCK + 64 + FEW."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    firsts: NDArray[np.uint64]
    seconds: NDArray[np.uint64]
    slots: NDArray[np.uint64]

    @classmethod
    def empty(cls) -> Scratch:
        signed, unsigned = np.empty((2, BLOCK + 64 + FEW), np.int64), np.empty((3, BLOCK + 64 + FEW), np.uint64)
        return cls(signed[0], signed[1], unsigned[0], unsigned[1], unsigned[2])


@kernel_part
def load_within(text, start):
    """load8 that does not read behind the text, which has 8 bytes or more; zeros instead."""
    over = start + 8 - text.size
    if over <= 0:
        return load8(text, start)
    return load8(text, start - over) >> (np.uint64(over) * EIGHT) if over < 8 else np.uint64(0)


@kernel_part
def make_key(text, start, length):
    """Both parts of a word's key. text: uint8, at least 8 bytes. length: at least 1."""
    if start + SHORT <= text.size:
        first, second = load8(text, start), load8(text, start + 8)
    else:
        first, second = load_within(text, start), load_within(text, start + 8)
    # Without branches: which of the bytes are another word's is as good as random.
    above = np.uint64(64) - np.uint64(min(length, 8)) * EIGHT
    bits = np.uint64(min(max(length - 8, 0), 8)) * EIGHT
    first = (first << above) >> above
    second &= ((ONE << (bits & np.uint64(63))) - ONE) | (np.uint64(0) - (bits >> np.uint64(6)))
    if length > SHORT:
        second = hash_rest(text, start, length)
    return first, second


@kernel
def hash_rest(text, start, length):
    """A hash of a long word's bytes from the ninth on, with a zero below and a one on top: not the bytes of a word."""
    mixed, j = np.uint64(length), 8
    while j < length:  # by eight bytes; the last ones are those at the end, be some of them hashed before
        mixed = (mixed ^ load8(text, start + min(j, length - 8))) * MULTIPLIER
        mixed ^= mixed >> np.uint64(32)
        j += 8
    return ((mixed * MULTIPLIER) << EIGHT) | TOP


@kernel_part
def first_slot(first, second, shift):
    """Where a key is looked for first: the upper 64 - shift bits of a product."""
    return (first * MULTIPLIER + (second ^ (second >> np.uint64(29))) * SECOND_MULTIPLIER) >> shift


@kernel_part
def shift_of(table):
    """For first_slot."""
    return np.uint64(64 + 2) - np.uint64(trailing_zeros(np.uint64(table.size)))


@kernel
def copy_table(old, new):
    """Enter all words of a table in a larger one."""
    shift, mask = shift_of(new), np.uint64(new.size - 1)
    for k in range(0, old.size, 4):
        if old[k + 2]:
            at = first_slot(old[k], old[k + 1], shift) << np.uint64(2)
            while new[at + np.uint64(2)]:
                at = (at + np.uint64(4)) & mask
            for j in range(4):
                new[at + np.uint64(j)] = old[k + j]


@kernel
def collect_counts(table, counts):
    """Set counts, int64, zeros, by number."""
    for k in range(0, table.size, 4):
        if table[k + 2]:
            counts[np.int64(table[k + 2]) - 1] += np.int64(table[k + 3])


@kernel
def same_bytes(text, start, home, begin, length):
    """Whether two long words are the same from the ninth byte on."""
    j = 8
    while j < length:
        at = min(j, length - 8)
        if load8(text, start + at) != load8(home, begin + at):
            return False
        j += 8
    return True


@kernel
def enter(text, start, length, seen, at, first, second, words):
    """Enter a word at a free place of the table, with a count of zero."""
    state = words.state
    is_end = first == NEWLINE or (first == END_OF_LINE and second == 0)  # fastText cannot tell these two
    number = state[EOS] if is_end and state[EOS] >= 0 else state[SIZE]
    if number == state[SIZE]:
        words.begins[number] = state[USED]
        words.lengths[number] = 0 if is_end else length
        words.seen[number] = seen
        for j in range(length):
            words.home[state[USED] + j] = text[start + j]
        state[USED] += length
        state[SIZE] += 1
        if is_end:
            state[EOS] = number
    words.table[at] = first
    words.table[at + ONE] = second
    words.table[at + np.uint64(2)] = number + 1
    words.table[at + np.uint64(3)] = 0


@kernel_part
def find(text, start, length, seen, slot, first, second, words):
    """The place in the table of a word of `text`, entered if it is new. seen: its position in the whole text."""
    table, mask = words.table, np.uint64(words.table.size - 1)
    at = slot << np.uint64(2)
    while True:
        if (table[at] ^ first) | (table[at + ONE] ^ second) == 0:
            if length <= SHORT:
                return at
            known = np.int64(table[at + np.uint64(2)]) - 1
            if words.lengths[known] == length and same_bytes(text, start, words.home, words.begins[known], length):
                return at
        if table[at + np.uint64(2)] == 0:
            enter(text, start, length, seen, at, first, second, words)
            return at
        at = (at + np.uint64(4)) & mask


@kernel_part
def write_places(bits, base, out, n):
    """Write base + place of each bit that is one to out[n:], ascending; returns how many."""
    count = ones(bits)
    for k in range(FEW):  # a loop of as many steps as there are bits would be guessed wrong at its end
        out[n + k] = base + trailing_zeros(bits | TOP)
        bits &= bits - ONE
    for k in range(FEW, count):
        out[n + k] = base + trailing_zeros(bits)
        bits &= bits - ONE
    return count


@kernel_part
def split_block(text, position, stop, end, state, scratch, n):
    """Write starts and ends of the tokens of text[position:stop] behind the `n` that have begun; returns both counts.

    A newline is a token of one byte. A token that does not end here has a start without an end.
    """
    ends, last = 0, text.size - 64
    inside, behind = (
        np.uint64(state[INSIDE]),
        np.uint64(state[BEHIND]),
    )  # whether the byte before is a word's, a newline
    while position < stop:
        if position <= last:
            blank, newline = blanks(text, position), matches(text, position, np.uint8(NEWLINE))
        else:
            over = np.uint64(position - last)
            blank, newline = blanks(text, last) >> over, matches(text, last, np.uint8(NEWLINE)) >> over
        word = ~blank
        if position + 64 > end:
            valid = (ONE << np.uint64(end - position)) - ONE
            word &= valid
            newline &= valid
        before = (word << ONE) | inside
        n += write_places((word & ~before) | newline, position, scratch.starts, n)
        ends += write_places((before & ~word) | (newline << ONE) | behind, position, scratch.ends, ends)
        inside, behind = word >> np.uint64(63), newline >> np.uint64(63)
        position += 64
    if stop == end and n > ends:
        scratch.ends[ends] = end
        ends += 1
    state[INSIDE], state[BEHIND] = inside, behind
    return n, ends


@kernel
def scan(text, end, offset, words, tokens, starts, scratch, state):
    """Encode text up to `end`, or until an array is full; state[POSITION] says how far it got.

    text: uint8, 64 bytes or more; `end` is its end, or just behind a newline. offset: position of text[0] in the whole
    text. tokens: int32, word numbers. starts: int64, tokens before each line, starts[0] = 0. state: int64 (6,):
    position; whether the byte before it is a word's, or a newline; start of the present token, -1 for none; tokens;
    lines.
    Bound by instructions, about 30 cycles a token, and by the words' slots, which are fetched a block beforehand.
    """
    token, line, mask = state[TOKENS], state[LINES], shift_of(words.table)
    table, numbering = words.table, words.state
    while (
        state[POSITION] < end
        and numbering[SIZE] + BLOCK + 64 <= words.lengths.size
        and token + BLOCK + 64 <= tokens.size
        and line + BLOCK + 64 <= starts.size
    ):
        stop, inside, behind = min(state[POSITION] + BLOCK, end), state[INSIDE], state[BEHIND]
        scratch.starts[0] = state[BEGUN]
        begun, n = split_block(text, state[POSITION], stop, end, state, scratch, np.int64(state[BEGUN] >= 0))
        if n > 0 and numbering[USED] + scratch.ends[n - 1] - scratch.starts[0] + SHORT > words.home.size:
            numbering[NEEDED] = numbering[USED] + scratch.ends[n - 1] - scratch.starts[0] + SHORT
            state[INSIDE], state[BEHIND] = inside, behind
            break
        state[POSITION] = stop
        state[BEGUN] = scratch.starts[n] if begun > n else -1
        for k in range(n):
            start = scratch.starts[k]
            first, second = make_key(text, start, scratch.ends[k] - start)
            scratch.firsts[k] = first
            scratch.seconds[k] = second
            slot = first_slot(first, second, mask)
            scratch.slots[k] = slot
            prefetch(table, np.int64(slot) << 2)
        for k in range(n):
            start = scratch.starts[k]
            length = scratch.ends[k] - start
            at = find(
                text, start, length, offset + start, scratch.slots[k], scratch.firsts[k], scratch.seconds[k], words
            )
            table[at + np.uint64(3)] += ONE
            number = np.int64(table[at + np.uint64(2)]) - 1
            tokens[token] = number
            token += 1
            if number == numbering[EOS]:
                line += 1
                starts[line] = token
    state[TOKENS], state[LINES] = token, line


@kernel
def merge_words(home, begins, lengths, counts, seen, order, words, numbers):
    """Enter words that lie in `home` and are not all different, in the given order, and add up their counts.

    begins, lengths, counts, seen, order: int64, int32 or int64. words: with room for all. numbers: int32, out, by word.
    """
    shift = shift_of(words.table)
    for k in order:
        length = np.int64(lengths[k])
        first, second = np.uint64(NEWLINE), np.uint64(0)  # "</s>"
        if length > 0:
            first, second = make_key(home, begins[k], length)
        slot = first_slot(first, second, shift)
        at = find(home, begins[k], length, seen[k], slot, first, second, words)
        words.table[at + np.uint64(3)] += np.uint64(counts[k])
        numbers[k] = np.int64(words.table[at + np.uint64(2)]) - 1


@kernel
def join_words(home, begins, lengths, numbers, out):
    """Copy the words `numbers` to out, each with a newline behind it; returns how many bytes that is."""
    to = 0
    for number in numbers:
        length = np.int64(lengths[number])
        begin = begins[number]
        if length == 0:
            for shift in range(0, 32, 8):
                out[to] = (END_OF_LINE >> np.uint64(shift)) & np.uint64(255)
                to += 1
        for j in range(length):
            out[to] = home[begin + j]
            to += 1
        out[to] = NEWLINE
        to += 1
    return to


@kernel
def write_entries(text, counts, label, out):
    """Write a dictionary as fastText's file has it: each word, a zero, its count in eight bytes, and its kind in one.

    text: uint8, each word with a zero behind it. counts: int64 (words,). out: uint8, 9 bytes a word more than text.
    """
    to, word = 0, 0
    for byte in text:
        out[to] = byte
        to += 1
        if byte == 0:
            for shift in range(0, 64, 8):
                out[to] = (counts[word] >> shift) & 255
                to += 1
            out[to] = label
            to += 1
            word += 1


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
def end_of_line(text, begin, end):
    """Where the first newline of text[begin:end] is, or `end`."""
    while begin + 64 <= min(end, text.size):
        found = matches(text, begin, np.uint8(NEWLINE))
        if found:
            return begin + trailing_zeros(found)
        begin += 64
    while begin < end and text[begin] != NEWLINE:
        begin += 1
    return begin


@kernel
def unquote(text, begin, end, prefix):
    """Strip, in place, the quotes around each line's text, as a CSV writer set them; returns how many lines had any.

    A line's text is what its labels, in front and behind, leave. It counts as quoted if it begins and ends with a quote
    that touches a word, and if all quotes between are doubled; these become single ones. Lines keep their length, for
    blanks fill what is left over. text: uint8; the lines lie in begin..end. prefix: uint8, what labels begin with.
    """
    changed = 0
    while begin < end:
        stop = end_of_line(text, begin, end)
        first, last = begin, stop
        begin = stop + 1
        while True:  # past labels in front
            while first < last and is_blank(text[first]):
                first += 1
            if not begins_with(text, first, last, prefix):
                break
            while first < last and not is_blank(text[first]):
                first += 1
        if first == last or text[first] != QUOTE:
            continue
        while True:  # and behind
            while last > first and is_blank(text[last - 1]):
                last -= 1
            word = last
            while word > first and not is_blank(text[word - 1]):
                word -= 1
            if not begins_with(text, word, last, prefix):
                break
            last = word
        if last - first < 3 or text[last - 1] != QUOTE:
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
