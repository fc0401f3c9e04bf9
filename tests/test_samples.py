"""The bundled reviews: complete, balanced, and split so that nothing judged by was trained on."""

from __future__ import annotations

import random
from collections import Counter

from wildsage import samples


def test_reviews_are_complete_and_balanced() -> None:
    rows = samples.reviews()
    assert Counter(row.sentiment for row in rows) == {-1: 2370, 0: 2370, 1: 2370}
    assert all(row.text.strip() for row in rows)


def test_the_split_keeps_every_review_and_shares_no_text() -> None:
    rows = samples.reviews()
    parts = samples.split(rows)
    key = lambda row: (row.sentiment, row.text)  # noqa: E731
    assert sorted(map(key, parts.train + parts.validation + parts.held_out)) == sorted(map(key, rows))
    texts = [{row.text for row in part} for part in (parts.train, parts.validation, parts.held_out)]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]
    for part in (parts.validation, parts.held_out):
        assert 0.08 < len(part) / len(rows) < 0.12
        assert min(Counter(row.sentiment for row in part).values()) > 0.28 * len(part)


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
    rows = samples.reviews()
    shuffled = random.Random(3).sample(rows, len(rows))
    assert samples.split(shuffled) == samples.split(rows)


def test_the_origin_is_told_beside_the_data() -> None:
    origin = samples.REVIEWS.with_name("ORIGIN.md").read_text(encoding="utf-8")
    assert "Licence" in origin
    assert samples.REVIEWS.name in origin
