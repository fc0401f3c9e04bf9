"""What k-means keeps between batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.kmeans.assignment import Assignment, Centres, TooLargeError
from wildsage.algorithms.kmeans.lloyd import distinct_at_random, plus_plus, polish, reduce_centres
from wildsage.algorithms.streaming import State
from wildsage.contract.errors import ClientError
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters
    from wildsage.algorithms.streaming import Workers
    from wildsage.data.batch import Batch

KEPT_ROWS = 256  # a centre: with them, loss without clusters came within 0.6 % of Lloyd's over all rows
LEAST_KEPT_ROWS = 32  # a centre, for Lloyd's rounds over them to do more good than harm
SMALL_ROWS = 1 << 14  # kept at least
KEPT_BYTES = 128 << 20
POLISH_ROUNDS = 10
LARGEST_VALUE = 1e18  # its square fits a float32
MOST_TRIALS = 8
TRIAL_WORK = 4e9  # multiplications of all trials, beyond which there are fewer


@dataclass(frozen=True)
class Finished:
    """k centres. weights: rows each stands for; distance: mean squared, of `sampled` rows; rows: all that were seen."""

    centres: NDArray[np.float32]  # (k, d)
    weights: NDArray[np.float64]  # (k,)
    distance: float
    sampled: int
    rows: int


class KMeansState(State):
    """Up to k * factor centres, each the mean of the rows that it got, and a uniform sample of all rows.

    Rows of a batch go to their nearest centre, which moves to the mean of what it has got: a rate of 1 / weight for
    each row (Sculley, "Web-Scale K-Means Clustering", WWW 2010). The first rows are held until centres can be chosen
    among them. A centre that is free, or has gone without a row for one half-life, takes a row far from all centres.
    The sample is a reservoir (Vitter, "Random Sampling with a Reservoir", 1985), with a half-life one that forgets
    as the weights do. Its size does not grow with the data.
    """

    def __init__(
        self,
        parameters: KMeansHyperparameters,
        features: int,
        workers: Workers,
        *,
        rank: int = 0,
        earlier: tuple[NDArray[np.float32], NDArray[np.float64]] | None = None,
        names: tuple[str, ...] | None = None,
    ) -> None:
        """earlier: centres (k, d) and weights (k,) of a model to go on from, of which each of several workers has
        its share of the weights. names: of the features, for messages."""
        self.parameters, self.features, self.names = parameters, features, names
        self._workers = workers
        k = parameters.k
        self.centres = Centres(max(k * parameters.factor, len(earlier[0]) if earlier else 0), features)
        count = self.centres.count
        self.origin = np.zeros(features, np.float32)
        self.weights = np.zeros(count)
        self.idle = np.zeros(count, np.int64)
        self.used = 0  # centres that are not free
        self.rows = 0  # seen
        self.weight = 0.0  # of what was seen, with the half-life
        self.held = 0  # rows of the sample that are there
        self.sampling = True
        self.sample = np.empty((sample_rows(parameters, features), features), np.float32)  # less the origin
        self.random = np.random.Generator(np.random.PCG64([parameters.seed, rank]))
        self.anchors = np.zeros((0, features), np.float32)
        self.anchor_weights = np.zeros(0)
        if earlier is not None:
            self.anchors, self.anchor_weights = earlier[0].astype(np.float32), earlier[1].astype(np.float64)
        self._assignment: Assignment | None = None

    @property
    def begun(self) -> bool:
        """Whether there are centres; until then the first rows are held in the sample."""
        return self._assignment is not None

    def update(self, batch: Batch) -> None:
        """Move the centres towards rows, float32 (n, features). Raises DataError for numbers that are too large."""
        try:
            self._take_rows(batch.features)
        except TooLargeError as error:
            raise batch.error(error.row, self._too_large(batch, error.row)) from error

    def _too_large(self, batch: Batch, row: int) -> str:
        values = _dense(_part(batch.features, row, row + 1))[0]
        column = int(np.argmax(np.abs(values)))
        name = f"{self.names[column]} = " if self.names else f"feature {column + 1} = "
        return f"{name}{values[column]:g} is too large for distances in float32: up to {LARGEST_VALUE:g}, sums included"

    def _take_rows(self, rows: NDArray[np.float32] | SparseRows) -> None:
        """Take in rows, or hold them where there are no centres yet."""
        first = 0
        if not self.begun:
            wanted = max(self.centres.count, min(self.parameters.mini_batch_size, len(self.sample)))
            first = min(len(rows), wanted - self.held)
            self._hold(_part(rows, 0, first))
            if self.held < self.centres.count:
                return
            self._begin(sparse=isinstance(rows, SparseRows))
        if first < len(rows):
            try:
                self._take(_part(rows, first, len(rows)))
            except TooLargeError as error:
                raise TooLargeError(first + error.row) from error

    def _hold(self, rows: NDArray[np.float32] | SparseRows) -> None:
        """Keep the first rows, with nothing taken off them yet."""
        dense = _dense(rows)
        wrong = np.flatnonzero(np.abs(dense).max(axis=1, initial=0) > LARGEST_VALUE)
        if len(wrong):
            raise TooLargeError(int(wrong[0]))
        self.sample[self.held : self.held + len(dense)] = dense
        self.held += len(dense)
        self.rows += len(dense)

    def _begin(self, *, sparse: bool) -> None:
        """Choose the first centres among the rows that are held, and take these rows in."""
        held = self.sample[: self.held]
        if not sparse and self.held:
            # Where all rows are far from zero, products would lose what distinguishes them. Sparse rows are not.
            self.origin[:] = held.mean(axis=0, dtype=np.float64)
            held -= self.origin
            self.anchors = self.anchors - self.origin
        self._assignment = Assignment(self.centres, self._workers, self.origin)
        before = len(self.anchors)
        if before:
            self.centres.put(slice(0, before), self.anchors)
            self.weights[:before] = self.anchor_weights
            self.used = before
        free = self.centres.count - self.used
        if self.parameters.init_method == "random":
            chosen = distinct_at_random(held, free, self.random)
        else:
            points = np.concatenate([self.anchors, held]).astype(np.float64)
            chosen = plus_plus(points, np.ones(len(points)), free, self.random) - before
            chosen = chosen[chosen >= 0]
        self._fill(held[chosen], 0)  # these rows are about to be counted
        rows, self.rows = held.copy(), 0
        assignment = Assignment(self.centres, self._workers)  # these rows are less the origin already
        assignment.run(rows)
        self._after(assignment, len(rows), lambda places: rows[places])
        self.rows = len(rows)

    def _fill(self, values: NDArray[np.float32], weight: float) -> None:
        """Make centres that are free of these."""
        places = slice(self.used, self.used + len(values))
        self.centres.put(places, values)
        self.weights[places], self.idle[places] = weight, 0
        self.used += len(values)

    def _take(self, rows: NDArray[np.float32] | SparseRows) -> None:
        assert self._assignment is not None
        count = len(rows)
        self._assignment.run(rows)

        def read(places: NDArray[np.int64]) -> NDArray[np.float32]:
            return (rows.take(places).dense() if isinstance(rows, SparseRows) else rows[places]) - self.origin

        self._after(self._assignment, count, read)
        self.rows += count
        if self.sampling:
            self._keep(count, read)

    def _after(self, assignment: Assignment, count: int, read: Any) -> None:
        """Move the centres by a batch, and put those that are free or starve where rows are far from all centres."""
        half_life = self.parameters.half_life_time_size
        decay = 0.5 ** (count / half_life) if half_life else 1.0
        # Before the next run of the assignment, whose answers these are.
        squares = assignment.squares[:count]
        assignment.move(self.weights, self.idle, decay, count)
        self.weight = self.weight * decay + count
        starved = np.flatnonzero(self.idle[: self.used] > half_life) if half_life else np.zeros(0, np.int64)
        wanted = self.centres.count - self.used + len(starved)
        if not wanted:
            return
        far = np.flatnonzero(squares > 0)
        if not len(far):
            return
        if len(far) > wanted:
            # By their squared distances, as k-means++ does: the farthest rows alone would be outliers.
            share = squares[far].astype(np.float64)
            far = np.sort(self.random.choice(far, wanted, replace=False, p=share / share.sum()))
        values = np.unique(read(far), axis=0)
        free = min(len(values), self.centres.count - self.used)
        self._fill(values[:free], 1)
        for place, value in zip(starved.tolist(), values[free:], strict=False):
            self.centres.put(np.array([place]), value[None])
            self.weights[place], self.idle[place] = 1, 0

    def _keep(self, count: int, read: Any) -> None:
        """Draw some of a batch's rows into the sample."""
        size = len(self.sample)
        fresh = min(count, size - self.held)
        if fresh:
            self.sample[self.held : self.held + fresh] = read(np.arange(fresh))
            self.held += fresh
        if fresh == count:
            return
        half_life = self.parameters.half_life_time_size
        if half_life:
            seen: Any = max(self.weight, size)
        else:
            seen = np.arange(self.rows - count + fresh + 1, self.rows + 1, dtype=np.float64)
        places = self.random.random(count - fresh) * seen
        taken = np.flatnonzero(places < size)
        if len(taken):
            self.sample[places[taken].astype(np.int64)] = read(taken + fresh)

    def end_epoch(self) -> None:
        """The rows that come next were there before: without a half-life, there is nothing new to keep."""
        if self.begun and not self.parameters.half_life_time_size:
            self.sampling = False

    def merge(self, other: KMeansState) -> None:
        """Take in another's centres, by weight, and its sample.

        All centres together are reduced to as many as there may be, as at the end to k.
        """
        if not other.begun:
            self._take_held(other)
            return
        if not self.begun:
            held, count = self.sample[: self.held].copy(), self.held
            self._become(other)
            if count:
                self._take(held)
            return
        moved = other.origin - self.origin
        theirs = other.weights[: other.used] > 0
        ours = self.weights[: self.used] > 0
        points = np.concatenate(
            [self.centres.values[: self.used][ours], other.centres.values[: other.used][theirs] + moved]
        )
        weights = np.concatenate([self.weights[: self.used][ours], other.weights[: other.used][theirs]])
        if len(points) > self.centres.count:
            reduced, weights = self._reduce(points, weights, self.centres.count)
            points = reduced.astype(np.float32)
        self._replace(points, weights)
        self._merge_samples(other, moved)
        self.rows += other.rows
        self.weight += other.weight
        self.sampling = self.sampling and other.sampling
        self.anchor_weights = self.anchor_weights + other.anchor_weights

    def _take_held(self, other: KMeansState) -> None:
        """Take in the rows that another holds, which has no centres yet."""
        rows = other.sample[: other.held] + other.origin
        if not len(rows):
            return
        for begin in range(0, len(rows), self.parameters.mini_batch_size):
            part = rows[begin : begin + self.parameters.mini_batch_size]
            self._take_rows(part)

    def _become(self, other: KMeansState) -> None:
        random = self.random
        self.restore({name: array.copy() for name, array in other.arrays().items()})
        self.random = random

    def _replace(self, points: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        self.used = len(points)
        self.centres.put(slice(0, self.used), points)
        self.centres.forms[self.used :] = 0
        self.centres.forms[self.used :, self.features] = -3e38
        self.weights[:] = 0
        self.weights[: self.used] = weights
        self.idle[:] = 0

    def _merge_samples(self, other: KMeansState, moved: NDArray[np.float32]) -> None:
        """A uniform sample of both: how many of each is drawn as it would have come out."""
        size, total = len(self.sample), self.held + other.held
        ours, theirs = self.held, other.held
        if total > size:
            seen, others_seen = max(self.held, round(self.weight)), max(other.held, round(other.weight))
            ours = _share(self.random, seen, others_seen, size)
            ours = min(self.held, max(ours, size - other.held))
            theirs = size - ours
        kept = self.sample[self.random.permutation(self.held)[:ours]]
        more = other.sample[self.random.permutation(other.held)[:theirs]] + moved
        self.held = ours + theirs
        self.sample[:ours], self.sample[ours : self.held] = kept, more

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See State; of the sample, the rows that are there."""
        used, features = self.used, self.features
        return {
            "centres": self.centres.table[:used, :features],
            "weights": self.weights[:used],
            "idle": self.idle[:used],
            "origin": self.origin,
            "sample": self.sample[: self.held],
            "counts": np.array([self.rows, self.begun, self.sampling], np.int64),
            "weight": np.array([self.weight]),
            "random": _words(self.random),
            "anchors": self.anchors,
            "anchor_weights": self.anchor_weights,
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See State."""
        centres, weights, idle = arrays["centres"], arrays["weights"], arrays["idle"]
        origin, sample, counts = arrays["origin"], arrays["sample"], arrays["counts"]
        anchors, anchor_weights = arrays["anchors"], arrays["anchor_weights"]
        used = len(centres)
        if not (
            centres.shape == (used, self.features)
            and used <= self.centres.count
            and weights.shape == idle.shape == (used,)
            and origin.shape == (self.features,)
            and sample.shape == (len(sample), self.features)
            and len(sample) <= len(self.sample)
            and counts.shape == (3,)
            and arrays["weight"].shape == (1,)
            and anchors.shape == (len(anchor_weights), self.features)
        ):
            raise ValueError("its arrays have other shapes")
        random = _generator(arrays["random"])
        self._replace(centres, weights)
        self.idle[:used] = idle
        self.origin = origin.astype(np.float32)
        self.held = len(sample)
        self.sample[: self.held] = sample
        self.rows, self.sampling = int(counts[0]), bool(counts[2])
        self.weight, self.random = float(arrays["weight"][0]), random
        self.anchors, self.anchor_weights = anchors, anchor_weights
        self._assignment = Assignment(self.centres, self._workers, self.origin) if counts[1] else None

    def finalise(self, stop: Event) -> Finished:
        """k centres of what was seen; the state stays as it is. Raises ClientError if there are fewer distinct rows."""
        k = self.parameters.k
        if not self.begun:
            copy = KMeansState(self.parameters, self.features, self._workers, names=self.names)
            copy.restore({name: array.copy() for name, array in self.arrays().items()})
            copy._begin(sparse=False)
            return copy.finalise(stop)
        some = self.weights[: self.used] > 0
        points, weights = self.centres.values[: self.used][some], self.weights[: self.used][some]
        if len(points) < k:
            what = f"{len(points):,} distinct row{'' if len(points) == 1 else 's'}, of {self.rows:,}"
            raise ClientError(
                f"channel train has {what}, and k = {k:,} clusters are wanted: lower k, or give more rows"
            )
        random = self.random
        self.random = _generator(_words(random))  # what is drawn here must not change what comes next
        try:
            centres, weights = self._reduce(points, weights, k)
        finally:
            self.random = random
        sample, rounds = self.sample[: self.held], min(POLISH_ROUNDS, self.parameters.local_lloyd_max_iter)
        whole = self.held < len(self.sample) or self.held >= self.rows
        if not whole and self.held < LEAST_KEPT_ROWS * k:
            rounds = 0
        share = self.held / max(1.0, self.weight)  # a row of the sample stands for 1 / share rows
        polished, counts, distance = polish(
            centres, sample, self._workers, iterations=rounds, tolerance=self.parameters.local_lloyd_tol,
            anchors=self.anchors, anchor_weights=self.anchor_weights * share, stop=stop,
        )  # fmt: skip
        if rounds:
            # Small clusters may have no row in the sample.
            weights = np.where(counts > 0, counts / max(share, 1e-300), weights)
        return Finished(polished + self.origin, weights, distance, self.held, self.rows)

    def _reduce(
        self, points: NDArray[np.float32], weights: NDArray[np.float64], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        parameters = self.parameters
        asked, work = parameters.local_lloyd_num_trials, 4.0 * len(points) * k * self.features
        trials = max(1, min(MOST_TRIALS, int(TRIAL_WORK / work))) if asked == "auto" else asked
        return reduce_centres(
            points, weights, k, start=parameters.local_lloyd_init_method, trials=trials,
            iterations=parameters.local_lloyd_max_iter, tolerance=parameters.local_lloyd_tol, random=self.random,
        )  # fmt: skip


def sample_rows(parameters: KMeansHyperparameters, features: int) -> int:
    """Rows that are kept: what Lloyd's rounds need, within KEPT_BYTES, but no fewer than begin needs."""
    centres = parameters.k * parameters.factor
    wanted = min(max(KEPT_ROWS * parameters.k, SMALL_ROWS), KEPT_BYTES // (4 * features))
    if parameters.half_life_time_size:
        # A larger sample could not forget as fast as the half-life wants: it loses 1 / size a row.
        wanted = min(wanted, math.ceil(parameters.half_life_time_size / math.log(2)))
    return max(wanted, centres)


def _share(random: np.random.Generator, ours: int, theirs: int, size: int) -> int:
    if ours + theirs < 10**9:  # which NumPy's draw is limited to
        return int(random.hypergeometric(ours, theirs, size))
    return int(random.binomial(size, ours / (ours + theirs)))


def _part(rows: NDArray[np.float32] | SparseRows, begin: int, end: int) -> NDArray[np.float32] | SparseRows:
    return rows.part(begin, end) if isinstance(rows, SparseRows) else rows[begin:end]


def _dense(rows: NDArray[np.float32] | SparseRows) -> NDArray[np.float32]:
    return rows.dense() if isinstance(rows, SparseRows) else rows


def _words(random: np.random.Generator) -> NDArray[np.uint64]:
    """A generator's state."""
    state: Any = random.bit_generator.state
    numbers = (state["state"]["state"], state["state"]["inc"])
    words = [number >> shift & (1 << 64) - 1 for number in numbers for shift in (0, 64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def _generator(words: NDArray[np.uint64]) -> np.random.Generator:
    """The generator of such a state. Raises ValueError for none."""
    if words.shape != (6,):
        raise ValueError("no state of a generator")
    low, high, low_step, high_step, has, held = (int(word) for word in words)
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": low_step | high_step << 64},
        "has_uint32": has,
        "uinteger": held,
    }
    return np.random.Generator(bits)
