"""The classifier beside the fastText package, and its answers to what is no text."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.blazingtext.fasttext_file import FastTextSettings
from wildsage.algorithms.blazingtext.kernels.predict import (
    HIERARCHICAL,
    NEGATIVE,
    ONE_VS_ALL,
    SIGMOID,
    SOFTMAX,
    pick_best,
)
from wildsage.algorithms.blazingtext.model import TextClassifier, label_tree
from wildsage.contract.errors import AlgorithmError, ClientError, DataError

VOCABULARY = [
    "good",
    "bad",
    "Größe",
    "日本語",
    "naïve",
    "🙂",
    "a",
    "the",
    "movie",
    "film,",
    "!",
    "e\u0301",
    "__lab",
    "x" * 40,
]
LABELS = ["__label__pos", "__label__neg", "__label__naïve", "__label__4", "__label__5"]
TEXTS = [
    "",
    "   ",
    "good",
    "good movie",
    "the  good\tmovie\r\n",
    "\vgood\ffilm, ! !",
    "nothing known here",
    "half known good here bad",
    "日本語 🙂 Größe unknownß",
    "__label__pos good",
    "__label__unknown good bad",
    "__label__neg",
    "good </s> bad movie",
    "good\0bad movie",
    "a" * 300,
    "a good film, " * 200,
    "e\u0301 \u00e9 \ufffd \U0010ffff",
    " \u00a0good\u2003bad ",
]
ALL = [{"k": 100}]


def train_file(folder: Path, lines: int = 150, end: str = "\n") -> Path:
    source = random.Random(7)
    path = folder / "train.txt"
    written = []
    for _ in range(lines):
        label = source.randrange(len(LABELS))
        words = [VOCABULARY[(label * 3 + source.randrange(6)) % len(VOCABULARY)] for _ in range(source.randrange(1, 9))]
        written.append(" ".join([LABELS[label], *words]))
    path.write_text(end.join(written) + end, encoding="utf-8")
    return path


def train(folder: Path, **settings: Any) -> tuple[Any, TextClassifier]:
    """A model that the package trained, as it loads it and as we do. With 20 threads it fills the smallest matrix."""
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    chosen = {"dim": 12, "epoch": 20, "lr": 0.5, "bucket": 5000, "minCount": 1, "thread": 20, "verbose": 0} | settings
    model = fasttext.train_supervised(str(train_file(folder)), **chosen)
    model.save_model(str(folder / "model.bin"))
    return fasttext.load_model(str(folder / "model.bin")), TextClassifier.load(folder)


def assert_same_answers(theirs: Any, ours: TextClassifier, texts: list[str]) -> None:
    """Probabilities are equal to 0.00001, labels too, but for the order of those that are that near to each other.

    The package adds 0.00001 to a probability where it takes a logarithm: to each, or in a label tree on each level
    (there we do as it does). Two losses read a table of the sigmoid: a sum at a cell's edge may fall to either side.
    """
    loss = ours.file.settings.loss
    added = 0 if loss == HIERARCHICAL else 1e-5
    # Codes are added up in another order, and so are rows: those of one column are learnt to be large.
    exact = 2e-5 if ours.file.quantised else 5e-5 if ours.file.settings.dim == 1 else 1e-5
    step = float(np.diff(SIGMOID).max()) + exact if loss in (NEGATIVE, ONE_VS_ALL) else exact
    answers = ours.predict(texts, ALL * len(texts))
    differences = [0.0]
    for text, best, answer in zip(texts, ours.predict(texts, [{}] * len(texts)), answers, strict=True):
        labels, probabilities = theirs.predict(text.replace("\n", " "), k=100)
        expected = {label: min(1.0, float(p) - added) for label, p in zip(labels, probabilities, strict=True)}
        assert best == {"label": answer["label"][:1], "prob": answer["prob"][:1]}
        found = dict(zip(answer["label"], answer["prob"], strict=True))
        # A tree's leaf at the floor of 0.00001 may fall to either side of it.
        assert all((found | expected)[label] < 1.01e-5 for label in found.keys() ^ expected.keys()), text
        assert answer["prob"] == sorted(answer["prob"], reverse=True)
        assert all(0 <= p <= 1 for p in answer["prob"])
        differences += [
            abs(p - expected[label])
            for label, p in zip(answer["label"], answer["prob"], strict=True)
            if label in expected
        ]
        if len(labels) > 1 and probabilities[0] - probabilities[1] > 2 * step:
            assert answer["label"][0] == labels[0]
    assert max(differences) < step
    assert np.mean(np.array(differences) < 1e-5) > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"wordNgrams": 2},
        {"wordNgrams": 3, "dim": 7},
        {"wordNgrams": 5, "bucket": 1, "dim": 1},
        {"minn": 2, "maxn": 4},
        {"minn": 1, "maxn": 3, "wordNgrams": 2, "dim": 16},
        {"minn": 0, "maxn": 1},
    ],
    ids=str,
)
def test_answers_are_those_of_the_package(tmp_path: Path, settings: dict[str, Any]) -> None:
    theirs, ours = train(tmp_path, **settings)
    assert ours.labels == theirs.labels
    assert_same_answers(theirs, ours, TEXTS)


@pytest.mark.parametrize("loss", ["hs", "ns", "ova"])
def test_other_losses_answer_as_the_package(tmp_path: Path, loss: str) -> None:
    theirs, ours = train(tmp_path, loss=loss, wordNgrams=2)
    assert_same_answers(theirs, ours, TEXTS)


def test_unlikely_leaves_are_left_out_as_in_the_package(tmp_path: Path) -> None:
    theirs, ours = train(tmp_path, loss="hs", epoch=300, lr=1.0)
    assert_same_answers(theirs, ours, TEXTS)
    assert min(len(answer["label"]) for answer in ours.predict(TEXTS, ALL * len(TEXTS))) < len(LABELS)


def test_version_11_has_no_character_ngrams(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    train(tmp_path, minn=2, maxn=3, wordNgrams=2)
    data = bytearray((tmp_path / "model.bin").read_bytes())
    data[4:8] = (11).to_bytes(4, "little")
    (tmp_path / "model.bin").write_bytes(data)
    assert_same_answers(fasttext.load_model(str(tmp_path / "model.bin")), TextClassifier.load(tmp_path), TEXTS)


def test_a_model_that_never_saw_a_line_end(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    text = tmp_path / "train.txt"
    text.write_text("__label__a good __label__b bad " * 20)
    model = fasttext.train_supervised(str(text), dim=10, thread=20, minCount=1, verbose=0)
    model.save_model(str(tmp_path / "model.bin"))
    ours = TextClassifier.load(tmp_path)
    assert ours.predict(["", "zzz", "good"], [{}, {}, {}])[:2] == [{"label": [], "prob": []}] * 2
    assert ours.predict(["zzz"], [{"k": 2}]) == [{"label": [], "prob": []}]
    assert_same_answers(model, ours, ["", "good", "good bad", "zzz good"])


PACKAGE_MODELS: dict[str, tuple[Any, TextClassifier]] = {}


@given(
    st.lists(
        st.text(st.one_of(st.sampled_from(" \n\t\0<>/s_abl"), st.characters(exclude_categories=["Cs"]))), max_size=6
    )
)
def test_any_text_has_the_package_s_answer(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    if "any" not in PACKAGE_MODELS:
        PACKAGE_MODELS["any"] = train(tmp_path_factory.mktemp("any"), wordNgrams=3, minn=1, maxn=3)
    theirs, ours = PACKAGE_MODELS["any"]
    assert_same_answers(theirs, ours, texts)


def random_model(
    *, dim: int = 12, words: int = 50, classes: int = 4, seed: int = 0, bucket_ids: Any = (), **settings: Any
) -> TextClassifier:
    rng = np.random.default_rng(seed)
    ids = np.array(bucket_ids, np.int64)
    return TextClassifier.from_training(
        words=[b"</s>", *(f"word{i}".encode() for i in range(words - 1))],
        word_counts=np.arange(words, 0, -1),
        labels=[f"__label__{i}".encode() for i in range(classes)],
        label_counts=np.arange(classes, 0, -1),
        settings=FastTextSettings(dim=dim, **settings),
        word_rows=rng.normal(size=(words, dim)).astype(np.float32),
        bucket_ids=ids,
        bucket_rows=rng.normal(size=(ids.size, dim)).astype(np.float32),
        output=rng.normal(size=(classes, dim)).astype(np.float32),
    )


WORD_TEXTS = ["", "word1", "word1 word2 word3", "word7 new word8 new", " ".join(f"word{i}" for i in range(49)) * 3]


@pytest.mark.parametrize("loss", [1, 2, 3, 4])
@pytest.mark.parametrize(("word_ngrams", "maxn"), [(1, 0), (2, 0), (3, 3)])
def test_the_package_loads_what_we_save(tmp_path: Path, loss: int, word_ngrams: int, maxn: int) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    ids = range(0, 1000, 3) if word_ngrams > 1 else ()
    model = random_model(word_ngrams=word_ngrams, loss=loss, bucket=1000, minn=min(2, maxn), maxn=maxn, bucket_ids=ids)
    model.save(tmp_path)
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    assert_same_answers(theirs, model, WORD_TEXTS)
    loaded = TextClassifier.load(tmp_path)
    for mine, mapped in zip(model.predict(WORD_TEXTS, ALL * 5), loaded.predict(WORD_TEXTS, ALL * 5), strict=True):
        assert mapped["label"] == mine["label"]
        assert mapped["prob"] == pytest.approx(mine["prob"], abs=1e-6)
    again = tmp_path / "again"
    again.mkdir()
    loaded.save(again)
    assert (again / "model.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_a_model_may_be_saved_over_its_own_file(tmp_path: Path) -> None:
    random_model(word_ngrams=2, bucket=100, bucket_ids=[3, 50]).save(tmp_path)
    model = TextClassifier.load(tmp_path)
    before = (tmp_path / "model.bin").read_bytes()
    model.save(tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == before
    model.warm_up()


def test_without_ngrams_there_are_no_buckets() -> None:
    assert random_model(word_ngrams=1).file.settings.bucket == 0


def test_a_batch_answers_as_one_at_a_time() -> None:
    model = random_model(word_ngrams=2, bucket=1000, bucket_ids=range(0, 1000, 2), classes=30)
    options = [{"k": 1 + i % 4} if i % 3 else {} for i in range(len(TEXTS))]
    single = [model.predict([text], [option])[0] for text, option in zip(TEXTS, options, strict=True)]
    assert model.predict(TEXTS, options) == single
    assert [len(answer["label"]) for answer in single] == [option.get("k", 1) for option in options]
    assert model.predict([], []) == []


def test_more_labels_than_there_are() -> None:
    model = random_model(classes=3)
    (answer,) = model.predict(["word1"], [{"k": 10**9}])
    assert sorted(answer["label"]) == ["__label__0", "__label__1", "__label__2"]
    assert sum(answer["prob"]) == pytest.approx(1)
    assert answer["prob"] == sorted(answer["prob"], reverse=True)


def test_one_label_alone() -> None:
    for loss in (1, 3):
        assert random_model(classes=1, loss=loss).predict(["word1"], [{}]) == [{"label": ["__label__0"], "prob": [1.0]}]


@pytest.mark.parametrize("k", [0, -2, True, 2.0, "2", None, [1]])
def test_a_wrong_k_is_named(k: Any) -> None:
    with pytest.raises(ClientError, match=r"instance 1: k = .* is not allowed: an integer, 1 or more"):
        random_model().predict(["word1", "word2"], [{}, {"k": k}])


def test_all_labels_are_asked_for_as_in_the_package() -> None:
    model = random_model(classes=7)
    assert model.predict(["word1"], [{"k": -1}]) == model.predict(["word1"], [{"k": 7}])


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan, True, "0.5", None])
def test_a_wrong_threshold_is_named(threshold: Any) -> None:
    with pytest.raises(ClientError, match=r"instance 1: threshold = .* is not allowed: a number from 0 to 1"):
        random_model().predict(["word1", "word2"], [{}, {"threshold": threshold}])


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_a_threshold_leaves_what_it_leaves_in_the_package(tmp_path: Path, loss: str) -> None:
    theirs, ours = train(tmp_path, loss=loss, epoch=3)
    left = 0
    for text in ("good movie", "日本語 🙂", "bad", "unknown"):
        for threshold in (0.0, 0.05, 0.2, 0.31, 0.5, 1.0):
            labels, _ = theirs.predict(text, k=-1, threshold=threshold)
            (answer,) = ours.predict([text], [{"k": -1, "threshold": threshold}])
            near = [p for p in ours.predict([text], [{"k": -1}])[0]["prob"] if abs(p - threshold) < 2e-5]
            assert near or set(answer["label"]) == set(labels)
            left += len(labels)
    assert left > 20


@pytest.mark.parametrize("explain", [1, "yes", None])
def test_a_wrong_explain_is_named(explain: Any) -> None:
    with pytest.raises(ClientError, match=r"instance 0: explain = .* is not allowed: true or false"):
        random_model().predict(["word1"], [{"explain": explain}])


@pytest.mark.parametrize("loss", [1, 2, 3, 4])
@pytest.mark.parametrize("ngrams", [{"word_ngrams": 1}, {"word_ngrams": 3, "bucket": 50, "minn": 2, "maxn": 3}])
def test_the_weights_of_an_explanation_sum_to_the_log_odds(loss: int, ngrams: dict[str, Any]) -> None:
    ids = range(0, 50, 2) if "bucket" in ngrams else ()
    model = random_model(loss=loss, bucket_ids=ids, classes=5, **ngrams)
    for text in ("word1", "word2 \t new\0word3 __label__9 word4", " ".join(f"word{i} x{i}" for i in range(400)), ""):
        plain, told = model.predict([text, text], [{"k": -1}, {"explain": True}])
        assert told["label"] == plain["label"][:1]
        total = sum(part["weight"] for part in told["explanation"])
        p = plain["prob"]
        if loss == SOFTMAX:
            assert total == pytest.approx(math.log(p[0] / p[1]), abs=1e-3)
        elif loss in (NEGATIVE, ONE_VS_ALL):
            assert abs(1 / (1 + math.exp(-total)) - p[0]) < float(np.diff(SIGMOID).max())


def test_an_explanation_names_what_it_weighs() -> None:
    model = random_model(word_ngrams=2, bucket=100, bucket_ids=range(100))
    (answer,) = model.predict(["word1 zzz word2"], [{"explain": True}])
    tokens = [part["token"] for part in answer["explanation"]]
    assert tokens == ["word1", "word1 zzz", "word2", "zzz word2", "</s>", "word2 </s>"]
    without_end = [part["token"] for part in model.explain("word1 </s> word2")]
    assert without_end == ["word1", "</s>", "word1 </s>"]
    assert set(answer) == {"label", "prob", "explanation"}


def test_a_word_s_character_ngrams_are_its_own() -> None:
    model = random_model(bucket=100, bucket_ids=range(0, 100, 3), minn=1, maxn=4)
    assert [part["token"] for part in model.explain("word1 Größe")] == ["word1", "Größe", "</s>"]


def test_leaving_a_word_out_changes_the_odds_by_its_weight() -> None:
    model = random_model(classes=2)
    parts = {part["token"]: part["weight"] for part in model.explain("word1 word2 word3")}
    (whole,) = model.predict(["word1 word2 word3"], [{"k": 2}])
    (less,) = model.predict(["word1 word3"], [{"k": 2}])
    odds = {label: math.log(p) for label, p in zip(less["label"], less["prob"], strict=True)}
    best, other = whole["label"]
    # Four features became three, so what is left weighs 4/3 of what it did.
    assert odds[best] - odds[other] == pytest.approx((sum(parts.values()) - parts["word2"]) * 4 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (3, "a number"),
        (1.5, "a number"),
        (False, "true or false"),
        (["a"], "an array"),
        ({}, "an object"),
    ],
)
def test_what_is_no_text_is_named(value: Any, kind: str) -> None:
    with pytest.raises(ClientError, match=f"instance 2 is {kind}"):
        random_model().predict(["word1", "word2", value], [{}, {}, {}])


def test_half_a_surrogate_pair_is_an_unknown_word() -> None:
    model = random_model()
    assert model.predict(["word1 \ud83d"], [{}]) == model.predict(["word1 unknown"], [{}])


def test_rows_that_are_not_numbers_are_reported() -> None:
    for loss in (1, 2, 3, 4):
        model = random_model(loss=loss)
        model.file.word_rows[3] = np.nan
        with pytest.raises(ClientError, match="instance 1: the model's answer is not a number"):
            model.predict(["word1", "word2"], [{}, {}])


def test_a_long_text_is_summed_in_blocks() -> None:
    model = random_model(word_ngrams=3, bucket=100, bucket_ids=range(100), minn=1, maxn=2)
    words = [f"word{i % 60}" for i in range(5000)]
    assert model.predict([" ".join(words)], [{}])[0]["prob"][0] > 0
    longest = random_model(word_ngrams=1024, bucket=10, bucket_ids=range(10))
    assert longest.predict([" ".join(words[:2000])], [{}])[0]["prob"][0] > 0


@pytest.mark.parametrize("name", ["model.bin", "lid.bin"])
def test_a_folder_is_recognised_by_its_magic(tmp_path: Path, name: str) -> None:
    assert not TextClassifier.recognises(tmp_path)
    random_model().save(tmp_path)
    (tmp_path / "model.bin").rename(tmp_path / name)
    (tmp_path / "._lid.bin").write_bytes(b"left by an archive of a Mac")
    assert TextClassifier.recognises(tmp_path)
    assert TextClassifier.load(tmp_path).labels[0] == "__label__0"
    (tmp_path / name).write_bytes(b"something else")
    assert not TextClassifier.recognises(tmp_path)


def test_a_folder_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="but nothing"):
        TextClassifier.load(tmp_path)
    (tmp_path / "a.bin").touch()
    (tmp_path / "b.bin").touch()
    with pytest.raises(DataError, match=r"but a\.bin, b\.bin"):
        TextClassifier.load(tmp_path)


@pytest.mark.parametrize("loss", ["softmax", "hs", "ova"])
@pytest.mark.parametrize(
    "settings", [{"cutoff": 400}, {"cutoff": 300, "qnorm": True, "dsub": 3}, {"qnorm": True, "dsub": 1}, {"dsub": 7}]
)
def test_models_that_the_package_quantised_answer_alike(tmp_path: Path, loss: str, settings: dict[str, Any]) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    text = train_file(tmp_path, lines=500)
    options = {"dim": 7, "wordNgrams": 2, "minn": 2, "maxn": 3, "bucket": 1000, "minCount": 1, "loss": loss}
    model = fasttext.train_supervised(str(text), thread=20, verbose=0, epoch=20, lr=0.5, **options)
    model.quantize(input=str(text), retrain=False, **settings)
    model.save_model(str(tmp_path / "model.ftz"))
    ours = TextClassifier.load(tmp_path)
    assert ours.file.quantised
    assert_same_answers(fasttext.load_model(str(tmp_path / "model.ftz")), ours, TEXTS)
    ours.save(tmp_path)
    assert_same_answers(fasttext.load_model(str(tmp_path / "model.ftz")), ours, TEXTS)


def test_quantised_labels_answer_as_in_the_package(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    source = random.Random(3)
    lines = [f"__label__{i % 300} word{i % 300} word{source.randrange(40)}" for i in range(3000)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n")
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), dim=6, thread=20, verbose=0, epoch=10, lr=0.5)
    model.quantize(input=str(tmp_path / "train.txt"), retrain=False, qout=True, qnorm=True)
    model.save_model(str(tmp_path / "model.ftz"))
    ours = TextClassifier.load(tmp_path)
    assert_same_answers(fasttext.load_model(str(tmp_path / "model.ftz")), ours, ["word1", "word2 word3", "", "zzz"])


def test_word_vectors_are_no_classifier(tmp_path: Path) -> None:
    random_model(word_ngrams=1).save(tmp_path)
    data = bytearray((tmp_path / "model.bin").read_bytes())
    data[36:40] = (2).to_bytes(4, "little")
    (tmp_path / "model.bin").write_bytes(data)
    assert not TextClassifier.recognises(tmp_path)


def test_counts_that_make_no_tree_are_refused(tmp_path: Path) -> None:
    random_model(loss=1).save(tmp_path)
    data = (tmp_path / "model.bin").read_bytes()
    place = data.index(b"__label__0\0") + 11
    (tmp_path / "model.bin").write_bytes(data[:place] + b"\xff" * 8 + data[place + 8 :])
    with pytest.raises(DataError, match=r"model\.bin: the counts of its labels"):
        TextClassifier.load(tmp_path)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_the_tree_is_a_huffman_code(counts: list[int]) -> None:
    counts.sort(reverse=True)
    classes = len(counts)
    tree = label_tree(np.array(counts, np.int64))
    assert sorted(tree.ravel().tolist()) == list(range(2 * classes - 2))
    depth = {2 * classes - 2: 0}
    for inner in range(classes - 2, -1, -1):
        for child in tree[inner].tolist():
            depth[child] = depth[classes + inner] + 1
    cost = sum(count * depth[label] for label, count in enumerate(counts))
    heap = sorted(counts)
    best = 0
    while len(heap) > 1:
        merged = heap[0] + heap[1]
        best += merged
        heap = sorted([merged, *heap[2:]])
    assert cost == best


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40), st.integers(1, 40))
def test_the_best_come_first_and_ties_by_number(scores: list[float], k: int) -> None:
    k = min(k, len(scores))
    ids, found = np.empty(k, np.int32), np.empty(k, np.float32)
    pick_best(np.array(scores, np.float32), ids, found)
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert ids.tolist() == [i if scores[i] >= 0 else -1 for i in expected]
    assert found.tolist() == [scores[i] for i in expected]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"word_counts": np.ones(2, np.int64)}, "word_counts must be of shape"),
        ({"output": np.ones((2, 3), np.float32)}, "output must be of shape"),
        ({"bucket_ids": np.array([2, 1])}, "bucket_ids must ascend"),
        ({"bucket_ids": np.array([1, 10])}, "bucket_ids must ascend within 0 and 9"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, Any], reason: str) -> None:
    parts: dict[str, Any] = {
        "words": [b"</s>"],
        "word_counts": np.ones(1, np.int64),
        "labels": [b"__label__a"],
        "label_counts": np.ones(1, np.int64),
        "settings": FastTextSettings(dim=3, word_ngrams=2, bucket=10),
        "word_rows": np.ones((1, 3), np.float32),
        "bucket_ids": np.array([1, 2]),
        "bucket_rows": np.ones((2, 3), np.float32),
        "output": np.ones((1, 3), np.float32),
    }
    assert TextClassifier.from_training(**parts).predict(["a"], [{}]) == [{"label": ["__label__a"], "prob": [1.0]}]
    with pytest.raises(AlgorithmError, match=reason):
        TextClassifier.from_training(**(parts | change))


def test_softmax_by_hand() -> None:
    model = random_model(word_ngrams=2, bucket=4, bucket_ids=[0, 1, 2, 3], classes=3)
    file = model.file
    eos_and_word = file.word_rows[[2, 0]].sum(axis=0, dtype=np.float64)
    (answer,) = model.predict(["word1"], ALL)
    candidates = []
    for bucket in range(4):
        logits = file.output @ ((eos_and_word + file.bucket_rows[bucket]) / 3)
        candidates.append(np.sort(np.exp(logits) / np.exp(logits).sum())[::-1])
    assert min(float(np.abs(answer["prob"] - candidate).max()) for candidate in candidates) < 1e-6
    assert math.isclose(sum(answer["prob"]), 1, rel_tol=1e-6)
