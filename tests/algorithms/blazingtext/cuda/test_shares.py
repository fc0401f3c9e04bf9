"""How much of a change rows take that many blocks hold."""

from __future__ import annotations

import numpy as np

from wildsage.algorithms.blazingtext.cuda.shares import held_by_lines, held_by_words, shares
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.blazingtext.kernels.supervised import Lines
from wildsage.algorithms.blazingtext.losses import make_loss
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.blazingtext.word_epochs import Subwords, _chances

COUNTS = np.array([900, 60, 30, 10], np.int64)
WORDS = [b"the", b"cat", b"sat", b"cats"]


def held(**values: object) -> tuple[np.ndarray, np.ndarray]:
    given = {"mode": "skipgram", "sampling_threshold": 1e9, "window_size": 2, "negative_samples": 3, **values}
    parameters = BlazingTextHyperparameters.model_validate(given)
    chances = _chances(Vocabulary(WORDS, COUNTS, [], COUNTS[:0]), parameters)
    subwords = Subwords.of(WORDS, 3, 3, 50) if parameters.subwords else Subwords.none()
    return held_by_words(COUNTS, COUNTS**0.75, chances, subwords, 10)


def test_one_block_takes_all_of_its_changes() -> None:
    for part in shares(*held(), 0, 0.1):
        assert part.dtype == np.float32
        assert (part == 1).all()


def test_a_row_takes_as_much_in_all_as_few_blocks_would_give_it() -> None:
    inputs, outputs = held()
    np.testing.assert_allclose(inputs, COUNTS / 1000 * 5)
    np.testing.assert_allclose(outputs, COUNTS / 1000 + 3 * COUNTS**0.75 / (COUNTS**0.75).sum())
    taken = shares(inputs, outputs, 100, 16)
    np.testing.assert_allclose(taken.inputs, [16 / 450, 16 / 30, 1, 1], rtol=1e-6)
    assert (taken.outputs[1:] >= taken.outputs[:-1]).all()


def test_every_word_passes_the_root_of_the_tree() -> None:
    _, outputs = held(loss="hs")
    assert sorted(np.round(outputs, 6)) == [0, 0.04, 0.1, 1]


def test_a_batch_holds_the_rows_of_its_words_ngrams() -> None:
    inputs, _ = held(subwords=True)
    each = 1 - (1 - COUNTS / 1000) ** 10
    np.testing.assert_allclose(inputs[:4], each)
    assert np.isclose(inputs[4:], each[1] + each[3]).any()  # "<ca" and "cat" are of cat and of cats


def test_rows_of_lines_weigh_what_they_move() -> None:
    lines = Lines(
        np.array([0, 1, 0, 2, 2], np.int32), np.array([1, 1, 1, 3, 0], np.float32), np.array([0, 2, 4], np.int64),
        np.array([0.5, 0.25], np.float32), np.array([0, 1], np.int32), np.arange(3), np.array([0, 3, 7], np.int64),
    )  # fmt: skip
    lines = lines._replace(rows=lines.rows[:4], weights=lines.weights[:4])
    counts = np.array([3, 1], np.int64)
    inputs, outputs = held_by_lines(lines, 4, counts, counts**0.5, make_loss("softmax", counts, 5))
    np.testing.assert_allclose(inputs, [0.375, 0.25, 0.375, 0])
    np.testing.assert_allclose(outputs, [0.75, 0.75])
    _, outputs = held_by_lines(lines, 4, counts, counts**0.5, make_loss("hs", counts, 5))
    np.testing.assert_allclose(outputs, [1, 0])
    _, outputs = held_by_lines(lines, 4, counts, counts**0.5, make_loss("ns", counts, 5))
    np.testing.assert_allclose(outputs.sum(), 6)
