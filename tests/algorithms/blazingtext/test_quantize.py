"""Pruning and product quantisation: beside the fastText package, and beside plain k-means."""

from __future__ import annotations

import dataclasses
import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wildsage.algorithms.blazingtext import fasttext_file
from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile, FastTextSettings, dense
from wildsage.algorithms.blazingtext.kernels.quantize import Scratch, encode, lloyd
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.algorithms.blazingtext.quantize import prune, quantize, quantize_rows
from wildsage.contract.errors import ClientError


def classifier(words: int = 400, buckets: int = 1000, dim: int = 9, classes: int = 3, **settings: Any) -> FastTextFile:
    rng = np.random.default_rng(4)
    ids = np.arange(1, buckets, 2)
    return FastTextFile.from_rows(
        words=[b"</s>", *(f"word{i}".encode() for i in range(words - 1))],
        word_counts=np.arange(words, 0, -1),
        labels=[f"__label__{i}".encode() for i in range(classes)],
        label_counts=np.arange(classes, 0, -1),
        settings=FastTextSettings(dim=dim, word_ngrams=2, bucket=buckets, **settings),
        word_rows=(rng.normal(size=(words, dim)) * rng.uniform(0.1, 3, (words, 1))).astype(np.float32),
        bucket_ids=ids,
        bucket_rows=rng.normal(size=(ids.size, dim)).astype(np.float32),
        output=rng.normal(size=(classes, dim)).astype(np.float32),
    )


def texts(count: int = 200) -> list[str]:
    source = random.Random(8)
    return [" ".join(f"word{source.randrange(420)}" for _ in range(source.randrange(30))) for _ in range(count)]


@pytest.mark.parametrize("loss", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cutoff": 300},
        {"cutoff": 500, "qnorm": False, "dsub": 3},
        {"qnorm": False, "dsub": 1},
        {"dsub": 9},
        {"qout": True, "cutoff": 500},
    ],
    ids=str,
)
def test_the_package_answers_alike(tmp_path: Path, loss: int, settings: dict[str, Any]) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    small = quantize(classifier(loss=loss, minn=2 if loss > 2 else 0, maxn=3 if loss > 2 else 0), **settings)
    fasttext_file.write(tmp_path / "model.ftz", small)
    theirs, ours = fasttext.load_model(str(tmp_path / "model.ftz")), TextClassifier.load(tmp_path)
    asked = texts()
    step = 0.01 if loss in (2, 4) else 2e-5  # two losses read a table of the sigmoid
    labels, probabilities = theirs.predict(asked, k=2)
    for text, answer, names, p in zip(
        asked, ours.predict(asked, [{"k": 2}] * len(asked)), labels, probabilities, strict=True
    ):
        np.testing.assert_allclose(answer["prob"], np.minimum(p, 1), atol=step + 1e-5, err_msg=text)
        assert answer["label"][0] == names[0] or p[0] - p[1] < 2 * step
    assert TextClassifier(small).predict(asked, [{}] * len(asked)) == ours.predict(asked, [{}] * len(asked))


def test_answers_stay_near_those_of_the_whole_model() -> None:
    file = classifier(dim=20, classes=2)
    asked = texts()
    whole = TextClassifier(file).predict(asked, [{}] * len(asked))
    small = TextClassifier(quantize(file)).predict(asked, [{}] * len(asked))
    same = sum(a["label"] == b["label"] for a, b in zip(whole, small, strict=True))
    assert same > 0.93 * len(asked)


def test_pruning_keeps_what_is_longest_and_the_end_of_the_line() -> None:
    file = classifier()
    np.asarray(file.word_rows)[0] = 1e-6
    pruned = prune(file, 300)
    kept = pruned.words()
    assert kept[0] == b"</s>"
    assert len(kept) + pruned.bucket_rows.shape[0] == 300
    words = np.linalg.norm(dense(file.word_rows), axis=1)
    buckets = np.linalg.norm(dense(file.bucket_rows), axis=1)
    least = np.sort(np.concatenate([words[1:], buckets]))[-299]
    assert kept[1:] == [word for word, norm in zip(file.words()[1:], words[1:], strict=True) if norm >= least]
    assert pruned.bucket_ids is not None
    assert file.bucket_ids is not None
    np.testing.assert_array_equal(pruned.bucket_ids, file.bucket_ids[buckets >= least])
    assert pruned.labels() == file.labels()
    np.testing.assert_array_equal(pruned.label_counts(), file.label_counts())
    assert pruned.counts.size == len(kept) + 3


def test_pruned_ngrams_are_no_features() -> None:
    """All n-grams gone, two words of a text are its only features, with the end of the line."""
    file = prune(classifier(), 400)
    gone = dataclasses.replace(file, bucket_ids=np.empty(0, np.int64), bucket_rows=dense(file.bucket_rows)[:0])
    model = TextClassifier(gone)
    known = [word.decode() for word in gone.words()[1:3]]
    rows = dense(gone.word_rows)[:3].mean(axis=0)
    logits = dense(gone.output) @ rows
    (answer,) = model.predict([" ".join(known)], [{"k": -1}])
    expected = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    np.testing.assert_allclose(answer["prob"], expected, rtol=1e-4)
    weights = [part["weight"] for part in model.explain(" ".join(known))]
    assert len(weights) == 3
    assert sum(weights) == pytest.approx(math.log(expected[0] / expected[1]), abs=1e-4)


