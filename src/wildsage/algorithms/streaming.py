"""The one loop of the streaming algorithms: a channel's batches into a state that does not grow with the data.

A state is initialised, takes in batches (`update`), is joined with another that took in other rows (`merge`), and is
finalised into a model by its algorithm. After Liberty et al., "Elastic Machine Learning Algorithms in Amazon
SageMaker", SIGMOD 2020, section 3. Data larger than memory, several workers, checkpoints and going on later all come
from that.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from wildsage.algorithms.checkpoint import Checkpoint
from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from wildsage.algorithms.context import TrainingContext
    from wildsage.data.batch import Batch
    from wildsage.data.readers import RowStream

CHECKPOINT_FILE = "state.npz"
CHECKPOINT_SECONDS = 5.0  # between two, at least: a state is small, but a batch is soon done


class State(ABC):
    """What a streaming algorithm keeps between batches."""

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """Take in the rows of a batch. Raises DataError, by `batch.error`, for a row that it cannot."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another state has seen: as if its rows had come to this one, within a tolerance."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that it knows: equal arrays mean equal states, random numbers included. Not copies."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become the state whose arrays these are. Raises ValueError or KeyError for those of no such state."""


@dataclass
class Seen:
    """How far a job is."""

    epochs: int = 0  # whole ones
    rows: int = 0  # of the epoch that is not whole
    total_rows: int = 0  # of all epochs
    stopped: bool = False  # by context.stop
    ended: bool = False  # by after_epoch


def run(
    context: TrainingContext[Any],
    stream: RowStream,
    state: State,
    *,
    epochs: int,
    fingerprint: str,
    after_epoch: Callable[[int], bool] | None = None,
) -> Seen:
    """Pass `epochs` times over a channel, from the checkpoint if there is one.

    fingerprint: all that the state depends on; a checkpoint with another is not used. after_epoch: called with the
    number of epochs done; true ends training. What it remembers must be among the state's arrays.
    On context.stop a checkpoint is written, and the state is what it is.
    """
    seen = Seen()
    size = sum(array.nbytes for array in state.arrays().values())
    checkpoint = Checkpoint(context.checkpoints / CHECKPOINT_FILE, fingerprint, context.report, size)

    def take(facts: dict[str, Any], stored: Mapping[str, NDArray[Any]]) -> None:
        epochs_done, rows, total, ended = (int(facts[name]) for name in ("epochs", "rows", "total_rows", "ended"))
        state.restore({name: stored[name] for name in stored if name != "facts"})
        seen.epochs, seen.rows, seen.total_rows, seen.ended = epochs_done, rows, total, bool(ended)

    def keep() -> None:
        facts = {"epochs": seen.epochs, "rows": seen.rows, "total_rows": seen.total_rows, "ended": int(seen.ended)}
        checkpoint.write(facts, state.arrays())

    if checkpoint.resume(take):
        context.report.say(f"going on from the checkpoint: {seen.epochs} epochs and {seen.rows:,} rows are done")
        if not _is_pipe(context):  # a pipe is what comes next, whatever the epoch
            stream.epoch = seen.epochs
    kept_s = time.monotonic()
    while seen.epochs < epochs and not seen.ended:
        begun_s, skip, before = time.monotonic(), seen.rows, seen.total_rows
        with closing(iter(stream)) as batches:  # type: ignore[type-var]  # a generator, which a for would not end
            for batch in batches:
                if skip:
                    # Rows of a checkpoint are whole batches.
                    skip = max(0, skip - len(batch))
                    continue
                if context.stop.is_set():
                    # What a stream that shuffles has left is not what it would have yielded.
                    break
                state.update(batch)
                seen.rows += len(batch)
                seen.total_rows += len(batch)
                _tell(context, stream, seen, epochs)
                now = time.monotonic()
                if now - kept_s >= CHECKPOINT_SECONDS and checkpoint.is_due:
                    keep()
                    kept_s = time.monotonic()
        if context.stop.is_set():
            seen.stopped = True
            keep()
            break
        seen.epochs, seen.rows = seen.epochs + 1, 0
        seconds = max(time.monotonic() - begun_s, 1e-9)
        if seen.epochs == epochs:
            context.report.progress(seen.total_rows, seen.total_rows, unit="rows")
        context.report.metric("train:progress", 100 * seen.epochs / epochs, epoch=seen.epochs)
        context.report.metric("train:throughput", (seen.total_rows - before) / seconds, epoch=seen.epochs)
        seen.ended = after_epoch is not None and after_epoch(seen.epochs)
        if context.stop.is_set() or (seen.epochs < epochs and checkpoint.is_due):
            keep()
            kept_s = time.monotonic()
        if context.stop.is_set():
            seen.stopped = seen.epochs < epochs
            break
    return seen


def _is_pipe(context: TrainingContext[Any]) -> bool:
    return context.channels["train"].input_mode is InputMode.PIPE


def _tell(context: TrainingContext[Any], stream: RowStream, seen: Seen, epochs: int) -> None:
    rows = stream.expected_rows
    if rows is not None:
        # The last epoch's end is only known when it is there.
        context.report.progress(seen.total_rows, max(rows * epochs, seen.total_rows + 1), unit="rows")


class Workers:
    """Threads that share the rows of a batch, or other parts of one job, among them.

    Kernels and matrix products let go of the interpreter lock; a matrix product must itself have one thread.
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self.threads - 1, "wildsage-worker") if self.threads > 1 else None

    def each(self, count: int, job: Callable[[int], None]) -> None:
        """Run job(0), …, job(count - 1), side by side, and return when all are done. Raises what one has raised."""
        if self._pool is None or count < 2:
            for k in range(count):
                job(k)
            return
        # The caller takes part: a thread less to wake up.
        others = [self._pool.submit(job, k) for k in range(1, count)]
        try:
            job(0)
        finally:
            for other in others:
                other.exception()
        for other in others:
            other.result()

    def split(self, rows: int, job: Callable[[int, int, int], None], *, least: int = 64) -> None:
        """Run job(thread, begin, end) for parts of `rows` rows, one a thread; none of fewer than `least` rows."""
        parts = max(1, min(self.threads, rows // max(1, least)))
        bounds = [rows * k // parts for k in range(parts + 1)]
        self.each(parts, lambda k: job(k, bounds[k], bounds[k + 1]))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def merged(states: Iterable[State]) -> State:
    """Several states as one: the first takes in the others, in their order."""
    first, *others = states
    for other in others:
        first.merge(other)
    return first


def check_dimension(asked: int | None, found: int | None, channel: str) -> int:
    """The number of features, asked for or found. Raises ClientError where the two differ, or neither is there."""
    if found == 0:  # no first row had any
        raise ClientError(f"channel {channel} is empty")
    if found is None and asked is None:
        raise ClientError(f"channel {channel}: the number of features is not known; set feature_dim")
    if asked is not None and found is not None and asked != found:
        raise ClientError(f"channel {channel} has {found} features; feature_dim = {asked}")
    return asked if asked is not None else int(found or 0)
