"""Training word vectors from a channel: counts, quality, determinism, stops, resuming, earlier models, any bytes."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job
from wildsage.algorithms import checkpoint as checkpoints
from wildsage.algorithms.blazingtext import BlazingText, training, word_epochs, word_vectors
from wildsage.algorithms.blazingtext.word_epochs import TrainedVectors
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.errors import ClientError

MODES = ("skipgram", "cbow", "batch_skipgram")
SMALL = {"mode": "skipgram", "min_count": 1, "vector_dim": 8, "learning_rate": 0.05, "window_size": 3, "epochs": 2}


def sentences(count: int, seed: int = 1) -> str:
    """Lines about one of four topics; words of a topic keep company."""
    rng = random.Random(seed)
    topics = [[f"{name}{k}" for k in range(12)] for name in ("sea", "law", "food", "star")]
    made = []
    for _ in range(count):
        topic = rng.choice(topics)
        made.append(" ".join(rng.choice(topic) if rng.random() < 0.8 else f"the{rng.randrange(5)}" for _ in range(10)))
    return "\n".join(made) + "\n"


def train(
    folder: Path, text: str | bytes, listener: Listener | None = None, *, threads: int = 1, **values: Any
) -> TrainedVectors:
    return word_vectors.train(job(folder, {"train": text}, listener, threads=threads, **{**SMALL, **values}))


def same(a: TrainedVectors, b: TrainedVectors) -> bool:
    arrays = ("word_rows", "bucket_ids", "bucket_rows", "output")
    return a.vocabulary.words == b.vocabulary.words and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays
    )


def vectors_of(rows: TrainedVectors) -> dict[str, np.ndarray]:
    return {word.decode(): vector for word, vector in zip(rows.vocabulary.words, rows.word_rows, strict=True)}


def topic_gap(model: WordVectors) -> float:
    """How much nearer words are to those of their own topic than to those of others, in mean cosines."""
    names = [f"{name}{k}" for name in ("sea", "law", "food", "star") for k in range(12)]
    units = model.of(names)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ units.T
    own = np.kron(np.eye(4), np.ones((12, 12))).astype(bool)
    return float(cosines[own].mean() - cosines[~own].mean())


@pytest.mark.parametrize("values", [*({"mode": mode} for mode in MODES), {"loss": "hs"}, {"mode": "cbow", "loss": "hs"},
                                    {"subwords": True}, {"mode": "cbow", "subwords": True},
                                    {"mode": "cbow", "cbow_mean_gradient": True, "learning_rate": 0.2},
                                    {"negative_samples": 1}, {"negative_samples": 20}], ids=str)  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
def test_words_of_a_topic_come_together(values: dict[str, Any], threads: int, tmp_path: Path) -> None:
    listener = Listener()
    given = {**SMALL, "vector_dim": 20, "epochs": 8, "sampling_threshold": 0.01, **values}
    model = BlazingText().train(job(tmp_path, {"train": sentences(1500)}, listener, threads=threads, **given))
    assert isinstance(model, WordVectors)
    assert topic_gap(model) > 0.25
    losses = listener.facts["losses"]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    facts = listener.facts
    assert (facts["epochs_run"], facts["threads"], facts["words"]) == (8, threads, 1500 * 11)
    assert facts["words_per_second"] > 0
    assert {"read", "rows", "train", "model"} <= set(facts["seconds"])
    done, total = listener.calls[-1]
    assert done == total == 8 * 1500 * 11


def test_words_and_counts_are_those_of_the_fasttext_package(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    rng = random.Random(0)
    words = [f"w{k}" for k in range(40)] + ["über", '"quoted', 'end"', "word-of-some-length"]
    lines = [" ".join(rng.choices(words, k=rng.randint(0, 12))) for _ in range(400)]
    text = '"all of it quoted"\n' + "\n".join(lines) + "\ttab\r\nlast one"
    (tmp_path / "text").write_text(text, encoding="utf-8", newline="")
    model = fasttext.train_unsupervised(
        str(tmp_path / "text"), model="cbow", dim=10, minCount=3, epoch=1, minn=0, maxn=0, thread=20, verbose=0
    )  # with 20 threads it fills all of a matrix, however small
    expected = dict(zip(*model.get_words(include_freq=True), strict=True))
    vocabulary = train(tmp_path / "job", text.encode(), min_count=3).vocabulary
    found = dict(zip((word.decode() for word in vocabulary.words), vocabulary.word_counts.tolist(), strict=True))
    assert found == {word: int(count) for word, count in expected.items()}
    assert vocabulary.word_counts.tolist() == sorted(expected.values(), reverse=True)


def test_labels_are_words_like_any_other(tmp_path: Path) -> None:
    vocabulary = train(tmp_path, "__label__a good word\n" * 20).vocabulary
    assert set(vocabulary.words) == {b"__label__a", b"good", b"word", b"</s>"}
    assert not vocabulary.labels


@pytest.mark.parametrize("values", [{"loss": "ns"}, {"loss": "hs"}, {"subwords": True, "buckets": 300}], ids=str)
def test_files_load_in_the_fasttext_package(values: dict[str, Any], tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    model = BlazingText().train(job(tmp_path, {"train": sentences(300)}, **{**SMALL, **values}))
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    theirs = fasttext.load_model(str(tmp_path / "model" / "vectors.bin"))
    assert isinstance(model, WordVectors)
    for word in [*theirs.get_words()[:20], "seafood", "übersee"]:
        np.testing.assert_allclose(theirs.get_word_vector(word), model.of([word])[0], rtol=1e-5, atol=1e-7)
    assert theirs.f.getArgs().loss.name == values.get("loss", "ns")
    np.testing.assert_array_equal(theirs.get_output_matrix(), model.file.output)


def test_one_seed_one_model(tmp_path: Path) -> None:
    rows = [train(tmp_path / str(k), sentences(200), seed=seed) for k, seed in enumerate((1, 1, 2))]
    assert same(rows[0], rows[1])
    assert not same(rows[0], rows[2])


@pytest.mark.parametrize("values", [{"mode": "skipgram"}, {"mode": "cbow", "subwords": True}], ids=str)
def test_threads_in_rounds_make_the_same_model_each_time(values: dict[str, Any], tmp_path: Path) -> None:
    text, gaps = sentences(1500), []
    given = {**SMALL, "vector_dim": 20, "deterministic": True, "epochs": 8, "sampling_threshold": 0.01, **values}
    rows = []
    for k in range(2):
        context = job(tmp_path / str(k), {"train": text}, threads=3, **given)
        rows.append(word_vectors.train(context))
        model = BlazingText().train(job(tmp_path / f"again{k}", {"train": text}, threads=3, **given))
        assert isinstance(model, WordVectors)
        gaps.append(topic_gap(model))
    assert same(rows[0], rows[1])
    assert min(gaps) > 0.25


@pytest.fixture
def often_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress, and so a look at the stop flag by the listener, again and again within an epoch."""
    monkeypatch.setattr(word_epochs.Training, "chunk_work", 1)
    monkeypatch.setattr(word_epochs, "LONGEST_ROUND", 1)
    monkeypatch.setattr(
        training,
        "wait",
        lambda futures, timeout: (set(), futures) if not all(future.done() for future in futures) else (futures, set()),
    )


