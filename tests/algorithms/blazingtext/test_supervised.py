"""Training against the slow truth; stops, checkpoints, early stopping and errors."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job, reviews
from tests.algorithms.blazingtext.naive import Naive
from wildsage.algorithms import checkpoint as checkpoints
from wildsage.algorithms.blazingtext import BlazingText, epochs, fasttext_file, memory, supervised, training
from wildsage.algorithms.blazingtext.kernels.random import draw_word
from wildsage.algorithms.blazingtext.kernels.supervised import Lines
from wildsage.algorithms.blazingtext.losses import make_loss
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.algorithms.blazingtext.quantize import quantize
from wildsage.algorithms.blazingtext.supervised import TrainedRows
from wildsage.contract.errors import ClientError
from wildsage.kernels.vector import HALVES


def same(a: TrainedRows, b: TrainedRows) -> bool:
    arrays = ("word_rows", "bucket_ids", "bucket_rows", "output")
    return a.vocabulary.words == b.vocabulary.words and all(
        np.array_equal(fasttext_file.dense(getattr(a, name)), fasttext_file.dense(getattr(b, name))) for name in arrays
    )


def table_of(rows: TrainedRows, buckets: int) -> np.ndarray:
    """One row a feature, words first."""
    dense = np.zeros((buckets, rows.word_rows.shape[1]))
    dense[rows.bucket_ids] = fasttext_file.dense(rows.bucket_rows)
    return np.vstack([rows.word_rows, dense])


def one_label(lines: int) -> bytes:
    return b"".join(line.replace(b" __label__a", b"") + b"\n" for line in reviews(lines).split(b"\n") if line)


def many_labels(lines: int) -> bytes:
    """Lines with one to three of seven labels, of rather different counts."""
    rng = random.Random(3)
    made = []
    for k in range(lines):
        labels = {rng.randrange(1 + rng.randrange(7)) for _ in range(rng.choice([1, 1, 1, 2, 3]))}
        words = [f"w{label}" for label in labels] + [f"x{rng.randrange(9)}" for _ in range(rng.randrange(6))]
        made.append(" ".join([*(f"__label__{label}" for label in sorted(labels)), *words, f"only{k}"]) + "\n")
    return "".join(made).encode()


@pytest.mark.parametrize(
    ("loss", "data", "ngrams", "dim"),
    [
        ("softmax", one_label(3), 2, 16),
        ("softmax", one_label(101), 3, 1),
        ("softmax", many_labels(80), 1, 33),
        ("hs", many_labels(80), 2, 17),
        ("hs", one_label(60), 1, 16),
        ("ova", many_labels(80), 2, 17),
        ("ns", many_labels(80), 2, 17),
        ("ns", one_label(60), 1, 1),
    ],
)
def test_rows_are_those_of_the_slow_truth(
    loss: str, data: bytes, ngrams: int, dim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data + b"__label__a\n\nno label\n__label__b twice twice twice\n"
    # An epoch of no steps shows where training starts.
    started: list[TrainedRows] = []
    monkeypatch.setattr(epochs.Training, "run_epoch", lambda self: setattr(self.position, "lines", [
        part.starts.size - 1 for part in self.parts
    ]))  # fmt: skip
    settings: dict[str, Any] = {"word_ngrams": ngrams, "vector_dim": dim, "buckets": 500, "loss": loss}
    settings["negative_samples"] = 3
    started.append(supervised.train(job(tmp_path / "none", {"train": data}, epochs=1, **settings)))
    monkeypatch.undo()

    listener = Listener()
    trained = supervised.train(job(tmp_path / "all", {"train": data}, listener, epochs=4, **settings))
    naive = Naive(data, 1, ngrams, 500)
    assert trained.vocabulary.words == naive.words
    table = table_of(started[0], 500)
    state = int(training.random_states(0, 1)[0][0])
    alias = make_loss("ns", trained.vocabulary.label_counts, 3).alias
    output, losses = naive.train(
        table, 4, 0.5, loss, 3, state, lambda state: int(draw_word(alias, np.uint64(state)))
    )  # fmt: skip
    np.testing.assert_allclose(trained.output, output, rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(table_of(trained, 500), table, rtol=2e-3, atol=2e-5)
    told = [float(line.rsplit(" ", 1)[1]) for line in listener.lines if "loss" in line]
    np.testing.assert_allclose(told, losses, atol=1e-3)


def test_words_start_at_random_and_bucket_rows_at_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs.Training, "run_epoch", lambda self: setattr(self.position, "lines", [
        part.starts.size - 1 for part in self.parts
    ]))  # fmt: skip
    rows = supervised.train(job(tmp_path, {"train": reviews(400)}, epochs=1, vector_dim=100))
    shared = rows.word_rows[rows.vocabulary.word_counts > 50]
    assert shared.shape == (10, 100)
    assert np.abs(shared).max() <= 0.01
    assert abs(shared.mean()) < 1e-3
    assert shared.std() == pytest.approx(0.01 / np.sqrt(3), rel=0.1)
    assert not fasttext_file.dense(rows.bucket_rows).any()
    assert not rows.output.any()


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": reviews(600), "validation": reviews(200, seed=2)}
    supervised.train(job(tmp_path, channels, listener, epochs=6, word_ngrams=1, min_count=2))
    assert max(listener.validations()) > 0.8
    assert [epoch for name, _, epoch in listener.metrics if name == "validation:accuracy"] == [1, 2, 3, 4, 5, 6]
    accuracies = {name: value for name, value, _ in listener.metrics}
    assert accuracies["train:accuracy"] > 0.8
    facts = listener.facts
    assert facts["epochs_run"] == facts["epochs_asked"] == 6
    assert facts["best_epoch"] == 1 + int(np.argmax(listener.validations()))
    assert facts["best_validation_accuracy"] == max(listener.validations())
    assert (facts["stopped_early"], facts["seconds_saved"]) == (False, 0.0)
    assert (facts["train_examples"], facts["labels"], facts["vocabulary_size"]) == (600, 3, 10)
    assert {"read", "train", "validate", "model"} <= set(facts["seconds"])
    done, total = listener.calls[-1]
    assert done == total == 6 * facts["words"]


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_learn_as_well(threads: int, tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": reviews(1200), "validation": reviews(300, seed=2)}
    supervised.train(job(tmp_path, channels, listener, threads=threads, epochs=5, word_ngrams=2))
    assert listener.facts["threads"] == threads
    assert listener.validations()[-1] > 0.75


def test_one_seed_one_model(tmp_path: Path) -> None:
    rows = [
        supervised.train(job(tmp_path / str(k), {"train": reviews(80)}, seed=seed)) for k, seed in enumerate((1, 1, 2))
    ]
    assert same(rows[0], rows[1])
    assert not same(rows[0], rows[2])


@pytest.mark.parametrize("calls", [1, 3, 8])
def test_a_stopped_job_ends_as_if_it_had_not_been(calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "CHUNK", 1)  # a look at the stop flag after each line
    monkeypatch.setattr(
        training,
        "wait",
        lambda futures, timeout: (set(), futures) if not all(future.done() for future in futures) else (futures, set()),
    )  # so that progress is told, and the flag set, within an epoch
    channels = {"train": reviews(150), "validation": reviews(40, seed=2)}
    settings: dict[str, Any] = {"epochs": 6, "early_stopping": True, "patience": 6}
    whole = Listener()
    expected = supervised.train(job(tmp_path / "whole", channels, whole, **settings))
    first = Listener(stop_at=calls)
    supervised.train(job(tmp_path / "parts", channels, first, **settings))
    assert first.facts["epochs_run"] < 6
    assert (tmp_path / "parts" / "checkpoints" / "supervised.npz").exists()
    second = Listener()
    resumed = supervised.train(job(tmp_path / "parts", channels, second, **settings))
    assert any("resuming from the checkpoint" in line for line in second.lines)
    assert same(resumed, expected)
    assert first.validations() + second.validations() == whole.validations()
    assert second.facts["best_epoch"] == whole.facts["best_epoch"]


def test_a_killed_job_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)  # one each epoch
    channels = {"train": reviews(150), "validation": reviews(40, seed=2)}
    expected = supervised.train(job(tmp_path / "whole", channels, epochs=5))

    class Killed(Listener):
        def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
            if epoch == 4:
                raise KeyboardInterrupt
            super().metric(name, value, epoch=epoch)

    with pytest.raises(KeyboardInterrupt):
        supervised.train(job(tmp_path / "parts", channels, Killed(), epochs=5))
    listener = Listener()
    resumed = supervised.train(job(tmp_path / "parts", channels, listener, epochs=5))
    assert any("in epoch 4" in line for line in listener.lines)
    assert same(resumed, expected)
    assert len(listener.validations()) == 2


@pytest.mark.parametrize("change", [{"learning_rate": 0.4}, {"seed": 3}, {"train": reviews(151)}])
def test_a_changed_job_starts_anew(change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    supervised.train(job(tmp_path / "a", {"train": reviews(150)}))
    change = dict(change)
    data = {"train": change.pop("train", reviews(150))}
    listener = Listener()
    changed = supervised.train(job(tmp_path / "a", data, listener, **change))
    assert any("another job" in line and "starting anew" in line for line in listener.lines)
    assert same(changed, supervised.train(job(tmp_path / "b", data, **change)))


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint_starts_anew(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    expected = supervised.train(job(tmp_path, {"train": reviews(150)}))
    checkpoint = tmp_path / "checkpoints" / "supervised.npz"
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 255
    checkpoint.write_bytes(content if damage is None else damage)
    listener = Listener()
    assert same(supervised.train(job(tmp_path, {"train": reviews(150)}, listener)), expected)
    assert any("cannot be read" in line and "starting anew" in line for line in listener.lines)


def test_a_checkpoint_with_damage_behind_its_rows_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    channels = {"train": reviews(150), "validation": reviews(40, seed=2)}
    settings: dict[str, Any] = {"epochs": 3, "early_stopping": True}
    expected = supervised.train(job(tmp_path, channels, **settings))
    checkpoint = tmp_path / "checkpoints" / "supervised.npz"
    content = bytearray(checkpoint.read_bytes())
    content[content.index(b"best_table.npy") + 200] ^= 255
    checkpoint.write_bytes(content)
    listener = Listener()
    assert same(supervised.train(job(tmp_path, channels, listener, **settings)), expected)
    assert any("cannot be read" in line for line in listener.lines)


@pytest.mark.skipif(not HALVES, reason="needs a processor with vectors of halves")
@pytest.mark.parametrize("before", ["float16", "float32"])
def test_a_checkpoint_goes_on_where_rows_are_stored_otherwise(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine without halves, if the job began on one that has them."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    channels = {"train": one_label(200), "validation": reviews(40, seed=2)}
    settings: dict[str, Any] = {"epochs": 4, "early_stopping": True, "word_ngrams": 2}
    limits = {"float16": 0, "float32": 1 << 30}
    expected = supervised.train(job(tmp_path / "whole", channels, **settings))
    monkeypatch.setattr(memory, "LARGE_TABLE", limits.pop(before))
    supervised.train(job(tmp_path / "parts", channels, **settings))
    (after, limit), listener = limits.popitem(), Listener()
    monkeypatch.setattr(memory, "LARGE_TABLE", limit)
    resumed = supervised.train(job(tmp_path / "parts", channels, listener, **settings))
    assert any("resuming" in line for line in listener.lines)
    assert listener.facts["storage"] == after
    np.testing.assert_allclose(resumed.output, expected.output, rtol=0.05, atol=0.1)


def test_a_part_without_lines_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's lines are cut by their tokens: after a very long line there may be none left."""
    whole = supervised.compact

    def with_an_empty_one(*given: Any) -> list[Lines]:
        (part,) = whole(*given)
        none = part._replace(
            starts=part.starts[-1:], inverses=part.inverses[:0], label_starts=part.label_starts[-1:],
            tokens=part.tokens[:1],
        )  # fmt: skip
        return [part, none]

    monkeypatch.setattr(supervised, "compact", with_an_empty_one)
    supervised.train(job(tmp_path, {"train": reviews(60)}, listener := Listener()))
    assert any(name == "train:accuracy" for name, _, _ in listener.metrics)


