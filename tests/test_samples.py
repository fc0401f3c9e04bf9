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
    sections = origin.split("# ")[1:]
    told = {section.partition("\n")[0]: section for section in sections}
    assert set(told) == {path.name for path in samples.REVIEWS.parent.glob("*.gz")}
    assert all("Licence: " in section for section in told.values())


def test_abalones_are_complete() -> None:
    rows = samples.abalone()
    assert Counter(sex for sex, _ in rows) == {"M": 1528, "F": 1307, "I": 1342}
    assert {len(values) for _, values in rows} == {8}
    assert rows[0] == ("M", [0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15, 15])


def test_breast_cancers_are_complete() -> None:
    rows = samples.breast_cancer()
    assert Counter(malignant for malignant, _ in rows) == {True: 212, False: 357}
    assert {len(values) for _, values in rows} == {30}
    assert rows[0][1][:2] == [17.99, 10.38]
