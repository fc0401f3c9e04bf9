"""A training job from its channels to a model that answers."""

from __future__ import annotations

import gzip
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job, reviews
from wildsage.algorithms.blazingtext import BlazingText, algorithm
from wildsage.algorithms.blazingtext.algorithm import measure
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.algorithms.blazingtext.supervised import EarlierRows
from wildsage.contract.errors import ClientError


def saved(folder: Path, **settings: object) -> Path:
    model = BlazingText().train(job(folder / "job", {"train": reviews(300)}, **settings))
    (folder / "model").mkdir()
    model.save(folder / "model")
    return folder / "model"


def test_a_model_comes_out_that_answers(tmp_path: Path) -> None:
    folder = saved(tmp_path, epochs=10)
    answers = TextClassifier.load(folder).predict(["good nice fine", "bad poor awful"], [{}, {"k": 3}])
    assert answers[0]["label"] == ["__label__a"]
    assert answers[1]["label"][0] == "__label__b"
    assert sum(answers[1]["prob"]) == pytest.approx(1, abs=1e-3)


def test_training_accuracy_is_that_of_the_model(tmp_path: Path) -> None:
    """The rows that epochs run over and the rows that are saved say the same."""
    listener = Listener()
    data = reviews(300)
    model = BlazingText().train(job(tmp_path, {"train": data}, listener, epochs=5))
    right, lines = 0, data.decode().splitlines()
    for line in lines:
        words = line.split()
        labels = {word for word in words if word.startswith("__label__")}
        answer = model.predict([" ".join(word for word in words if word not in labels)], [{}])[0]
        right += answer["label"][0] in labels
    assert listener.metrics[-1][:2] == ("train:accuracy", right / len(lines))


def test_notes_are_told(tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": reviews(50), "evaluation": b"good nice 9\n"}
    BlazingText().train(job(tmp_path, channels, listener, window_size=3))
    assert "channel evaluation has no effect in mode supervised (it is for the other modes)" in listener.lines
    assert "window_size has no effect in mode supervised (it is for batch_skipgram, skipgram, cbow)" in listener.lines


def test_memory_grows_with_what_is_asked(tmp_path: Path) -> None:
    data = reviews(20_000)
    channels = {"train": data}

    def estimate(**settings: object) -> int:
        return BlazingText().estimate_memory(job(tmp_path, channels, **settings)).peak_bytes

    small = estimate()
    for values in ({"vector_dim": 100}, {"word_ngrams": 3, "buckets": 2_000_000}, {"early_stopping": True}):
        assert estimate(**values) > small
    packed = {"train": {"text.gz": gzip.compress(data), "damaged.gz": b"\x1f\x8bno"}}
    assert small / 3 < BlazingText().estimate_memory(job(tmp_path / "gz", packed)).peak_bytes < 3 * small
    told = BlazingText().estimate_memory(job(tmp_path, channels, vector_dim=64)).advice
    assert "vector_dim (now 64)" in told


@pytest.mark.parametrize("packed", [False, True])
def test_training_goes_on_from_an_earlier_model(packed: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path, epochs=5)
    content = (folder / "model.bin").read_bytes()
    if packed:
        with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
            archive.add(folder / "model.bin", "./model.bin")
        files = {"model.tar.gz": (tmp_path / "model.tar.gz").read_bytes()}
    else:
        files = {"model.bin": content}
    earlier = EarlierRows(TextClassifier.load(folder).file)
    more = b"__label__b newword bad\n__label__d other\n" * 20
    listener = Listener()
    # A rate of next to nothing shows where training starts.
    context = job(tmp_path / "more", {"train": more, "model": files}, listener, learning_rate=1e-12, epochs=1)
    model = BlazingText().train(context)
    assert any("going on from a model of" in line for line in listener.lines)
    now = EarlierRows(model.file)
    assert set(now.words) == set(earlier.words) | {b"newword", b"other"}
    assert set(now.labels) == {b"__label__a", b"__label__b", b"__label__c", b"__label__d"}
    for word in earlier.words:
        np.testing.assert_allclose(now.word_rows[now.words[word]], earlier.word_rows[earlier.words[word]], atol=1e-6)
    for label in earlier.labels:
        np.testing.assert_allclose(now.output[now.labels[label]], earlier.output[earlier.labels[label]], atol=1e-6)
    places = np.searchsorted(now.bucket_ids, earlier.bucket_ids)
    np.testing.assert_allclose(now.bucket_rows[places], earlier.bucket_rows, atol=1e-6)
    before = TextClassifier.load(folder).predict(["nice fine good"], [{}])[0]
    assert model.predict(["nice fine good"], [{}])[0]["label"] == before["label"]
    # And with a rate that counts, it learns.
    context = job(tmp_path / "learn", {"train": more, "model": files}, epochs=10)
    assert BlazingText().train(context).predict(["other"], [{}])[0]["label"] == ["__label__d"]


def test_a_model_of_the_fasttext_package_is_gone_on_from(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    (tmp_path / "text").write_bytes(reviews(300))
    model = fasttext.train_supervised(
        str(tmp_path / "text"), dim=8, epoch=5, lr=0.5, wordNgrams=2, bucket=1000, thread=10, verbose=0
    )
    (tmp_path / "model").mkdir()
    model.save_model(str(tmp_path / "model" / "model.bin"))
    files = {"model.bin": (tmp_path / "model" / "model.bin").read_bytes()}
    context = job(tmp_path / "job", {"train": reviews(60, seed=5), "model": files}, epochs=1, learning_rate=1e-12)
    ours = BlazingText().train(context)
    for text in ("good nice fine", "bad poor", "so average meh", "good bad"):
        labels, _ = model.predict(text)
        assert ours.predict([text], [{}])[0]["label"] == list(labels)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"vector_dim": 9}, "its vectors have 8 columns, so vector_dim must be 8"),
        ({"buckets": 50}, "it has 1000 buckets, so buckets must be 1000"),
    ],
)
def test_an_earlier_model_must_fit(settings: dict[str, int], reason: str, tmp_path: Path) -> None:
    files = {"model.bin": (saved(tmp_path, epochs=1) / "model.bin").read_bytes()}
    with pytest.raises(ClientError, match=f"channel model: {reason}"):
        BlazingText().train(job(tmp_path / "more", {"train": reviews(60), "model": files}, **settings))


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"no archive", mtime=0)])
def test_a_damaged_archive_is_named(content: bytes, tmp_path: Path) -> None:
    channels = {"train": reviews(60), "model": {"model.tar.gz": content}}
    with pytest.raises(ClientError, match=r"model\.tar\.gz"):
        BlazingText().train(job(tmp_path, channels))