@pytest.mark.usefixtures("often_told")
@pytest.mark.parametrize("calls", [1, 4, 30])
@pytest.mark.parametrize("values", [{}, {"subwords": True}, {"loss": "hs", "mode": "cbow"}], ids=str)
def test_a_stopped_job_ends_as_if_it_had_not_been(calls: int, values: dict[str, Any], tmp_path: Path) -> None:
    text = sentences(60)
    expected = train(tmp_path / "whole", text, epochs=4, **values)
    first = Listener(stop_at=calls)
    train(tmp_path / "parts", text, first, epochs=4, **values)
    assert first.facts["epochs_run"] < 4
    assert (tmp_path / "parts" / "checkpoints" / "word_vectors.npz").exists()
    second = Listener()
    resumed = train(tmp_path / "parts", text, second, epochs=4, **values)
    assert any("resuming from the checkpoint" in line for line in second.lines)
    assert same(resumed, expected)
    assert second.facts["epochs_run"] == 4
    assert len(second.facts["losses"]) == 4


def test_threads_in_rounds_resume_exactly_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_vectors, "WORDS_PER_THREAD", 100)
    monkeypatch.setattr(word_epochs, "LONGEST_ROUND", 50)
    text, given = sentences(100), {"deterministic": True, "epochs": 3}
    expected = train(tmp_path / "whole", text, threads=2, **given)
    first = Listener(stop_at=1)
    train(tmp_path / "parts", text, first, threads=2, **given)
    assert first.facts["epochs_run"] < 3
    assert same(train(tmp_path / "parts", text, threads=2, **given), expected)


