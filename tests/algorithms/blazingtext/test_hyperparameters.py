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


@pytest.mark.parametrize("mode", ["skipgram", "cbow", "batch_skipgram"])
def test_word_vectors_have_the_published_defaults_too(mode: str) -> None:
    made = BlazingTextHyperparameters.parse({"mode": mode})
    assert (made.window_size, made.negative_samples, made.batch_size, made.evaluation) == (5, 5, 11, True)
    assert (made.sampling_threshold, made.min_char, made.max_char, made.subwords) == (0.0001, 3, 6, False)
    assert (made.chosen_loss, made.deterministic, made.cbow_mean_gradient) == ("ns", False, False)
    assert made.notes() == []


@pytest.mark.parametrize(("mode", "loss"), [("skipgram", "softmax"), ("cbow", "ova"), ("batch_skipgram", "softmax")])
def test_a_loss_that_the_mode_lacks_is_refused(mode: str, loss: str) -> None:
    with pytest.raises(ClientError, match=f"loss = {loss} is not allowed in mode {mode}"):
        BlazingTextHyperparameters.parse({"mode": mode, "loss": loss})


def test_ngrams_need_a_shortest_that_is_not_longer_than_the_longest() -> None:
    values = {"mode": "cbow", "min_char": "5", "max_char": "4"}
    assert not BlazingTextHyperparameters.parse(values).makes_subwords
    with pytest.raises(ClientError, match="min_char = 5 is not allowed: max_char, which is 4, or less"):
        BlazingTextHyperparameters.parse({**values, "subwords": "true"})


def test_batch_skipgram_has_no_subwords() -> None:
    made = BlazingTextHyperparameters.parse({"mode": "batch_skipgram", "subwords": "True", "loss": "hs"})
    assert not made.makes_subwords
    assert made.notes() == ["subwords has no effect in mode batch_skipgram (it is for skipgram, cbow)"]
    made = BlazingTextHyperparameters.parse(
        {"mode": "skipgram", "max_char": "4", "loss": "hs", "negative_samples": "3"}
    )
    assert made.notes() == ["max_char has no effect without subwords", "negative_samples has no effect with loss = hs"]


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


def test_two_folds_are_the_fewest() -> None:
    assert BlazingTextHyperparameters.parse({"mode": "supervised", "k_fold": "2"}).k_fold == 2
    with pytest.raises(ClientError, match="k_fold = 1 is not allowed: 2 or more folds, or 0 for none"):
        BlazingTextHyperparameters.parse({"mode": "supervised", "k_fold": "1"})


def test_negative_samples_are_used_where_negatives_are_drawn() -> None:
    given = {"mode": "supervised", "negative_samples": "7"}
    assert any("negative_samples has no effect" in note for note in BlazingTextHyperparameters.parse(given).notes())
    assert BlazingTextHyperparameters.parse({**given, "loss": "ns"}).notes() == []


def test_options_that_another_one_turns_on_are_named() -> None:
    made = BlazingTextHyperparameters.parse({"mode": "skipgram", "phrase_threshold": "50", "position_weights": "true"})
    assert not made.weighs_positions
    assert made.notes() == [
        "position_weights has no effect in mode skipgram (it is for cbow)",
        "phrase_threshold has no effect without phrases",
    ]
    made = BlazingTextHyperparameters.parse({"mode": "supervised", "phrases": "2", "phrase_discount": "1"})
    assert [note.partition(" ")[0] for note in made.notes()] == ["phrases", "phrase_discount"]
    with pytest.raises(ClientError, match="phrase_threshold = 0"):
        BlazingTextHyperparameters.parse({"mode": "cbow", "phrase_threshold": "0"})