def test_another_number_of_threads_may_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    channels = {"train": reviews(1000), "validation": reviews(100, seed=2)}
    supervised.train(job(tmp_path, channels, threads=1))
    listener = Listener()
    supervised.train(job(tmp_path, channels, listener, threads=2))
    assert any("resuming" in line for line in listener.lines)
    assert len(listener.validations()) == 1


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> list[np.ndarray]:
    """Let validation answer these figures, one an epoch; returns the output rows as they were then."""
    kept: list[np.ndarray] = []

    def accuracy(self: epochs.Training, parts: Any) -> float:
        if parts is not self.validation:
            return 1.0
        kept.append(self.output.reshape(-1, self.width)[:, : self.parameters.vector_dim].copy())
        return accuracies[len(kept) - 1]

    monkeypatch.setattr(epochs.Training, "accuracy", accuracy)
    return kept


@pytest.mark.parametrize(
    ("patience", "min_epochs", "run", "best"),
    [(1, 1, 3, 2), (2, 1, 4, 2), (3, 1, 8, 5), (1, 4, 4, 2), (3, 5, 8, 5), (4, 1, 9, 5), (9, 1, 10, 10)],
)
def test_early_stopping_keeps_the_best_epoch(
    patience: int, min_epochs: int, run: int, best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = scripted(monkeypatch, [0.5, 0.6, 0.55, 0.6, 0.7, 0.7, 0.6, 0.7, 0.1, 0.8])
    listener = Listener()
    context = job(
        tmp_path, {"train": reviews(60), "validation": reviews(20)}, listener, epochs=10, early_stopping=True,
        patience=patience, min_epochs=min_epochs,
    )  # fmt: skip
    rows = supervised.train(context)
    assert (listener.facts["epochs_run"], listener.facts["best_epoch"]) == (run, best)
    assert listener.facts["stopped_early"] is (run < 10)
    assert (listener.facts["seconds_saved"] > 0) is (run < 10)
    assert np.array_equal(rows.output, kept[best - 1])


def test_a_stop_within_an_epoch_keeps_the_best_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = scripted(monkeypatch, [0.5, 0.6])
    monkeypatch.setattr(epochs, "CHUNK", 1)  # a call for each line
    listener, calls, train_lines = Listener(), [0], epochs.train_lines

    def counted(*given: Any) -> None:
        train_lines(*given)
        calls[0] += 1
        if calls[0] == 150:  # of 60 lines an epoch
            listener.stop.set()

    monkeypatch.setattr(epochs, "train_lines", counted)
    channels = {"train": reviews(60), "validation": reviews(20)}
    rows = supervised.train(job(tmp_path, channels, listener, epochs=5, early_stopping=True))
    assert (listener.facts["epochs_run"], listener.facts["best_epoch"]) == (2, 2)
    assert np.array_equal(rows.output, kept[1])
    assert any(line.startswith("keeping epoch 2") for line in listener.lines)


def test_without_early_stopping_the_last_epoch_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = scripted(monkeypatch, [0.9, 0.1, 0.1])
    listener = Listener()
    rows = supervised.train(job(tmp_path, {"train": reviews(60), "validation": reviews(20)}, listener, epochs=3))
    assert np.array_equal(rows.output, kept[2])
    assert listener.facts["best_epoch"] == 1


@pytest.mark.parametrize(
    ("train", "settings", "reason"),
    [
        (b"good text\nbad text\n", {}, "text.txt, line 1: no label"),
        (b"__label__a x\n__label__a y\n", {}, "one label only, __label__a"),
        (b"__label__a x\n__label__b y\n", {"min_count": 5}, "no word is seen 5 times or more"),
        (b"x x\n__label__a y __label__b", {"min_count": 2}, "no line of channel train has both"),
        (b"__label__a x\n\n__label__\xff y\n", {}, r"text.txt, line 3: b'__label__\\xff' is not UTF-8"),
        (b"__label__a x\n__label__b y\n", {"early_stopping": True}, "needs a channel named validation"),
        (reviews(50), {"buckets": 2**31 - 1}, "buckets = 2147483647 is too many"),
        (reviews(50), {"learning_rate": 1e30, "epochs": 5}, "diverged in epoch 1.*smaller learning_rate than 1e\\+30"),
    ],
)
def test_what_cannot_be_learnt_is_named(train: bytes, settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=reason):
        supervised.train(job(tmp_path, {"train": train}, **settings))


def test_lines_without_a_label_are_counted(tmp_path: Path) -> None:
    listener = Listener()
    files = {"a.txt": b"__label__a x y\n__label__b z x\n\n", "b.txt": b"__label__b y\nno label\n\nnor here\n"}
    supervised.train(job(tmp_path, {"train": files}, listener))
    assert listener.facts["train_examples"] == 3
    assert any("2 lines without a label were left out, the first in b.txt, line 2" in line for line in listener.lines)


def test_a_label_that_training_lacks_counts_as_wrong(tmp_path: Path) -> None:
    listener = Listener()
    validation = b"__label__a good\n" * 3 + b"__label__new good\n"
    train = b"__label__a good\n__label__b bad\n" * 50
    supervised.train(job(tmp_path, {"train": train, "validation": validation}, listener, epochs=5))
    assert listener.validations()[-1] == 0.75
    assert any("1 labels are not in channel train" in line for line in listener.lines)


def test_a_stop_before_the_first_line_leaves_no_model(tmp_path: Path) -> None:
    listener = Listener()
    listener.stop.set()
    with pytest.raises(ClientError, match="there is no model to keep"):
        supervised.train(job(tmp_path, {"train": reviews(10)}, listener))


def test_several_labels_are_all_learnt(tmp_path: Path) -> None:
    data = b"__label__a __label__b both\n__label__c other\n" * 200
    rows = supervised.train(job(tmp_path, {"train": data}, epochs=10, word_ngrams=1))
    row = dict(zip(rows.vocabulary.words, rows.word_rows, strict=True))
    scores = dict(zip(rows.vocabulary.labels, rows.output @ row[b"both"], strict=True))
    assert abs(scores[b"__label__a"] - scores[b"__label__b"]) < 0.5
    assert min(scores[b"__label__a"], scores[b"__label__b"]) > scores[b"__label__c"] + 1


LINES = st.lists(
    st.sampled_from([b"__label__a", b"__label__b", b" ", b"\n", b"\0", b'"', b"w", b" word", b"\xff", b"</s>", b"{"]),
    max_size=40,
).map(b"".join)


@given(st.one_of(LINES, st.binary(max_size=120)), st.integers(0, 2), st.integers(1, 3), st.integers(1, 50))
def test_any_bytes_give_a_model_or_a_client_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, min_count: int, ngrams: int, buckets: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    context = job(
        folder, {"train": data, "validation": data}, min_count=min_count, word_ngrams=ngrams, buckets=buckets, epochs=2,
        early_stopping=True, min_epochs=1,
    )  # fmt: skip
    rows = None
    with contextlib.suppress(ClientError):
        rows = supervised.train(context)
    if rows is not None:
        assert np.isfinite(rows.word_rows).all()
        assert np.isfinite(fasttext_file.dense(rows.bucket_rows)).all()
        assert len(rows.vocabulary.labels) >= 2


def test_more_threads_than_lines_are_not_used(tmp_path: Path) -> None:
    listener = Listener()
    rows = supervised.train(job(tmp_path, {"train": reviews(20)}, listener, threads=50, vector_dim=7, word_ngrams=1))
    assert rows.word_rows.shape[1] == 7
    assert listener.facts["threads"] == 1


REPEATS = b"__label__a twice twice twice own own\n__label__b once upon a time\n"


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_a_model_answers_as_its_file_does(storage: str, ngrams: int, tmp_path: Path) -> None:
    data = reviews(300) + REPEATS
    context = job(tmp_path, {"train": data}, listener := Listener(), storage=storage, word_ngrams=ngrams, vector_dim=20)
    model = BlazingText().train(context)
    assert listener.facts["storage"] == (storage if HALVES else "float32")
    model.save(tmp_path)
    loaded = TextClassifier.load(tmp_path)
    texts = [" ".join(word for word in line.split() if word[:2] != "__") for line in data.decode().splitlines()]
    wishes = [{"k": 3}] * len(texts)
    for ours, theirs in zip(model.predict(texts, wishes), loaded.predict(texts, wishes), strict=True):
        assert ours["label"] == theirs["label"]
        np.testing.assert_allclose(ours["prob"], theirs["prob"], rtol=1e-5)
    assert [entry["token"] for entry in model.explain("good bad")] == [
        entry["token"] for entry in loaded.explain("good bad")
    ]
    small = quantize(model.file, cutoff=0)
    fasttext_file.write(tmp_path / "small.ftz", small)


@pytest.mark.skipif(not HALVES, reason="needs a processor with vectors of halves")
@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_halves_learn_what_floats_learn(loss: str, tmp_path: Path) -> None:
    data = one_label(400)
    settings: dict[str, Any] = {"epochs": 3, "word_ngrams": 2, "loss": loss}
    floats, halves = (
        supervised.train(job(tmp_path / storage, {"train": data}, storage=storage, **settings))
        for storage in ("float32", "float16")
    )
    np.testing.assert_allclose(halves.output, floats.output, rtol=0.03, atol=0.06)
    np.testing.assert_allclose(halves.word_rows, floats.word_rows, rtol=0.03, atol=0.06)
    again = supervised.train(job(tmp_path / "again", {"train": data}, storage="float16", **settings))
    assert same(halves, again)


def test_large_tables_are_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, storage in ((0, "float16" if HALVES else "float32"), (1 << 30, "float32")):
        monkeypatch.setattr(memory, "LARGE_TABLE", limit)
        supervised.train(job(tmp_path / str(limit), {"train": reviews(60)}, listener := Listener()))
        assert listener.facts["storage"] == storage


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_deterministic_jobs_give_the_same_bytes(storage: str, tmp_path: Path) -> None:
    data = reviews(1500)
    models = []
    for threads in (1, 2, 2, 3):
        folder = tmp_path / str(len(models))
        context = job(folder, {"train": data}, threads=threads, deterministic=True, storage=storage, word_ngrams=2)
        BlazingText().train(context).save(folder)
        models.append((folder / "model.bin").read_bytes())
    assert len(set(models)) == 1


def test_train_accuracy_is_of_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for lines in (10_000, 300):
        monkeypatch.setattr(epochs, "SAMPLE_LINES", lines)
        listener = Listener()
        supervised.train(job(tmp_path / str(lines), {"train": reviews(1000)}, listener, word_ngrams=1, epochs=2))
        found.append({name: value for name, value, _ in listener.metrics}["train:accuracy"])
    assert abs(found[0] - found[1]) < 0.06


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_stopped_job_of_halves_ends_as_if_it_had_not_been(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    channels, settings = {"train": reviews(150)}, {"storage": storage, "loss": "ns", "epochs": 4}
    expected = supervised.train(job(tmp_path / "whole", channels, **settings))

    class Killed(Listener):
        def say(self, text: str) -> None:
            if text.startswith("epoch 3"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervised.train(job(tmp_path / "parts", channels, Killed(), **settings))
    resumed = supervised.train(job(tmp_path / "parts", channels, listener := Listener(), **settings))
    assert any("in epoch 3" in line for line in listener.lines)
    assert same(resumed, expected)