def test_a_killed_job_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)  # one each epoch
    text = sentences(60)
    expected = train(tmp_path / "whole", text, epochs=4)

    class Killed(Listener):
        def say(self, line: str) -> None:
            if line.startswith("epoch 3"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", text, Killed(), epochs=4)
    listener = Listener()
    assert same(train(tmp_path / "parts", text, listener, epochs=4), expected)
    assert any("in epoch 3" in line for line in listener.lines)


@pytest.mark.parametrize(
    "change", [{"window_size": 4}, {"seed": 5}, {"text": sentences(60, seed=2)}], ids=lambda c: str(c)[:20]
)
def test_a_changed_job_starts_anew(change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    given: dict[str, Any] = {"text": sentences(60), **SMALL}
    train(tmp_path / "job", **given)
    listener = Listener()
    assert same(
        train(tmp_path / "job", listener=listener, **{**given, **change}),
        train(tmp_path / "new", **{**given, **change}),
    )
    assert any("another job" in line for line in listener.lines)


@pytest.mark.parametrize("size", [0, 100, None])
def test_a_damaged_checkpoint_starts_anew(size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    expected = train(tmp_path / "job", sentences(60))
    path = tmp_path / "job" / "checkpoints" / "word_vectors.npz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if size is None else size])
    listener = Listener()
    assert same(train(tmp_path / "job", sentences(60), listener), expected)
    assert any("cannot be read" in line for line in listener.lines)


def test_another_number_of_threads_may_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(word_vectors, "WORDS_PER_THREAD", 100)
    train(tmp_path, sentences(100), threads=1)
    listener = Listener()
    train(tmp_path, sentences(100), listener, threads=2)
    assert any("resuming" in line for line in listener.lines)
    assert listener.facts["threads"] == 2


@pytest.mark.parametrize("values", [{}, {"subwords": True, "buckets": 500}, {"loss": "hs"}], ids=str)
def test_training_goes_on_from_an_earlier_model_with_new_words(values: dict[str, Any], tmp_path: Path) -> None:
    given = {**SMALL, "epochs": 4, **values}
    before = BlazingText().train(job(tmp_path / "first", {"train": sentences(300)}, **given))
    (tmp_path / "model").mkdir()
    before.save(tmp_path / "model")
    files = {"vectors.bin": (tmp_path / "model" / "vectors.bin").read_bytes()}
    more = "new words here\nsea1 sea2 new\n" * 20
    listener = Listener()
    context = job(tmp_path / "more", {"train": more, "model": files}, listener, **{**given, "learning_rate": 1e-30})
    after = BlazingText().train(context)
    assert isinstance(before, WordVectors)
    assert isinstance(after, WordVectors)
    assert any("going on from a model of" in line for line in listener.lines)
    assert set(after.words) == set(before.words) | {b"new", b"words", b"here"}
    counts = dict(zip(after.words, after.file.counts.tolist(), strict=True))
    assert (counts[b"sea1"], counts[b"new"], counts[b"law1"]) == (20, 40, 0)
    names = [word.decode() for word in before.words]
    np.testing.assert_allclose(after.of(names), before.of(names), rtol=1e-6, atol=1e-8)
    if values.get("loss") != "hs":
        theirs = dict(zip(before.words, before.file.output, strict=True))  # type: ignore[call-overload]
        ours = dict(zip(after.words, after.file.output, strict=True))  # type: ignore[call-overload]
        assert all(np.allclose(ours[word], theirs[word]) for word in theirs)
    given["sampling_threshold"] = 1
    learnt = BlazingText().train(job(tmp_path / "learn", {"train": more, "model": files}, **given))
    assert isinstance(learnt, WordVectors)
    assert not np.allclose(learnt.of(["sea1"]), before.of(["sea1"]))


def test_an_earlier_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = BlazingText().train(job(tmp_path / "first", {"train": sentences(50)}, **{**SMALL, "subwords": True}))
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    files = {"vectors.bin": (tmp_path / "model" / "vectors.bin").read_bytes()}
    wanted = {
        "vector_dim must be 8": {"vector_dim": 9, "subwords": True},
        "subwords must be true": {},
        "max_char must be 6": {"subwords": True, "max_char": 5},
    }
    for number, (message, values) in enumerate(wanted.items()):
        context = job(tmp_path / str(number), {"train": sentences(50), "model": files}, **{**SMALL, **values})
        with pytest.raises(ClientError, match=message):
            BlazingText().train(context)


def test_vectors_are_scored_on_the_sets_that_are_given(tmp_path: Path) -> None:
    listener = Listener()
    pairs = "sea1 sea2 9\nlaw1 law2 8\nsea1 law3 1\nfood1 star1 2\nsea1 zebra 5\n"
    channels = {"train": sentences(800), "evaluation": {"EN-WS-353-ALL.txt": pairs.encode()}}
    given = {**SMALL, "epochs": 6, "sampling_threshold": 0.01}
    model = BlazingText().train(job(tmp_path, channels, listener, **given))
    ((name, rho, _),) = listener.metrics
    assert (name, rho > 0.5) == ("train:mean_rho", True)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    written = json.loads((tmp_path / "model" / "eval.json").read_text())
    assert written == {
        "EN-WS-353-ALL.txt": {"not_found": 1, "spearmans_rho": rho, "total_pairs": 5}, "mean_rho": rho
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"vectors.txt", "vectors.bin", "eval.json"}
    quiet = Listener()
    BlazingText().train(job(tmp_path / "quiet", {"train": sentences(50)}, quiet, **given))
    assert any("not evaluated" in line for line in quiet.lines)
    silent = Listener()
    BlazingText().train(job(tmp_path / "silent", channels, silent, **given, evaluation=False))
    assert not silent.metrics


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("", {}, "empty"),
        ("one two three\n", {"min_count": 5}, "no word is seen 5 times or more"),
        ("same same same same", {}, "1 word is seen 1 times or more"),
    ],
)
def test_text_that_nothing_can_be_learnt_from_is_refused(
    text: str, values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ClientError, match=message):
        train(tmp_path, text, **values)


def test_a_rate_that_is_too_high_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="try a smaller learning_rate than 1e\\+30"):
        train(tmp_path, sentences(300), learning_rate=1e30)


