"""The loop of the streaming algorithms: epochs, checkpoints, stopping, pipes; threads; several ranks."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.algorithms.jobs import Listener
from tests.data.channels import pipes
from tests.waiting import until
from wildsage.algorithms import checkpoint as checkpoints
from wildsage.algorithms import streaming
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.streaming import Seen, State, Workers, check_dimension, merged, run
from wildsage.contract.channels import Channel, Distribution
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import Hyperparameters
from wildsage.data.batch import Batch
from wildsage.data.readers import RowStream, open_channel

ROWS, BATCH = 95, 10


class Nothing(Hyperparameters):
    rate: float = 1.0


class Totals(State):
    """The sum of all rows, which a merge keeps, and a mark that tells every order of batches from others."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.total, self.mark = np.zeros(2), np.zeros(1)
        self.batches, self.fail_at = 0, fail_at

    def update(self, batch: Batch) -> None:
        if self.batches == self.fail_at:
            raise KeyboardInterrupt
        self.batches += 1
        self.total += batch.dense().sum(axis=0)
        self.mark = self.mark * 1.0625 + batch.dense()[0, 0]

    def merge(self, other: Self) -> None:
        self.total += other.total

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"total": self.total, "mark": self.mark}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.total, self.mark = arrays["total"], arrays["mark"]


def text(rows: int = ROWS, first: int = 0) -> str:
    return "".join(f"{row},{row % 7}\n" for row in range(first, first + rows))


def job(folder: Path, listener: Listener | None = None, content: str | None = None) -> TrainingContext[Nothing]:
    path = folder / "train"
    path.mkdir(parents=True, exist_ok=True)
    if content is not None or not list(path.iterdir()):
        (path / "a.csv").write_text(content or text(60))
        (path / "b.csv").write_text(text(ROWS - 60, first=60))
    return context_of(Channel("train", path, "text/csv;label_size=0"), folder, listener)


def context_of(channel: Channel, folder: Path, listener: Listener | None = None) -> TrainingContext[Nothing]:
    listener = listener or Listener()
    return TrainingContext(
        Nothing(), {"train": channel}, folder / "output", folder / "checkpoints", listener, listener.stop
    )


def stream_of(context: TrainingContext[Any], **more: Any) -> RowStream:
    return open_channel(context.channels["train"], batch_rows=BATCH, stop=context.stop, **more)


def go(
    context: TrainingContext[Any],
    state: State,
    *,
    epochs: int = 3,
    mark: str | None = None,
    after_epoch: Callable[[int], bool] | None = None,
    **more: Any,
) -> Seen:
    stream = stream_of(context, **more)
    mark = fingerprint(context) if mark is None else mark
    return run(context, stream, state, epochs=epochs, fingerprint=mark, after_epoch=after_epoch)


def whole(folder: Path, **more: Any) -> Totals:
    state = Totals()
    go(job(folder), state, **more)
    return state


def test_all_epochs_see_all_rows(tmp_path: Path) -> None:
    listener, state = Listener(), Totals()
    seen = go(job(tmp_path, listener), state)
    assert (seen.epochs, seen.rows, seen.total_rows, seen.stopped, seen.ended) == (3, 0, 3 * ROWS, False, False)
    assert state.total[0] == 3 * sum(range(ROWS))
    names = [(name, epoch) for name, _, epoch in listener.metrics]
    assert names == [(f"train:{what}", epoch) for epoch in (1, 2, 3) for what in ("progress", "throughput")]
    assert [value for name, value, _ in listener.metrics if name == "train:progress"] == pytest.approx(
        [100 / 3, 200 / 3, 100]
    )
    assert listener.calls[-1] == (3 * ROWS, 3 * ROWS)


@pytest.mark.parametrize("stop_at", [1, 4, 10, 13, 29])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stopped_job_goes_on_in_the_middle_of_an_epoch(stop_at: int, shuffle: bool, tmp_path: Path) -> None:
    more = {"shuffle": shuffle, "shuffle_rows": 30}
    listener, state = Listener(stop_at=stop_at), Totals()
    seen = go(job(tmp_path / "parts", listener), state, **more)
    assert seen.stopped
    assert seen.total_rows < 3 * ROWS
    listener, resumed = Listener(), Totals()
    seen = go(job(tmp_path / "parts", listener), resumed, **more)
    assert listener.lines[0].startswith("going on from the checkpoint")
    assert not seen.stopped
    assert seen.total_rows == 3 * ROWS
    expected = whole(tmp_path / "whole", **more)
    assert (resumed.total == expected.total).all()
    assert resumed.mark == expected.mark


