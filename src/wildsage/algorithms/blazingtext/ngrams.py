"""fastText's hashes of words, of word n-grams and of character n-grams, to the bit.

A model's bucket rows mean something only to who hashes as its trainer did, so nothing here may change.
Source: facebookresearch/fastText, src/dictionary.cc (hash, addWordNgrams, computeSubwords).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.kernels.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = bytes | NDArray[np.uint8]
    Integer = int | np.integer[Any]

EOS = b"</s>"
EOS_HASH = np.uint32(3617362777)  # of EOS, which stands for the end of a line
LABEL_PREFIX = b"__label__"

FNV_BASIS = np.uint32(2166136261)
FNV_PRIME = np.uint32(16777619)
NGRAM_FACTOR = np.uint64(116049371)
OPENING, CLOSING = np.uint8(ord("<")), np.uint8(ord(">"))


@kernel
def hash_byte(h: np.uint32, byte: Integer) -> np.uint32:
    """One step of FNV-1a; the byte is taken as signed, so one from 128 up flips the upper bits as well."""
    return np.uint32((h ^ np.uint32(np.int8(byte))) * FNV_PRIME)


@kernel
def hash_word(data: Bytes, start: Integer, end: Integer) -> np.uint32:
    """The hash of data[start:end]."""
    h = FNV_BASIS
    for i in range(start, end):
        h = hash_byte(h, data[i])
    return h


@kernel
def widen(h: np.uint32) -> np.uint64:
    """A word's hash as an n-gram of one word: fastText keeps hashes in int32, so the sign is carried up."""
    return np.uint64(np.int64(np.int32(h)))


@kernel
def extend_ngram(ngram: np.uint64, h: np.uint32) -> np.uint64:
    """The hash of an n-gram and the word that follows it; its bucket is that modulo the number of buckets."""
    return np.uint64(ngram * NGRAM_FACTOR + widen(h))


@kernel
def character_ngrams(
    data: Bytes, start: int, end: int, first: int, minn: int, maxn: int, bucket: int, out: NDArray[np.int64], count: int
) -> int:
    """Append to out[count:] the buckets of the character n-grams of "<word>" that begin at one of its bytes.

    data[start:end]: the word. first: that byte's place in "<word>", from 0. minn, maxn: lengths, in characters of
    UTF-8; a byte that continues a character belongs to the one before and begins nothing. "<" and ">" alone are no
    n-grams. bucket: the number of buckets, at least 1. out: with room for maxn more. Returns the new count.
    """
    last = end - start + 1
    if 0 < first < last and (data[start + first - 1] & 0xC0) == 0x80:
        return count
    h, place = FNV_BASIS, first
    for length in range(1, maxn + 1):
        if place > last:
            break
        byte = OPENING if place == 0 else CLOSING if place == last else data[start + place - 1]
        h = hash_byte(h, byte)
        place += 1
        while place < last and place > 0 and (data[start + place - 1] & 0xC0) == 0x80:
            h = hash_byte(h, data[start + place - 1])
            place += 1
        if length >= minn and not (length == 1 and (first == 0 or place > last)):
            out[count] = np.int64(np.uint64(h) % np.uint64(bucket))
            count += 1
    return count