def test_an_archive_cannot_write_where_it_likes(tmp_path: Path) -> None:
    folder = saved(tmp_path, epochs=1)
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        archive.add(folder / "model.bin", "../../outside")
        archive.add(folder / "model.bin", "../../model.bin")
    channels = {"train": reviews(60), "model": {"m.tar.gz": (tmp_path / "m.tar.gz").read_bytes()}}
    BlazingText().train(job(tmp_path / "a" / "b", channels))
    assert not list(tmp_path.rglob("outside"))


def test_real_reviews_are_learnt(data_folder: Path, tmp_path: Path) -> None:
    reviews_folder = data_folder / "womens-clothing-reviews"
    channels = {
        name: {"text.gz": (reviews_folder / f"blazingtext_{name}.txt.gz").read_bytes()}
        for name in ("train", "validation")
    }
    listener = Listener()
    settings = {"vector_dim": 100, "buckets": 2_000_000, "min_count": 2, "epochs": 10, "learning_rate": 0.1}
    model = BlazingText().train(job(tmp_path, channels, listener, threads=2, **settings))
    assert listener.facts["train_examples"] == 6399
    assert listener.validations()[-1] > 0.6  # fastText: 0.626 in the mean of five seeds
    assert not any(b'"' in word for word in EarlierRows(model.file).words if len(word) > 20)


def test_a_repeated_word_needs_little_memory(tmp_path: Path) -> None:
    data = b"__label__a " + b"abc " * 2_000_000 + b"\n__label__b abc\n"
    estimate = BlazingText().estimate_memory(job(tmp_path, {"train": data}, vector_dim=100, buckets=2_000_000))
    assert estimate.peak_bytes < 500_000_000


@pytest.mark.parametrize("skew", [1.05, 1.3, 2.0])
def test_distinct_words_are_extrapolated_from_the_head(skew: float, tmp_path: Path) -> None:
    ranks = np.random.default_rng(1).zipf(skew, 400_000)
    words = [b"w%d" % rank for rank in ranks.tolist()]
    lines = [b"__label__%d " % (i % 2) + b" ".join(words[i * 40 : (i + 1) * 40]) for i in range(10_000)]
    channel = job(tmp_path, {"train": b"\n".join(lines) + b"\n"}).channels["train"]
    extent = measure(channel, 2)
    assert len(set(words)) < extent.words < 4 * len(set(words)) + 1000
    pairs = {pair for line in lines for pair in pairwise(line.split()[1:])}
    assert len(pairs) / 2 < extent.ngrams < 3 * len(pairs)


def test_rows_that_do_not_fit_are_refused_once_they_are_known(tmp_path: Path) -> None:
    context = replace(job(tmp_path, {"train": reviews(400)}, vector_dim=100), memory_bytes=100_000)
    with pytest.raises(ClientError, match=r"distinct words and n-grams, .* lower vector_dim \(now 100\)"):
        BlazingText().train(context)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3), st.integers(0, 10**6))
def test_a_flipped_or_cut_archive_is_unpacked_or_a_client_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "model.bin").write_bytes(b"some model" * 50)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "model.bin", "a/model.bin")
    data = bytearray((folder / "model.tar.gz").read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    (folder / "model.tar.gz").write_bytes(data[: cut % (2 * len(data))])
    (folder / "to").mkdir()
    try:
        found = algorithm._unpacked(folder / "model.tar.gz", folder / "to", "model.bin")
    except ClientError:
        return
    assert (folder / "to" / "model.bin").exists() == found