def test_a_killed_job_goes_on_from_a_checkpoint_within_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)
    with pytest.raises(KeyboardInterrupt):
        go(job(tmp_path / "parts"), Totals(fail_at=14))
    resumed = Totals()
    go(job(tmp_path / "parts"), resumed)
    assert resumed.batches == 30 - 14
    assert resumed.mark == whole(tmp_path / "whole").mark


def test_a_stop_before_the_first_batch_leaves_a_checkpoint(tmp_path: Path) -> None:
    context = job(tmp_path)
    context.stop.set()
    seen = go(context, state := Totals())
    assert seen.stopped
    assert state.batches == 0
    assert list(context.checkpoints.iterdir())


def test_a_stop_after_the_last_epoch_has_stopped_nothing(tmp_path: Path) -> None:
    listener = Listener(stop_at=31)  # the last report, when all is done
    seen = go(job(tmp_path, listener), state := Totals())
    assert listener.stop.is_set()
    assert (seen.epochs, seen.stopped) == (3, False)
    again = Totals()
    assert go(job(tmp_path), again).epochs == 3
    assert again.batches == 0
    assert again.mark == state.mark


@pytest.mark.parametrize("change", ["data", "fingerprint", "damage"])
def test_another_job_starts_anew(change: str, tmp_path: Path) -> None:
    go(job(tmp_path, Listener(stop_at=13)), Totals())
    listener = Listener()
    context = job(tmp_path, listener, text(60).replace("59,3", "58,3") if change == "data" else None)
    if change == "damage":
        (context.checkpoints / streaming.CHECKPOINT_FILE).write_bytes(b"nonsense")
    mark = "another" if change == "fingerprint" else None
    seen = go(context, state := Totals(), mark=mark)
    assert "starting anew" in listener.lines[0]
    assert seen.total_rows == 3 * ROWS
    assert state.batches == 30


