"""Training beside a float64 reference; determinism, stops, resuming, early stopping, earlier models, any bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.algorithms.glove.jobs import SMALL, job, sentences, wide
from tests.algorithms.glove.naive import Reference
from tests.algorithms.jobs import Listener
from wildsage.algorithms import checkpoint
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.glove import training
from wildsage.algorithms.glove.cooccurrence import Counting, Matrix, count
from wildsage.algorithms.glove.hyperparameters import GloveHyperparameters
from wildsage.algorithms.glove.kernels.counting import SIDE
from wildsage.algorithms.glove.training import TrainedRows, Training
from wildsage.contract.errors import ClientError


def train(
    folder: Path, text: str | bytes, listener: Listener | None = None, *, threads: int = 1, **values: Any
) -> TrainedRows:
    return training.train(job(folder, {"train": text}, listener, threads=threads, **values))


def same(a: TrainedRows, b: TrainedRows) -> bool:
    arrays = ("words", "contexts", "biases")
    return a.vocabulary.words == b.vocabulary.words and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays
    )


def visited(epochs: Training, matrix: Matrix) -> Iterator[tuple[int, int, float, float]]:
    """The non-zeros in the order that one thread meets them."""
    for t in range(epochs.rounds):
        epochs.position.round = t
        bounds, sizes = epochs._cells, epochs._sizes[t * epochs.groups :][: epochs.groups]
        for cell in np.argsort(-sizes, kind="stable"):
            for visit in epochs._visits[bounds[cell] : bounds[cell + 1]].tolist():
                row, column, first, size = epochs.shares[visit >> 1].tolist()
                for k in range(first, first + size):
                    place = int(matrix.cells[k])
                    pair = row * SIDE + place // SIDE, column * SIDE + place % SIDE
                    word, context = pair[::-1] if visit & 1 else pair
                    yield word, context, float(matrix.values[k, 0]), float(matrix.values[k, 1])
    epochs.position.round = 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("words", "dim"), [(60, 5), (60, 31), (2300, 14)])
def test_rows_and_costs_are_those_of_the_reference(symmetric: bool, words: int, dim: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    stream = np.where(rng.random(3000) < 0.1, -1, np.minimum(rng.zipf(1.3, 3000) - 1, words - 1)).astype(np.int32)
    parameters = GloveHyperparameters.parse({**SMALL, "vector_dim": dim, "learning_rate": 0.1, "symmetric": symmetric})
    vocabulary = Vocabulary([b"%d" % k for k in range(words)], np.ones(words, np.int64), [], np.zeros(0, np.int64))
    with ThreadPoolExecutor(1) as pool:
        matrix = count(stream, Counting(words, 4, symmetric, 10, 0.75, 0), tmp_path, 1, 1 << 26, pool, Event())
        ours = Training(parameters, words, matrix, 1, pool, Event(), Listener())
        ours.initialise(None, vocabulary)
        first = ours.rows_out(vocabulary)
        slow = Reference(first.words, first.contexts, 0.1)
        for epoch in range(3):
            ours.plan_epoch()
            met = list(visited(ours, matrix))
            assert len({pair[:2] for pair in met}) == len(met) == matrix.non_zeros
            expected = slow.epoch(met)
            ours.run_epoch()
            assert ours.position.sums[1] == len(met)
            assert ours.end_epoch() == pytest.approx(expected, rel=1e-4), epoch
    rows = ours.rows_out(vocabulary)
    assert np.allclose(rows.words, slow.vectors[0], atol=1e-3)
    assert np.allclose(rows.contexts, slow.vectors[1], atol=1e-3)
    assert np.allclose(rows.biases, slow.biases, atol=1e-3)
    assert np.array_equal(ours.rows[:, :, 0, dim + 2 :], np.zeros_like(ours.rows[:, :, 0, dim + 2 :]))
    assert np.all(ours.rows[0, :, 0, dim + 1] == 1)
    assert np.all(ours.rows[1, :, 0, dim] == 1)


def test_large_blocks_are_cut_into_equal_shares() -> None:
    blocks = np.array([[0, 0, 0, 5000], [0, 1, 5000, 2048], [1, 1, 7048, 1]])
    shares = training.cut(blocks)
    assert shares[:, 2].tolist() == [0, 1666, 3333, 5000, 7048]
    assert shares[:, 3].tolist() == [1666, 1667, 1667, 2048, 1]
    assert shares[:, :2].tolist() == [[0, 0]] * 3 + [[0, 1], [1, 1]]
    assert training.cut(blocks[:0]).shape == (0, 4)


@pytest.mark.parametrize("threads", [1, 3])
def test_cells_of_a_round_have_no_row_in_common(threads: int, tmp_path: Path) -> None:
    stream = np.random.default_rng(1).integers(0, 20_000, 40_000).astype(np.int32)
    vocabulary = Vocabulary([b"%d" % k for k in range(20_000)], np.ones(20_000, np.int64), [], np.zeros(0, np.int64))
    parameters = GloveHyperparameters.parse(SMALL)
    with ThreadPoolExecutor(threads) as pool:
        matrix = count(stream, Counting(20_000, 4, True, 10, 0.75, 0), tmp_path, 1, 1 << 26, pool, Event())
        ours = Training(parameters, 20_000, matrix, threads, pool, Event(), Listener())
    ours.initialise(None, vocabulary)
    ours.plan_epoch()
    assert ours.groups > 3
    assert sorted(ours._visits) == sorted(set(ours._visits))
    for turn in range(ours.rounds):
        ours.position.round = turn
        bounds, rows, columns = ours._cells, set[int](), set[int]()
        for cell in range(ours.groups):
            visits = ours._visits[bounds[cell] : bounds[cell + 1]]
            sides = [ours.shares[visit >> 1, :2][:: -1 if visit & 1 else 1].tolist() for visit in visits.tolist()]
            here, there = {side[0] for side in sides}, {side[1] for side in sides}
            assert not here & rows
            assert not there & columns
            rows |= here
            columns |= there


def test_the_cost_falls_and_is_told(tmp_path: Path) -> None:
    listener = Listener()
    train(tmp_path, sentences(300), listener, epochs=6)
    told = [value for name, value, _ in listener.metrics if name == "train:cost"]
    assert len(told) == 6
    assert told == sorted(told, reverse=True)
    assert [epoch for *_, epoch in listener.metrics] == [1, 2, 3, 4, 5, 6]
    assert listener.facts["non_zeros"] > 0
    assert np.allclose(listener.facts["costs"], told, atol=1e-7)


@pytest.mark.parametrize("values", [{}, {"symmetric": False}], ids=str)
def test_threads_and_memory_change_nothing(values: dict[str, Any], tmp_path: Path) -> None:
    text = wide(400, 13_000)
    one = train(tmp_path / "one", text, epochs=2, **values)
    listener = Listener()
    three = train(tmp_path / "three", text, listener, threads=3, epochs=2, memory_limit=16, **values)
    assert listener.facts["threads"] == 3
    assert same(one, three)
    assert not same(one, train(tmp_path / "seed", text, epochs=2, seed=5, **values))


@pytest.fixture
def often_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told after each block or so, and so a job can be stopped anywhere."""
    monkeypatch.setattr(training, "PIECE", 1)

    def run(pool: Any, work: Any, count: int, tell: Any) -> None:
        told = training.train_visits

        def visit(*given: Any) -> int:
            at = int(told(*given))
            tell()
            return at

        monkeypatch.setattr(training, "train_visits", visit)
        try:
            work(0)
        finally:
            monkeypatch.setattr(training, "train_visits", told)

    monkeypatch.setattr(training, "run_watched", run)