def test_rows_that_do_not_fit_are_refused_before_they_are_made(tmp_path: Path) -> None:
    from dataclasses import replace

    context = replace(job(tmp_path, {"train": sentences(50)}, **SMALL), memory_bytes=8000)
    with pytest.raises(ClientError, match="lower vector_dim"):
        word_vectors.train(context)


@pytest.mark.parametrize("name", ["window_size", "negative_samples"])
def test_a_window_that_does_not_fit_is_refused_before_it_is_made(name: str, tmp_path: Path) -> None:
    from dataclasses import replace

    context = replace(job(tmp_path, {"train": sentences(50)}, **{**SMALL, name: 2**31 - 1}), memory_bytes=10**11)
    with pytest.raises(ClientError, match=f"{name} = 2,147,483,647 .* is available: lower them"):
        word_vectors.train(context)


def test_ngrams_that_do_not_fit_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    from dataclasses import replace

    text = "".join(f"{letter * 10240} short " for letter in "abc") * 3
    values = {**SMALL, "subwords": True, "min_char": 1, "max_char": 1024, "buckets": 10}
    context = replace(job(tmp_path, {"train": text}, **values), memory_bytes=100_000_000)
    with pytest.raises(ClientError, match=r"4 words, the longest of 10,240 characters, have 29,.* n-grams"):
        word_vectors.train(context)


def test_a_stop_before_the_first_word_leaves_no_model(tmp_path: Path) -> None:
    listener = Listener()
    listener.stop.set()
    with pytest.raises(ClientError, match="stopped before"):
        train(tmp_path, sentences(50), listener)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.sampled_from([b"a", b"b", b"cd", b"\xff", b" ", b"\n", b"\0", b'"', b"</s>", b"__label__x"]), max_size=80
    ),
    st.sampled_from(MODES),
    st.booleans(),
    st.integers(1, 3),
)
def test_any_bytes_train_or_are_a_users_error(pieces: list[bytes], mode: str, subwords: bool, dim: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = train(Path(folder), b"".join(pieces), mode=mode, subwords=subwords, vector_dim=dim, buckets=10)
        except ClientError:
            return
        assert np.isfinite(rows.word_rows).all()
        assert np.isfinite(rows.bucket_rows).all()
        assert (rows.vocabulary.word_counts > 0).all()


def test_text_whose_words_are_all_left_out_is_told(tmp_path: Path) -> None:
    listener = Listener()
    train(tmp_path, "one two\nthree four\n" * 9, listener, epochs=1, sampling_threshold=1e-12)
    assert any("epoch 1 trained hardly any word: sampling_threshold = 1e-12" in line for line in listener.lines)


def test_one_long_line_is_learnt_from(tmp_path: Path) -> None:
    listener = Listener()
    rows = train(tmp_path, sentences(600).replace("\n", " "), listener, epochs=1)
    assert b"</s>" not in rows.vocabulary.words
    assert listener.calls[-1][0] == listener.calls[-1][1] == 6000
    assert rows.output.any()