@pytest.mark.parametrize("whole", [True, False])
def test_the_fingerprint_knows_the_worker_and_what_it_is_given(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        monkeypatch.setattr(checkpoints, "WHOLE_BYTES", 0)
    context = job(tmp_path)
    others = [
        fingerprint(dataclasses.replace(context, rank=1, world_size=2)),
        fingerprint(dataclasses.replace(context, hyperparameters=Nothing(rate=2))),
        fingerprint(context, np.arange(3)),
        fingerprint(context, channels=()),
    ]
    assert len({fingerprint(context), *others}) == 5
    assert fingerprint(job(tmp_path)) == fingerprint(context)
    rated = dataclasses.replace(context, hyperparameters=Nothing(rate=2))
    assert fingerprint(rated, without=["rate"]) == fingerprint(context, without=["rate"])


def test_the_fingerprint_knows_each_byte_of_few_and_pieces_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = job(tmp_path)
    path = context.channels["train"].files()[0]
    content = bytearray(np.random.default_rng(0).bytes(200_000))
    monkeypatch.setattr(checkpoints, "PIECE_BYTES", 1000)

    def told(place: int) -> str:
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        return fingerprint(context)

    places = [0, 5_000, 100_001, 199_999]
    assert len({told(place) for place in places}) == 4
    monkeypatch.setattr(checkpoints, "WHOLE_BYTES", 1000)
    assert len({told(place) for place in places}) == 3


def test_after_epoch_ends_training_and_stays_ended(tmp_path: Path) -> None:
    asked: list[int] = []

    def after_epoch(epochs: int) -> bool:
        asked.append(epochs)
        listener.stop.set()
        return epochs == 2

    listener = Listener()
    seen = go(job(tmp_path, listener), Totals(), epochs=9, after_epoch=after_epoch)
    assert (seen.epochs, seen.ended, seen.stopped) == (1, False, True)
    listener = Listener()
    seen = go(job(tmp_path, listener), Totals(), epochs=9, after_epoch=after_epoch)
    assert (seen.epochs, seen.ended) == (2, True)
    state = Totals()
    seen = go(job(tmp_path), state, epochs=9, after_epoch=after_epoch)
    assert (seen.epochs, seen.ended, state.batches) == (2, True, 0)
    assert asked == [1, 2]


def test_a_bad_row_is_told_and_ends_the_threads_that_read(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(DataError, match=r"a\.csv, line 43"):
        go(job(tmp_path, content=text(42) + "x,1\n"), Totals(), threads=2)
    until(lambda: threading.active_count() == before, what="the end of the readers")


def test_pipes_one_an_epoch(tmp_path: Path) -> None:
    contents = [text(35).encode(), text(45, first=100).encode()]
    with pipes(tmp_path, contents, "text/csv;label_size=0") as channel:
        context = context_of(channel, tmp_path)
        seen = go(context, state := Totals(), epochs=2)
    assert (seen.epochs, seen.total_rows) == (2, 80)
    assert state.total[0] == sum(range(35)) + sum(range(100, 145))


def test_pipes_go_on_with_what_comes_next(tmp_path: Path) -> None:
    """A new run gets pipes from train_0 on; what the checkpoint has of the epoch is passed over in the first."""
    content = text(50).encode()
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with pipes(tmp_path / "first", [content], "text/csv;label_size=0") as channel:
        context = context_of(channel, tmp_path, Listener())

        class Stopping(Totals):
            def update(self, batch: Batch) -> None:
                super().update(batch)
                if self.batches == 2:
                    context.stop.set()

        seen = go(context, Stopping(), epochs=2, mark="pipes")
    assert (seen.epochs, seen.rows, seen.stopped) == (0, 20, True)
    with pipes(tmp_path / "second", [content, content], "text/csv;label_size=0") as channel:
        seen = go(context_of(channel, tmp_path), state := Totals(), epochs=2, mark="pipes")
    assert (seen.epochs, seen.total_rows) == (2, 100)
    assert state.total[0] == 2 * sum(range(50))


@pytest.mark.parametrize("distribution", list(Distribution))
def test_two_ranks_merged_have_seen_all_rows(distribution: Distribution, tmp_path: Path) -> None:
    states = []
    for rank in (0, 1):
        context = dataclasses.replace(job(tmp_path / "all"), rank=rank, world_size=2)
        channel = dataclasses.replace(context.channels["train"], distribution=distribution)
        if distribution is Distribution.SHARDED_BY_S3_KEY:  # each worker has its own files
            path = tmp_path / f"shard {rank}"
            path.mkdir()
            (path / "part.csv").write_text(text(60) if rank == 0 else text(ROWS - 60, first=60))
            channel = dataclasses.replace(channel, path=path)
        context = dataclasses.replace(
            context, channels={"train": channel}, checkpoints=tmp_path / f"checkpoints {rank}"
        )
        states.append(Totals())
        go(context, states[-1], epochs=1, rank=rank, world_size=2)
    assert all(state.total[0] < sum(range(ROWS)) for state in states)
    total = merged(states)
    assert total is states[0]
    assert (total.total == whole(tmp_path / "all", epochs=1).total).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
@given(rows=st.integers(0, 1000), least=st.integers(1, 300))
def test_workers_split_rows_once_each_in_order(threads: int, rows: int, least: int) -> None:
    parts: dict[int, tuple[int, int]] = {}
    with Workers(threads) as workers:
        workers.split(rows, lambda thread, begin, end: parts.update({thread: (begin, end)}), least=least)
    assert sorted(parts) == list(range(len(parts)))
    assert 1 <= len(parts) <= threads
    assert [row for part in sorted(parts) for row in range(*parts[part])] == list(range(rows))
    if len(parts) > 1:
        assert all(end - begin >= least for begin, end in parts.values())


def test_workers_run_side_by_side() -> None:
    barrier = threading.Barrier(3, timeout=30)

    def wait(k: int) -> None:
        barrier.wait()

    with Workers(3) as workers:
        workers.each(3, wait)


@pytest.mark.parametrize("failing", [{0}, {1}, {2}, {1, 2}, {0, 2}])
def test_workers_raise_the_first_error_once_all_are_done(failing: set[int]) -> None:
    """First by place, whichever comes first in time: the first bad row of a batch is the one that is told."""
    done: list[int] = []
    late = threading.Event()

    def work(k: int) -> None:
        if k == 2:
            late.set()
        elif 2 in failing:
            late.wait(30)  # the last part fails first
        if k in failing:
            raise ValueError(f"part {k}")
        done.append(k)

    with Workers(3) as workers:
        with pytest.raises(ValueError, match=f"part {min(failing)}"):
            workers.each(3, work)
        assert sorted(done) == sorted({0, 1, 2} - failing)
        workers.each(3, done.append)  # they can be used again
    assert len(done) == 6 - len(failing)


def test_more_jobs_than_threads() -> None:
    done: list[int] = []
    with Workers(2) as workers:
        workers.each(9, done.append)
    assert sorted(done) == list(range(9))


@pytest.mark.parametrize(("asked", "found", "expected"), [(3, 3, 3), (None, 4, 4), (5, None, 5)])
def test_the_dimension(asked: int | None, found: int | None, expected: int) -> None:
    assert check_dimension(asked, found, "train") == expected


def test_a_dimension_that_differs_or_is_not_known() -> None:
    with pytest.raises(ClientError, match="channel train has 4 features; feature_dim = 3"):
        check_dimension(3, 4, "train")
    with pytest.raises(ClientError, match="set feature_dim"):
        check_dimension(None, None, "train")
    with pytest.raises(ClientError, match="channel train is empty"):
        check_dimension(None, 0, "train")
