"""Word vectors beside the fastText package and gensim, in both directions, and their answers to what is no word."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.blazingtext import BlazingText, fasttext_file
from wildsage.algorithms.blazingtext.fasttext_file import CBOW, SKIP_GRAM, FastTextSettings
from wildsage.algorithms.blazingtext.quantize import quantize
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.errors import AlgorithmError, ClientError, DataError

WORDS = ["</s>", "good", "Größe", "日本語", "naïve", "🙂", "a", "movie", "film,", "!", "x" * 40]
OTHERS = ["goodness", "unknown", "Größen", "日本", "ab", "é", "", "two words", "<good>", "good\n", "</s", "b" * 3000]


def made(
    *, dim: int = 12, seed: int = 0, words: list[str] | None = None, outputs: bool = True, **settings: Any
) -> WordVectors:
    """A model of random rows; a third of the buckets have one."""
    rng = np.random.default_rng(seed)
    words = WORDS if words is None else words
    ids = np.arange(0, settings.get("bucket", 0), 3)
    output = rng.normal(size=(len(words) if outputs else 0, dim)).astype(np.float32)
    return WordVectors.from_training(
        words=[word.encode() for word in words],
        word_counts=np.arange(len(words) + 5, 5, -1),
        settings=FastTextSettings(dim=dim, **({"model": SKIP_GRAM, "loss": 2} | settings)),
        word_rows=rng.normal(size=(len(words), dim)).astype(np.float32),
        bucket_ids=ids,
        bucket_rows=rng.normal(size=(ids.size, dim)).astype(np.float32),
        output=output,
    )


SUBWORDS = {"bucket": 500, "minn": 3, "maxn": 6}


def trained(folder: Path, **settings: Any) -> Any:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    rng = np.random.default_rng(5)
    lines = [" ".join(rng.choice(WORDS[1:], 9)) for _ in range(300)]
    (folder / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"dim": 10, "bucket": 1000, "minCount": 1, "epoch": 2, "thread": 20, "verbose": 0} | settings
    model = fasttext.train_unsupervised(str(folder / "train.txt"), **options)
    (folder / "model").mkdir()
    model.save_model(str(folder / "model" / "vectors.bin"))
    return model


@pytest.mark.parametrize("model", ["cbow", "skipgram"])
@pytest.mark.parametrize("loss", ["ns", "hs", "softmax"])
@pytest.mark.parametrize("grams", [{"minn": 3, "maxn": 6}, {"minn": 0, "maxn": 0}, {"minn": 1, "maxn": 2}], ids=str)
def test_vectors_of_the_package_are_ours(tmp_path: Path, model: str, loss: str, grams: dict[str, int]) -> None:
    theirs = trained(tmp_path, model=model, loss=loss, **grams)
    ours = WordVectors.load(tmp_path / "model")
    assert [word.decode() for word in ours.words] == theirs.words
    words = [*theirs.words, *(word for word in OTHERS if "\n" not in word)]
    expected = np.stack([theirs.get_word_vector(word) for word in words])
    np.testing.assert_allclose(ours.of(words), expected, atol=1e-5)
    np.testing.assert_allclose(ours.vectors(0, len(theirs.words)), expected[: len(theirs.words)], atol=1e-5)
    again = tmp_path / "again"
    again.mkdir()
    ours.save(again)
    before, after = ((tmp_path / name / "vectors.bin").read_bytes() for name in ("model", "again"))
    flag = len(before) - 4 * ours.file.output.size - fasttext_file.SHAPE.size  # memory as it was, from the package
    assert before[:flag] + before[flag + 1 :] == after[:flag] + after[flag + 1 :]


@pytest.mark.parametrize("model", [CBOW, SKIP_GRAM])
@pytest.mark.parametrize("loss", [1, 2, 3])
@pytest.mark.parametrize("grams", [{}, SUBWORDS], ids=str)
@pytest.mark.parametrize("outputs", [True, False])
def test_the_package_loads_what_we_save(
    tmp_path: Path, model: int, loss: int, grams: dict[str, int], outputs: bool
) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    ours = made(model=model, loss=loss, outputs=outputs, **grams)
    ours.save(tmp_path)
    theirs = fasttext.load_model(str(tmp_path / "vectors.bin"))
    assert theirs.words == WORDS
    words = [*WORDS, *(word for word in OTHERS if "\n" not in word)]
    np.testing.assert_allclose([theirs.get_word_vector(word) for word in words], ours.of(words), atol=1e-5)
    assert [word for _, word in theirs.get_nearest_neighbors("good", k=5)] == [w for w, _ in ours.nearest("good", 5)]
    with_a = [word for _, word in theirs.get_analogies("movie", "good", "a", k=3)]
    assert with_a == [word for word, _ in ours.analogy("good", "movie", "a", 3)]


def gensim_python() -> str:
    """A Python that has gensim, which pulls older libraries in and so lives apart: ours, or WILDSAGE_GENSIM_PYTHON."""
    named = os.environ.get("WILDSAGE_GENSIM_PYTHON", "")
    if named:
        return named
    if find_spec("gensim") is None:
        pytest.skip("gensim is not installed, nor does WILDSAGE_GENSIM_PYTHON name a Python that has it")
    return sys.executable


READ = """
import json, sys
from gensim.models import KeyedVectors
from gensim.models.fasttext import load_facebook_model
folder, words = sys.argv[1], json.loads(sys.argv[2])
full = load_facebook_model(f"{folder}/vectors.bin")
text = KeyedVectors.load_word2vec_format(f"{folder}/vectors.txt")
binary = KeyedVectors.load_word2vec_format(f"{folder}/export.bin", binary=True)
known = list(text.index_to_key)
text.save_word2vec_format(f"{folder}/theirs.txt")
text.save_word2vec_format(f"{folder}/theirs.bin", binary=True)
from gensim.models.fasttext import save_facebook_model
save_facebook_model(full, f"{folder}/theirs/vectors.bin")
print(json.dumps({
    "full": [full.wv[word].tolist() for word in words],
    "known": known,
    "text": [text[word].tolist() for word in known],
    "binary": [binary[word].tolist() for word in known],
}))
"""


def test_gensim_loads_what_we_save_and_we_what_it_saves(tmp_path: Path) -> None:
    python = gensim_python()
    (tmp_path / "theirs").mkdir()
    ours = made(**SUBWORDS)
    ours.save(tmp_path)
    ours.export(tmp_path / "export.bin")
    words = [*WORDS[1:], "goodness", "unknown"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", READ, str(tmp_path), json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    np.testing.assert_allclose(said["full"], ours.of(words), atol=1e-5)
    assert said["known"] == WORDS
    np.testing.assert_array_equal(np.float32(said["text"]), ours.of(WORDS))
    np.testing.assert_array_equal(np.float32(said["binary"]), ours.of(WORDS))
    for name in ("theirs.txt", "theirs.bin", "theirs/vectors.bin"):
        back = WordVectors.read(tmp_path / name)
        np.testing.assert_allclose(back.of(WORDS[1:]), ours.of(WORDS[1:]), atol=1e-5)


def test_words_are_answered_with_their_vectors() -> None:
    model = made(**SUBWORDS)
    answers = model.predict(["good", "goodness"], [{}, {}])
    assert [answer["word"] for answer in answers] == ["good", "goodness"]
    np.testing.assert_array_equal(np.float32([answer["vector"] for answer in answers]), model.of(["good", "goodness"]))
    assert all(any(answer["vector"]) for answer in answers)
    assert model.predict([], []) == []
    json.dumps(answers, allow_nan=False)


def test_an_unknown_word_has_zeros_without_subwords() -> None:
    assert made(dim=3).predict(["goodness"], [{}]) == [{"vector": [0.0, 0.0, 0.0], "word": "goodness"}]


def test_subwords_by_hand() -> None:
    model = made(bucket=4, minn=3, maxn=3, dim=2)
    file = model.file
    from wildsage.algorithms.blazingtext.ngrams import hash_word

    def row(gram: str) -> np.ndarray:
        bucket = int(hash_word(gram.encode(), 0, len(gram.encode()))) % 4
        at = np.flatnonzero(file.bucket_ids == bucket)
        return np.asarray(file.bucket_rows)[at[0]] if at.size else np.zeros(2, np.float32)

    grams = ["<go", "goo", "ood", "od>"]
    expected = (file.word_rows[1] + sum(map(row, grams))) / 5  # type: ignore[call-overload]
    np.testing.assert_allclose(model.of(["good"])[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(model.of(["</s>"])[0], file.word_rows[0])


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), (3, "a number"), (["a"], "a list"), ({}, "an object")])
def test_what_is_no_word_is_named(value: Any, kind: str) -> None:
    with pytest.raises(ClientError, match=f"instance 1 is {kind}, where a word is wanted"):
        made().predict(["good", value], [{}, {}])


def test_rows_that_are_not_numbers_are_reported() -> None:
    model = made()
    np.asarray(model.file.word_rows)[2] = np.nan
    with pytest.raises(ClientError, match="instance 1: the model's answer is not a number"):
        model.predict(["good", "Größe"], [{}, {}])


def test_half_a_surrogate_pair_is_an_unknown_word() -> None:
    assert not made().of(["\ud83d"]).any()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=6))
def test_a_batch_answers_as_one_at_a_time(words: list[str]) -> None:
    model = made(**SUBWORDS)
    together = model.of(words)
    assert together.shape == (len(words), 12)
    for word, vector in zip(words, together, strict=True):
        np.testing.assert_array_equal(model.of([word])[0], vector)


def test_nearest_words_by_hand() -> None:
    model = made(**SUBWORDS)
    vectors = model.of(WORDS).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors[WORDS.index("a")]
    expected = [WORDS[i] for i in np.argsort(-cosines) if WORDS[i] != "a"]
    found = model.nearest("a", 100)
    assert [word for word, _ in found] == expected
    np.testing.assert_allclose([cosine for _, cosine in found], np.sort(cosines)[::-1][1:], atol=1e-6)
    assert model.nearest("never seen", 2)[0][1] <= 1


def test_a_word_without_a_vector_is_named_with_one_that_is_near() -> None:
    model = made()
    with pytest.raises(ClientError, match=r'"movies" has no vector here; did you mean "movie"\?'):
        model.nearest("movies")
    with pytest.raises(ClientError, match=r'"zzz" has no vector here, "qqq" has no vector'):
        model.analogy("zzz", "good", "qqq")


def test_of_two_files_the_mapped_one_is_loaded(tmp_path: Path) -> None:
    model = made(**SUBWORDS)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors.bin", "vectors.txt"]
    assert BlazingText.model_in(tmp_path) is WordVectors
    loaded = BlazingText.load(tmp_path)
    assert isinstance(loaded, WordVectors)
    loaded.warm_up()
    np.testing.assert_array_equal(loaded.of(OTHERS), model.of(OTHERS))
    (tmp_path / "vectors.bin").unlink()
    from_text = WordVectors.load(tmp_path)
    assert from_text.words == model.words
    np.testing.assert_array_equal(from_text.of(WORDS), model.of(WORDS))
    assert not from_text.of(["goodness"]).any()


@pytest.mark.parametrize("name", ["wiki.vec", "cc.bin", "some.txt", "e.safetensors"])
def test_a_single_file_of_any_format_is_a_model(tmp_path: Path, name: str) -> None:
    model = made()
    model.export(tmp_path / name)
    (tmp_path / "notes.txt").write_text("nothing of the kind\n")
    assert WordVectors.recognises(tmp_path)
    np.testing.assert_array_equal(WordVectors.load(tmp_path).of(WORDS), model.of(WORDS))
    shutil.copy(tmp_path / name, tmp_path / f"again{Path(name).suffix}")
    assert not WordVectors.recognises(tmp_path)


def test_counts_survive_safetensors(tmp_path: Path) -> None:
    model = made()
    model.export(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(WordVectors.load(tmp_path).file.counts, model.file.counts)


def test_an_ending_without_a_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"e\.npz: the ending must be \.txt, \.vec, \.bin or \.safetensors"):
        made().export(tmp_path / "e.npz")


def test_a_folder_without_vectors_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="but nothing"):
        WordVectors.load(tmp_path)
    (tmp_path / "vectors.txt").write_text("no vectors\n")
    assert not WordVectors.recognises(tmp_path)
    with pytest.raises(DataError, match=r"vectors\.txt, line 1: not word vectors"):
        WordVectors.load(tmp_path)
    with pytest.raises(DataError, match="not word vectors"):
        WordVectors.read(tmp_path / "vectors.txt")


def test_vectors_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = made()
    np.asarray(model.file.word_rows)[3, 1] = np.inf
    with pytest.raises(AlgorithmError, match="the vector of '日本語' is not finite"):
        model.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_quantised_vectors_are_near_and_load_in_the_package(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    words = [f"word{i}" for i in range(2000)]
    model = made(words=words, dim=8, bucket=600, minn=3, maxn=4)
    small = WordVectors(quantize(model.file, dsub=2))
    small.save(tmp_path)
    loaded = WordVectors.load(tmp_path)
    assert loaded.file.quantised
    asked = [*words[:50], "word99999", "zzz"]
    np.testing.assert_array_equal(loaded.of(asked), small.of(asked))
    theirs = fasttext.load_model(str(tmp_path / "vectors.ftz"))
    np.testing.assert_allclose([theirs.get_word_vector(word) for word in asked], loaded.of(asked), atol=1e-5)
    assert np.abs(loaded.of(asked) - model.of(asked)).mean() < 0.1 * np.abs(model.of(asked)).mean()
    assert loaded.nearest("word3", 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"word_counts": np.ones(3, np.int64)}, "word_counts must be of shape"),
        ({"output": np.ones((1, 3), np.float32)}, "output must be of shape"),
        ({"bucket_ids": np.array([2, 1])}, "bucket_ids must ascend"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, Any], reason: str) -> None:
    parts: dict[str, Any] = {
        "words": [b"</s>", b"a"],
        "word_counts": np.ones(2, np.int64),
        "settings": FastTextSettings(dim=3, model=CBOW, loss=2, bucket=10, minn=1, maxn=2),
        "word_rows": np.ones((2, 3), np.float32),
        "bucket_ids": np.array([1, 2]),
        "bucket_rows": np.ones((2, 3), np.float32),
        "output": np.ones((2, 3), np.float32),
    }
    assert WordVectors.from_training(**parts).words == [b"</s>", b"a"]
    with pytest.raises(AlgorithmError, match=reason):
        WordVectors.from_training(**(parts | change))


def test_a_classifier_is_no_word_vectors(tmp_path: Path) -> None:
    model = made()
    model.save(tmp_path)
    data = bytearray((tmp_path / "vectors.bin").read_bytes())
    data[36:40] = (3).to_bytes(4, "little")
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(DataError, match="cannot be"):  # a classifier without a label
        WordVectors.read(tmp_path / "x.bin")
