"""The tables of the losses, and each loss beside the fastText package."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job
from tests.algorithms.blazingtext.naive import tree_paths
from wildsage.algorithms.blazingtext import BlazingText
from wildsage.algorithms.blazingtext.kernels.random import advance, draw_word
from wildsage.algorithms.blazingtext.losses import make_loss
from wildsage.contract.errors import ClientError

LOSSES = ("softmax", "hs", "ova", "ns")


def topics(lines: int, seed: int, labels: int = 9) -> bytes:
    """Lines of unevenly many labels, each with words of its own; some have two labels."""
    rng = random.Random(seed)
    made = []
    for _ in range(lines):
        own = {int(labels * rng.random() ** 2) for _ in range(2 if rng.random() < 0.1 else 1)}
        words = [f"w{rng.choice(sorted(own))}_{rng.randrange(5)}" for _ in range(4)] + [
            f"x{rng.randrange(40)}" for _ in "abc"
        ]
        rng.shuffle(words)
        made.append(" ".join([*(f"__label__{label}" for label in sorted(own)), *words]) + "\n")
    return "".join(made).encode()


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30))
def test_the_tree_is_fasttexts(counts: list[int]) -> None:
    loss = make_loss("hs", np.array(sorted(counts, reverse=True), np.int64), 5)
    bounds = loss.path_starts.tolist()
    pairs = list(zip(loss.path_nodes.tolist(), (loss.path_sides == 3).tolist(), strict=True))
    paths = [pairs[begin:end] for begin, end in pairwise(bounds)]
    assert paths == tree_paths(sorted(counts, reverse=True))
    for label, path in enumerate(paths):  # what is trained is what is walked
        place = label
        for node, second in path:
            assert loss.children[2 * node + second] == place
            place = node + len(counts)


def test_negatives_are_drawn_by_the_square_root_of_counts() -> None:
    counts = np.array([900, 400, 100, 1, 0], np.int64)
    loss = make_loss("ns", counts, 5)
    drawn, state = np.zeros(counts.size), np.uint64(88172645463325252)
    for _ in range(20_000):
        state = np.uint64(advance(state))
        drawn[draw_word(loss.alias, state)] += 1
    expected = np.sqrt(counts) / np.sqrt(counts).sum()
    np.testing.assert_allclose(drawn / drawn.sum(), expected, atol=0.012)
    assert drawn[-1] == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_the_fasttext_package_gives_our_models_answers(loss: str, tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    listener = Listener()
    train, validation = topics(800, 1), topics(200, 2)
    settings: dict[str, Any] = {"epochs": 5, "vector_dim": 20, "word_ngrams": 2, "negative_samples": 4}
    context = job(tmp_path, {"train": train, "validation": validation}, listener, loss=loss, **settings)
    model: Any = BlazingText().train(context)
    model.save(tmp_path)
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    lines = validation.decode().splitlines()
    texts = [" ".join(word for word in line.split() if not word.startswith("__label__")) for line in lines]
    right = 0
    for line, text, answer in zip(lines, texts, model.predict(texts, [{"k": -1}] * len(texts)), strict=True):
        labels, chances = theirs.predict(text, k=-1)
        found = dict(zip(answer["label"], answer["prob"], strict=True))
        assert set(labels) == set(found)
        # fastText adds 1e-5 to what it tells.
        np.testing.assert_allclose(chances, [found[label] for label in labels], atol=2.1e-5)
        right += answer["label"][0] in line.split()
    assert listener.validations()[-1] == right / len(lines)
    assert listener.validations()[-1] > 0.9


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labels", [9, 120])
def test_threads_learn_as_well(loss: str, labels: int, tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": topics(2500, 1, labels), "validation": topics(500, 2, labels)}
    BlazingText().train(job(tmp_path, channels, listener, threads=2, loss=loss, epochs=8, vector_dim=16, word_ngrams=1))
    assert listener.facts["threads"] == 2
    assert listener.validations()[-1] > 0.8


@pytest.mark.parametrize("loss", LOSSES)
def test_training_goes_on_from_a_model_of_the_same_loss(loss: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"loss": loss, "vector_dim": 12, "word_ngrams": 2, "epochs": 4}
    first = Listener()
    channels = {"train": topics(600, 1), "validation": topics(200, 2)}
    model: Any = BlazingText().train(job(tmp_path / "first", channels, first, **settings))
    (tmp_path / "second" / "model").mkdir(parents=True)
    model.save(tmp_path / "second" / "model")
    earlier = {**channels, "train": topics(100, 3), "model": {}}
    second = Listener()
    again: Any = BlazingText().train(
        job(tmp_path / "second", earlier, second, **{**settings, "epochs": 1, "learning_rate": 0.01})
    )
    assert set(again.labels) == set(model.labels)
    assert abs(second.validations()[-1] - first.validations()[-1]) < 0.05
    other = "softmax" if loss == "hs" else "hs"
    with pytest.raises(ClientError, match=f"trained with loss = {loss}, so loss must be {loss}"):
        BlazingText().train(job(tmp_path / "second", earlier, **{**settings, "loss": other}))


def test_a_tree_takes_no_new_labels(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"loss": "hs", "vector_dim": 4, "word_ngrams": 1, "epochs": 1}
    model: Any = BlazingText().train(job(tmp_path, {"train": topics(100, 1, 3)}, **settings))
    (tmp_path / "next" / "model").mkdir(parents=True)
    model.save(tmp_path / "next" / "model")
    with pytest.raises(
        ClientError, match=r"labels that the model in channel model lacks \(__label__\d.*cannot take new"
    ):
        BlazingText().train(job(tmp_path / "next", {"train": topics(100, 1, 9), "model": {}}, **settings))


def test_new_labels_and_words_are_learnt(tmp_path: Path) -> None:
    for loss in ("ova", "ns"):
        folder = tmp_path / loss
        settings: dict[str, Any] = {"loss": loss, "vector_dim": 12, "word_ngrams": 1, "epochs": 5}
        model: Any = BlazingText().train(job(folder, {"train": topics(400, 1, 4)}, **settings))
        (folder / "next" / "model").mkdir(parents=True)
        model.save(folder / "next" / "model")
        listener = Listener()
        channels = {"train": topics(900, 2, 9), "validation": topics(200, 3, 9), "model": {}}
        again: Any = BlazingText().train(job(folder / "next", channels, listener, **settings))
        assert len(again.labels) == 9
        assert listener.validations()[-1] > 0.85


def test_very_many_negatives_are_stopped_within_an_epoch(tmp_path: Path) -> None:
    listener = Listener(stop_at=1)
    BlazingText().train(job(tmp_path, {"train": topics(300, 1)}, listener, loss="ns", negative_samples=1_000_000))
    assert listener.facts["epochs_run"] == 0
    assert "stopped in epoch 1 of 5; a checkpoint is kept" in listener.lines
