"""Hyperparameters as a user gives them."""

from __future__ import annotations

import pytest

from wildsage.algorithms.blazingtext.hyperparameters import LIMITS, BlazingTextHyperparameters
from wildsage.contract.errors import ClientError


def test_defaults_are_the_published_ones() -> None:
    made = BlazingTextHyperparameters.parse({"mode": "supervised"})
    assert (made.epochs, made.min_count, made.buckets, made.vector_dim, made.word_ngrams) == (5, 5, 2_000_000, 100, 2)
    assert (made.learning_rate, made.early_stopping, made.patience, made.min_epochs) == (0.05, False, 4, 5)
    assert made.notes() == []


@pytest.mark.parametrize("text", ["True", "true"])
def test_strings_become_values(text: str) -> None:
    made = BlazingTextHyperparameters.parse(
        {"mode": "supervised", "early_stopping": text, "learning_rate": "0.1", "min_count": "0"}
    )
    assert (made.early_stopping, made.learning_rate, made.min_count) == (True, 0.1, 0)


def test_every_wrong_value_is_named() -> None:
    wrong = {"epochs": "0", "learning_rate": "0", "vector_dim": "ten", "min_count": "-1", "patience": "0", "seed": "-1"}
    with pytest.raises(ClientError) as caught:
        BlazingTextHyperparameters.parse({"mode": "supervised", **wrong})
    assert all(name in str(caught.value) for name in wrong)


def test_the_mode_is_needed() -> None:
    with pytest.raises(ClientError, match="mode"):
        BlazingTextHyperparameters.parse({})


def test_what_has_no_effect_is_accepted_with_a_word() -> None:
    made = BlazingTextHyperparameters.parse(
        {"mode": "supervised", "window_size": "3", "subwords": "True", "patience": "2", "epochs": "3"}
    )
    assert made.notes() == [
        "subwords has no effect in mode supervised (it is for skipgram, cbow)",
        "window_size has no effect in mode supervised (it is for batch_skipgram, skipgram, cbow)",
        "patience has no effect without early_stopping",
    ]


@pytest.mark.parametrize("name", ["word_ngrams", "vector_dim", "max_char"])
def test_what_no_model_could_be_loaded_with_is_refused(name: str) -> None:
    most = LIMITS[name]
    assert BlazingTextHyperparameters.parse({"mode": "supervised", name: str(most)})
    with pytest.raises(ClientError, match=rf"{name} = {most + 1} is not allowed: 1 to {most}"):
        BlazingTextHyperparameters.parse({"mode": "supervised", name: str(most + 1)})
