"""Scores on sets of word pairs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.blazingtext.fasttext_file import SKIP_GRAM, FastTextSettings
from wildsage.algorithms.blazingtext.similarity import evaluate, read_pairs, score, spearman, to_json
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.errors import DataError


def model_of(words: dict[str, list[float]]) -> WordVectors:
    rows = np.array(list(words.values()), np.float32)
    return WordVectors.from_training(
        words=[word.encode() for word in words],
        word_counts=np.arange(len(words), 0, -1),
        settings=FastTextSettings(dim=rows.shape[1], model=SKIP_GRAM, loss=2, bucket=0),
        word_rows=rows,
        bucket_ids=np.empty(0, np.int64),
        bucket_rows=np.empty((0, rows.shape[1]), np.float32),
        output=np.zeros_like(rows),
    )


VECTORS = {"a": [1.0, 0.0], "b": [1.0, 0.1], "c": [1.0, 1.0], "d": [0.0, 1.0], "e": [-1.0, 0.0]}


def slow_ranks(values: list[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_is_the_correlation_of_ranks(pairs: list[tuple[int, int]]) -> None:
    first, second = ([float(value) for value in column] for column in zip(*pairs, strict=True))
    found = spearman(np.array(first), np.array(second))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(slow_ranks(first), slow_ranks(second))[0, 1], abs=1e-12)


def test_a_model_is_scored_on_the_pairs_that_it_knows() -> None:
    pairs = [("a", "b", 9.0), ("A", "c", 5.0), ("a", "d", 3.0), ("a", "e", 0.0), ("a", "zebra", 7.0)]
    found = score(model_of(VECTORS), pairs)
    assert (found.rho, found.pairs, found.unknown) == (pytest.approx(1.0), 5, 1)


def test_no_known_pair_has_no_correlation() -> None:
    found = score(model_of(VECTORS), [("x", "y", 1.0), ("a", "y", 2.0)])
    assert (math.isnan(found.rho), found.unknown) == (True, 2)
    assert found.to_json() == {"not_found": 2, "spearmans_rho": None, "total_pairs": 2}


@pytest.mark.parametrize("separator", ["\t", " ", ",", ";", "  "])
def test_pairs_are_read_whatever_is_between(separator: str, tmp_path: Path) -> None:
    (tmp_path / "set").write_text(
        f"# a set\nWord 1{separator}Word 2{separator}Human\n\n".replace("# a set\n", "")
        + f"tiger{separator}cat{separator}7.35\r\nJerusalem{separator}Israel{separator}8.46{separator}more\n# end\n"
    )
    assert read_pairs(tmp_path / "set") == [("tiger", "cat", 7.35), ("Jerusalem", "Israel", 8.46)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b 1\na b\n", "line 2"),
        (b"a b 1\na b nan\n", "line 2"),
        (b"", "no pair"),
        (b"a b c\n", "no pair"),
        (b"a b 1\n\xff\n", "not UTF-8"),
    ],
)
def test_a_bad_set_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "set.txt").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_pairs(tmp_path / "set.txt")
    assert "set.txt" in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_pairs_or_an_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set"
        path.write_bytes(content)
        try:
            pairs = read_pairs(path)
        except DataError:
            return
        assert pairs
        score(model_of(VECTORS), pairs)


def test_several_sets_and_their_mean(tmp_path: Path) -> None:
    (tmp_path / "EN-WS-353-ALL.txt").write_text("a b 9\na c 5\na e 1\n")
    (tmp_path / "EN-WS-353-REL.txt").write_text("a b 1\na c 5\na x 5\n")
    scores, mean = evaluate(model_of(VECTORS), sorted(tmp_path.iterdir()))
    assert mean == pytest.approx(0.0)
    made = json.loads(json.dumps(to_json(scores, mean)))
    assert made["EN-WS-353-REL.txt"] == {"not_found": 1, "spearmans_rho": pytest.approx(-1.0), "total_pairs": 3}
    assert set(made) == {"EN-WS-353-ALL.txt", "EN-WS-353-REL.txt", "mean_rho"}


def test_the_published_sets_are_read(data_folder: Path) -> None:
    sizes = {"wordsim353.tsv": 353, "wordsim353-similarity.tsv": 203, "wordsim353-relatedness.tsv": 252}
    for name, size in sizes.items():
        assert len(read_pairs(data_folder / "word-similarity" / name)) == size


def test_a_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("\ufeffa b 9\n")
    assert read_pairs(tmp_path / "set") == [("a", "b", 9.0)]


@pytest.mark.parametrize("score", ["nan", "inf", "1e999"])
def test_a_score_that_is_not_finite_is_named_on_the_first_line_too(score: str, tmp_path: Path) -> None:
    (tmp_path / "set").write_text(f"a b {score}\na c 1\n")
    with pytest.raises(DataError, match="line 1"):
        read_pairs(tmp_path / "set")
