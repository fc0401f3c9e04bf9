"""How many sentences a corpus of some size may have in flight."""

from __future__ import annotations

WORDS_EACH = 10_000
MOST = 4224


def in_flight(words: int) -> int:
    return max(1, min(MOST, words // WORDS_EACH))