@pytest.mark.usefixtures("often_told")
@pytest.mark.parametrize("calls", [5, 40, 100])
def test_a_stopped_job_ends_as_if_it_had_not_been(calls: int, tmp_path: Path) -> None:
    text = wide(60, 6200)
    expected = train(tmp_path / "whole", text, epochs=3)
    first = Listener(stop_at=calls)
    train(tmp_path / "parts", text, first, epochs=3)
    assert first.facts["epochs_run"] < 3
    assert (tmp_path / "parts" / "checkpoints" / "glove.npz").exists()
    second = Listener()
    resumed = train(tmp_path / "parts", text, second, epochs=3)
    assert any("resuming from the checkpoint" in line for line in second.lines)
    assert same(resumed, expected)
    assert second.facts["epochs_run"] == 3
    assert len(second.facts["costs"]) == 3


def test_a_killed_job_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SHARE", 1e9)  # one each epoch
    text = sentences(60)
    expected = train(tmp_path / "whole", text)

    class Killed(Listener):
        def say(self, text: str) -> None:
            if text.startswith("epoch 3"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", text, Killed())
    listener = Listener()
    assert same(train(tmp_path / "parts", text, listener), expected)
    assert any("in epoch 3" in line for line in listener.lines)


def test_what_a_resumed_job_saved_is_by_its_own_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SHARE", 1e9)
    values = {"early_stopping": True, "early_stopping_tolerance": 0.9, "patience": 2, "min_epochs": 6, "epochs": 500}

    class Stopping(Listener):
        def say(self, text: str) -> None:
            if text.startswith("epoch 5"):
                self.stop.set()

    train(tmp_path, sentences(60), Stopping(), **values)
    listener = Listener()
    train(tmp_path, sentences(60), listener, **values)
    facts = listener.facts
    assert facts["epochs_run"] == 6
    # Seconds are told in whole milliseconds.
    assert facts["seconds_saved"] == pytest.approx(494 * facts["seconds"]["train"], abs=494 * 0.0006)


def test_a_checkpoint_of_another_job_is_not_used(tmp_path: Path) -> None:
    stopped = Listener(stop_at=5)
    train(tmp_path, sentences(60), stopped, epochs=50)
    listener = Listener()
    train(tmp_path, sentences(60), listener, epochs=3, x_max=20)
    assert any("of another job" in line for line in listener.lines)


def test_early_stopping_ends_when_the_cost_hardly_falls(tmp_path: Path) -> None:
    listener = Listener()
    values = {"early_stopping": True, "early_stopping_tolerance": 0.9, "patience": 2, "min_epochs": 4, "epochs": 50}
    train(tmp_path, sentences(60), listener, **values)
    assert listener.facts["epochs_run"] == 4
    assert listener.facts["stopped_early"] is True
    assert any("stopped early" in line for line in listener.lines)


@pytest.mark.parametrize(
    ("text", "values", "told"),
    [
        ("", {}, r"channel train: empty \(text.txt\)"),
        ("one two\n", {"min_count": 5}, r"no word is seen 5 times or more \(min_count\)"),
        ("one\n", {}, "1 word is seen 1 times or more"),
        ("one\ntwo\nthree\n", {}, "no two words of the vocabulary stand within window_size = 4"),
        ("a b\n", {"learning_rate": 1e30}, r"training diverged in epoch \d: .* learning_rate than 1e\+30"),
        ("a b\n", {"learning_rate": 1e300}, r"training diverged in epoch \d: .* learning_rate than 1e\+300"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(text: str, values: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=told):
        train(tmp_path, text, **values)


def test_a_job_that_is_stopped_at_once_says_so(tmp_path: Path) -> None:
    listener = Listener()
    listener.stop.set()
    with pytest.raises(ClientError, match="stopped before the first word was learnt"):
        train(tmp_path, sentences(10), listener)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"the vectors of 53 words need .* GB is available: lower vector_dim"):
        training.train(job(tmp_path, {"train": sentences(60)}, memory_bytes=10**8, vector_dim=1_000_000))


def test_lines_ends_are_no_words(tmp_path: Path) -> None:
    rows = train(tmp_path, "a b\n" * 20)
    assert sorted(rows.vocabulary.words) == [b"a", b"b"]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=300))
def test_any_bytes_give_rows_or_an_error(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = train(Path(folder), text, epochs=1)
        except ClientError:
            return
    assert np.isfinite(rows.words).all()
