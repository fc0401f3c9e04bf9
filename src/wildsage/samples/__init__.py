"""Real data that comes with the package: a first training needs no download. Origins: ORIGIN.md beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REVIEWS = Path(__file__).with_name("reviews.csv.gz")
ABALONE = Path(__file__).with_name("abalone.csv.gz")
BREAST_CANCER = Path(__file__).with_name("breast-cancer.csv.gz")


@dataclass(frozen=True)
class Review:
    """A customer's words on a piece of clothing. sentiment: -1 negative, 0 neutral, 1 positive."""

    sentiment: int
    text: str


@dataclass(frozen=True)
class Split:
    """Rows to train on, to choose by, and to judge by in the end (held out of both)."""

    train: list[Review]
    validation: list[Review]
    held_out: list[Review]


def reviews() -> list[Review]:
    """All 7,110 reviews, 2,370 of each sentiment, in the file's order (sorted by sentiment)."""
    import csv
    import gzip

    with gzip.open(REVIEWS, "rt", encoding="utf-8", newline="") as file:
        return [Review(int(row["sentiment"]), row["review_body"]) for row in csv.DictReader(file)]


def split(rows: list[Review]) -> Split:
    """Deal rows out by a hash of their text: 80 % train, 10 % validation, 10 % held out, each in a shuffled order.

    The same row falls into the same part on every machine and in any order of rows, and a text that occurs twice
    cannot be both trained on and judged by.
    """
    from hashlib import blake2b

    parts = Split([], [], [])
    dealt = sorted((blake2b(row.text.encode(), digest_size=8).digest(), row.sentiment, row.text) for row in rows)
    for digest, sentiment, text in dealt:
        tenth = digest[-1] * 10 // 256
        part = parts.held_out if tenth == 0 else parts.validation if tenth == 1 else parts.train
        part.append(Review(sentiment, text))
    return parts


def abalone() -> list[tuple[str, list[float]]]:
    """4,177 abalones: the sex (M, F or I), and the seven measures and the rings, in the file's order."""
    return [(row[0], [float(value) for value in row[1:]]) for row in _rows(ABALONE)]


def breast_cancer() -> list[tuple[bool, list[float]]]:
    """569 images of cells: whether they are malignant, and 30 numbers about their nuclei, in the file's order."""
    return [(row[0] == "M", [float(value) for value in row[1:]]) for row in _rows(BREAST_CANCER)[1:]]


def _rows(path: Path) -> list[list[str]]:
    import csv
    import gzip

    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