def test_ngrams_never_seen_stay_zero() -> None:
    for qnorm in (True, False):
        small = quantize(classifier(), qnorm=qnorm)
        assert not dense(small.bucket_rows)[::2].any()
        assert dense(small.bucket_rows)[1::2].any(axis=1).all()


def test_a_mapped_model_of_all_buckets_is_quantised_alike(tmp_path: Path) -> None:
    file = classifier()
    fasttext_file.write(tmp_path / "model.bin", file)
    fasttext_file.write(tmp_path / "a.ftz", quantize(file, cutoff=500))
    fasttext_file.write(tmp_path / "b.ftz", quantize(fasttext_file.read(tmp_path / "model.bin"), cutoff=500))
    assert (tmp_path / "a.ftz").read_bytes() == (tmp_path / "b.ftz").read_bytes()


def test_threads_change_nothing_and_the_seed_does() -> None:
    file = classifier()
    one, two = (quantize(file, threads=threads, seed=1) for threads in (1, 3))
    np.testing.assert_array_equal(dense(one.word_rows), dense(two.word_rows))
    assert (dense(quantize(file, seed=2).word_rows) != dense(one.word_rows)).any()


def test_the_pruned_model_may_be_trained_on() -> None:
    seen: list[FastTextFile] = []

    def retrain(file: FastTextFile) -> FastTextFile:
        seen.append(file)
        return dataclasses.replace(file, output=dense(file.output) * 2)

    file = classifier()
    small = quantize(file, cutoff=300, retrain=retrain)
    assert seen[0].pruned
    assert not seen[0].quantised
    np.testing.assert_array_equal(dense(small.output), 2 * dense(file.output))


def test_a_model_smaller_than_its_quantiser() -> None:
    file = classifier(words=3, buckets=4)
    small = quantize(file, qnorm=False)
    np.testing.assert_array_equal(dense(small.word_rows), file.word_rows)


def test_what_is_not_allowed_is_named_all_at_once() -> None:
    file = classifier()
    with pytest.raises(ClientError, match=r"cutoff = -1 is not allowed.*dsub = 10 is not allowed: an integer, 1 to 9"):
        quantize(file, cutoff=-1, dsub=10)
    with pytest.raises(ClientError, match="quantised already"):
        quantize(quantize(file))


def plain(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    distances = ((points[:, :, None] - centroids[:, None, :]) ** 2).sum(axis=0)
    return np.asarray(distances.min(axis=1))


@pytest.mark.parametrize("columns", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 255, 3000])
def test_the_nearest_centroid_is_found(columns: int, count: int) -> None:
    rng = np.random.default_rng(columns * count)
    points = rng.normal(size=(columns, count)).astype(np.float32)
    points[:, 0] = 0
    centroids = rng.normal(size=(columns, 256)).astype(np.float32)
    codes = np.zeros(count, np.uint8)
    encode(points, centroids, Scratch.of(columns), codes)
    found = ((points - centroids[:, codes]) ** 2).sum(axis=0)
    np.testing.assert_allclose(found, plain(points, centroids), rtol=2**-13, atol=1e-30)


def test_lloyd_lowers_the_error_and_leaves_no_centroid_empty() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(2, 4000)).astype(np.float32)
    centroids = np.repeat(points[:, :64], 4, axis=1)  # four alike: three are empty at first
    codes, scratch = np.zeros(4000, np.uint8), Scratch.of(2)
    encode(points, centroids, scratch, codes)
    errors = [float(plain(points, centroids).sum())]
    for _ in range(10):
        lloyd(points, np.ones(4000, np.float32), centroids, scratch, codes, 2)
        errors.append(float(plain(points, centroids).sum()))
    assert errors[-1] < 0.3 * errors[0]
    assert np.bincount(codes, minlength=256).min() > 0


def test_a_row_far_longer_than_the_others_is_exact() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(5000, 8)).astype(np.float32)
    rows[[7, 70, 700]] *= np.array([[6], [7], [20]], np.float32)
    with ThreadPoolExecutor(1) as pool:
        found = quantize_rows(rows, 2, True, 0, pool).decode()
    for row in (7, 70, 700):
        assert np.linalg.norm(found[row] - rows[row]) < 0.1 * np.linalg.norm(rows[row])


def test_heavy_points_pull_their_centroids() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(2, 4000)).astype(np.float32)
    weights = np.where(points[0] > 1, 100, 0.01).astype(np.float32)
    errors = []
    for some in (weights, np.ones(4000, np.float32)):
        centroids, codes, scratch = points[:, :256].copy(), np.zeros(4000, np.uint8), Scratch.of(2)
        encode(points, centroids, scratch, codes)
        lloyd(points, some, centroids, scratch, codes, 50)
        errors.append(float((plain(points, centroids) * weights).sum()))
    assert errors[0] < errors[1]


def test_more_parts_are_nearer() -> None:
    rows = np.random.default_rng(3).normal(size=(3000, 12)).astype(np.float32)
    with ThreadPoolExecutor(2) as pool:
        errors = [np.abs(quantize_rows(rows, dsub, True, 0, pool).decode() - rows).mean() for dsub in (1, 2, 4)]
    assert errors == sorted(errors)
    assert errors[0] < 0.03
