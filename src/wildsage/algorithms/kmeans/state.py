"""What k-means keeps between batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.kmeans.assignment import Assignment, Centres, TooLargeError
from wildsage.algorithms.kmeans.kernels import NOTHING
from wildsage.algorithms.kmeans.lloyd import distinct_at_random, plus_plus, polish, reduce_centres
from wildsage.algorithms.streaming import State
from wildsage.contract.errors import ClientError
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters
    from wildsage.algorithms.streaming import Workers
    from wildsage.data.batch import Batch

    Read = Callable[[NDArray[np.int64]], NDArray[np.float32]]

KEPT_ROWS = 128  # a centre
SMALL_ROWS = 1 << 14  # kept at least
KEPT_BYTES = 256 << 20
ORIGIN_ROWS = 1000  # whose mean is taken off all rows
HOLD_FLOATS = 1 << 17  # taken in at once
START_ROWS = 10  # a centre, among which k-means++ chooses
PART_ROWS = 256  # a centre, over which Lloyd's rounds go before they go over all
PART_ROUNDS, POLISH_ROUNDS, WHOLE_ROUNDS = 30, 10, 40  # over a part, over a sample of the rows, and over all of them
PART_TOLERANCE, ROUNDS_TOLERANCE = 3e-4, 1e-3  # shares of the loss, the change by which ends them
LARGEST_VALUE = 1e15  # squares of a million of them fit a float32
MOST_TRIALS, TRIAL_WORK = 4, 1e9  # of the reduction; multiplications of all trials, beyond which there are fewer
FADED = 1 / 16  # of what weights were: rows that came while centres were rough count for less
DRIFT = 1.1  # times the distance at first, beyond which later rows are of another kind


@dataclass(frozen=True)
class Finished:
    """k centres. weights: rows each stands for; distance: mean squared, of `sampled` rows; rows: all that were seen."""

    centres: NDArray[np.float32]  # (k, d)
    weights: NDArray[np.float64]  # (k,)
    distance: float
    sampled: int
    rows: int


class KMeansState(State):
    """Centres, each the mean of the rows that it got, and a uniform sample of all rows.

    The first rows are held. When they fill the sample, k * factor centres pass over them, are reduced to k, and Lloyd's
    rounds follow: the centres are *settled*. From then on each row moves its nearest centre by 1 / weight (Sculley,
    "Web-Scale K-Means Clustering", WWW 2010). Where extra_center_factor is given, or a half-life, all k * factor
    centres go on moving, and are reduced at the end, as the contract has it.
    The sample is a reservoir (Vitter, "Random Sampling with a Reservoir", 1985), with a half-life one that forgets as
    the weights do. A centre that is free, or has gone without a row for one half-life, takes a row far from all
    centres. Nothing grows with the data.
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
        its share of the weights. names: of the features, for messages.
        """
        self.parameters, self.features, self.names = parameters, features, names
        self._workers = workers
        self.extra = parameters.extra_center_factor != "auto" or parameters.half_life_time_size > 0
        self._working = max(parameters.k * parameters.factor, len(earlier[0]) if earlier else 0)
        self.centres = Centres(self._working if self.extra else parameters.k, features)
        count = self.centres.count
        self.origin = np.zeros(features, np.float32)
        self.weights = np.zeros(count)
        self.idle = np.zeros(count, np.int64)
        self.used = 0  # centres that are not free
        self.rows = 0  # seen
        self.weight = 0.0  # of what was seen, with the half-life
        self.held = 0  # rows of the sample that are there
        self.sampling = True  # whether rows are new; in later epochs they are not
        self.settled_distance = 0.0  # mean squared, when the centres had settled
        self.later = np.zeros(2)  # sum of squared distances, and rows, since then
        self.sample = np.empty((sample_rows(parameters, features), features), np.float32)  # less the origin
        self.random = np.random.Generator(np.random.PCG64([parameters.seed, rank]))
        self.anchors = np.zeros((0, features), np.float32)
        self.anchor_weights = np.zeros(0)
        if earlier is not None:
            self.anchors, self.anchor_weights = earlier[0].astype(np.float32), earlier[1].astype(np.float64)
        self._assignment: Assignment | None = None

    @property
    def settled(self) -> bool:
        """Whether there are centres; until then the first rows are held in the sample."""
        return self._assignment is not None

    @property
    def mass(self) -> NDArray[np.float64]:
        """Rows that each centre stands for, float64 (used,), those of an earlier model included."""
        weights = self.weights[: self.used]
        rows = self.weight + float(self.anchor_weights.sum())
        return weights * np.float64(rows / max(float(weights.sum()), 1e-300))

    def update(self, batch: Batch) -> None:
        """Move the centres towards rows, float32 (n, features). Raises DataError for numbers that are too large."""
        try:
            self._take_rows(batch.features)
        except TooLargeError as error:
            raise batch.error(error.row, self._too_large(batch, error.row)) from error

    def _too_large(self, batch: Batch, row: int) -> str:
        values = _dense(_part(batch.features, row, row + 1))[0]
        column = int(np.argmax(np.abs(values)))
        name = self.names[column] if self.names else f"feature {column + 1}"
        return f"{name} = {values[column]:g} is too large for distances in float32: up to {LARGEST_VALUE:g}"

    def _take_rows(self, rows: NDArray[np.float32] | SparseRows) -> None:
        """Take in rows, or hold them where there are no centres yet."""
        if not self.sampling and not self.settled:
            return  # all rows are held, and these are they once more
        first = 0
        if not self.settled:
            first = min(len(rows), len(self.sample) - self.held)
            self._hold(_part(rows, 0, first))
            if self.held < len(self.sample):
                return
            self._settle()
        try:
            if first < len(rows):
                self._take(_part(rows, first, len(rows)))
        except TooLargeError as error:
            raise TooLargeError(first + error.row) from error

    def _hold(self, rows: NDArray[np.float32] | SparseRows) -> None:
        """Keep the first rows, less the origin, which the very first ones are the mean of.

        Where all rows are far from zero, products would lose what distinguishes them. Sparse rows are not.
        """
        if not self.rows and not isinstance(rows, SparseRows):
            self._set_origin(rows[:ORIGIN_ROWS])
        step = max(1, HOLD_FLOATS // self.features)  # in a cache
        for begin in range(0, len(rows), step):
            dense = _dense(_part(rows, begin, min(begin + step, len(rows))))
            if max(float(dense.max()), -float(dense.min())) > LARGEST_VALUE:
                raise TooLargeError(begin + int(np.argmax(np.abs(dense).max(axis=1) > LARGEST_VALUE)))
            np.subtract(dense, self.origin, out=self.sample[self.held : self.held + len(dense)])
            self.held += len(dense)
        self.rows += len(rows)
        self.weight += len(rows)

    def _set_origin(self, rows: NDArray[np.float32]) -> None:
        """Take these rows' mean off all that comes."""
        if len(rows):
            mean = rows.mean(axis=0, dtype=np.float64)
            self.origin[:] = np.where(np.abs(mean) <= LARGEST_VALUE, mean, 0)
            self.anchors = self.anchors - self.origin

    def _part(self) -> NDArray[np.float32]:
        """Some of the rows that are held, at random, or all where there are few."""
        wanted = PART_ROWS * self.parameters.k
        if self.held < 2 * wanted:
            return self.sample[: self.held]
        return self.sample[np.sort(self.random.choice(self.held, wanted, replace=False, shuffle=False))]

    def _rounds_over(
        self, part: NDArray[np.float32], centres: NDArray[np.float64], stop: Event | None
    ) -> NDArray[np.float64]:
        """The centres after rounds over some of the rows that are held: fewer over all of them are to follow."""
        if len(part) == self.held:
            return centres
        share = len(part) / max(1.0, self.weight)
        found = polish(
            centres, part, self._workers, iterations=PART_ROUNDS, tolerance=PART_TOLERANCE, anchors=self.anchors,
            anchor_weights=self.anchor_weights * share, stop=stop,
        )  # fmt: skip
        return found.centres.astype(np.float64)

    def _settle(self) -> None:
        """Find the first centres from the rows that are held."""
        held = self.sample[: self.held]
        if self.parameters.half_life_time_size:
            self.weight = self.held * self._fading(self.held)[1]
        part = self._part()
        centres, weights = self._pass_over(part)
        self._assignment = Assignment(self.centres, self._workers, self.origin)
        if self.extra or len(centres) <= self.centres.count:
            self._replace(centres, weights)
            # Of rows less the origin already.
            self.settled_distance = Assignment(self.centres, self._workers).run(held) / max(1, self.held)
            return
        reduced, _ = self._reduce(centres, weights, self.parameters.k)
        self._polish(self._rounds_over(part, reduced, None), POLISH_ROUNDS, None)

    def _pass_over(self, held: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Centres and weights of one pass with all working centres over rows that are held."""
        centres, before = Centres(self._working, self.features), len(self.anchors)
        if self.parameters.init_method == "random":
            chosen = distinct_at_random(held, centres.count - before, self.random)
        else:
            # Among some of them: its time grows with rows times centres.
            among = self.random.permutation(len(held))[: START_ROWS * centres.count]
            points = np.concatenate([self.anchors, held[among]])
            chosen = plus_plus(points, np.ones(len(points)), centres.count - before, self.random) - before
            chosen = among[chosen[chosen >= 0]]
        count = before + len(chosen)
        weights, idle = np.zeros(centres.count), np.zeros(centres.count, np.int64)
        if before:
            centres.put(slice(0, before), self.anchors)
            weights[:before] = self.anchor_weights
        centres.put(slice(before, count), held[chosen])
        assignment, size = Assignment(centres, self._workers), self.parameters.mini_batch_size
        for begin in range(0, len(held), size):
            part = held[begin : begin + size]
            decay, share = self._fading(len(part))
            assignment.run(part)
            assignment.move(weights, idle, decay / share, len(part))
            weights *= share
        some = np.flatnonzero(weights[:count] > 0)
        return centres.values[some], weights[some]

    def _polish(self, centres: NDArray[np.float64], rounds: int, stop: Event | None) -> None:
        """Let Lloyd's rounds over the sample follow, and go on from the centres that come out."""
        share = self.held / max(1.0, self.weight)  # a row of the sample stands for 1 / share rows
        found = polish(
            centres, self.sample[: self.held], self._workers, iterations=rounds,
            tolerance=max(self.parameters.local_lloyd_tol, ROUNDS_TOLERANCE), anchors=self.anchors,
            anchor_weights=self.anchor_weights * share, stop=stop,
        )  # fmt: skip
        self._replace(found.centres, np.maximum(found.masses, 1) * (1.0 if len(self.anchors) else FADED) / share)
        self.settled_distance = found.distance

    def _replace(self, points: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        """Have these centres, and no others."""
        self.used = len(points)
        self.centres.put(slice(0, self.used), points)
        self.centres.forms[self.used :] = 0
        self.centres.forms[self.used :, self.features] = NOTHING
        self.weights[:] = 0
        self.weights[: self.used] = weights
        self.idle[:] = 0

    def _take(self, rows: NDArray[np.float32] | SparseRows) -> None:
        """Move the centres by rows."""
        assignment = self._assignment
        assert assignment is not None
        count = len(rows)
        loss = assignment.run(rows)

        def read(places: NDArray[np.int64]) -> NDArray[np.float32]:
            return (rows.take(places).dense() if isinstance(rows, SparseRows) else rows[places]) - self.origin

        half_life = self.parameters.half_life_time_size
        starved = np.flatnonzero(self.idle[: self.used] > half_life) if half_life else np.zeros(0, np.int64)
        if (self.used < self.centres.count or len(starved)) and self._reseat(starved, assignment.squares[:count], read):
            assignment.clear()
            loss = assignment.run(rows)
        decay, share = self._fading(count)
        assignment.move(self.weights, self.idle, decay / share, count)
        self.weights *= share
        self.weight = self.weight * decay + share * count
        self.rows += count
        self.later += loss, count
        if self.sampling:
            self._keep(count, read)

    def _reseat(self, starved: NDArray[np.int64], squares: NDArray[np.float32], read: Read) -> bool:
        """Put centres that are free or starve where rows are far from all centres. Returns whether there were any.

        Rows are drawn by squared distance, as k-means++ does: the farthest alone would be outliers.
        """
        wanted = self.centres.count - self.used + len(starved)
        far = np.flatnonzero(squares > 0)
        if not len(far):
            return False
        if len(far) > wanted:
            share = squares[far].astype(np.float64)
            far = np.sort(self.random.choice(far, wanted, replace=False, p=share / share.sum()))
        values = np.unique(read(far), axis=0)
        free = min(len(values), self.centres.count - self.used)
        places = np.concatenate([np.arange(self.used, self.used + free), starved[: len(values) - free]])
        self.centres.put(places, values[: len(places)])
        self.weights[places], self.idle[places] = 0, 0
        self.used += free
        return True

    def _fading(self, count: int) -> tuple[float, float]:
        """By how much weights shrink while `count` rows come, and the share of these that is left after them."""
        half_life = self.parameters.half_life_time_size
        if not half_life or not count:
            return 1.0, 1.0
        decay = 0.5 ** (count / half_life)
        return decay, (1 - decay) * half_life / (count * math.log(2))

    def _keep(self, count: int, read: Read) -> None:
        """Draw some of a batch's rows into the sample."""
        size = len(self.sample)
        fresh = min(count, size - self.held)
        if fresh:
            self.sample[self.held : self.held + fresh] = read(np.arange(fresh))
            self.held += fresh
        if fresh == count:
            return
        # Row i of all is taken with a chance of size / i. Drawn as if each had the first one's chance, of which then
        # some are dropped: few numbers once many rows have been seen.
        half_life = self.parameters.half_life_time_size
        before = max(self.weight, size) if half_life else float(self.rows - count + fresh)
        number = int(self.random.binomial(count - fresh, min(1.0, size / before)))
        taken = np.sort(self.random.choice(count - fresh, number, replace=False, shuffle=False))
        if not half_life:
            taken = taken[self.random.random(number) * (before + 1 + taken) < max(before, size)]
        if len(taken):
            self.sample[self.random.integers(0, size, len(taken))] = read(taken + fresh)

    def end_epoch(self) -> None:
        """The rows that come next were there before: without a half-life, there is nothing new to keep.

        What the centres have been counts for less, so that they become means of the rows nearest to them now.
        """
        if self.parameters.half_life_time_size:
            return
        self.sampling = False
        if self.settled and not len(self.anchors):
            self.weights *= FADED

    def merge(self, other: KMeansState) -> None:
        """Take in another's centres, by the rows that they stand for, and its sample.

        All centres together are reduced to as many as there may be, and Lloyd's rounds over both samples follow.
        """
        if not other.settled:
            self.sampling = True
            self._take_rows(other.sample[: other.held] + other.origin)
            return
        if not self.settled:
            held = self.sample[: self.held] + self.origin
            random = self.random
            self.restore({name: array.copy() for name, array in other.arrays().items()})
            self.random, self.sampling = random, True
            self._take_rows(held)
            return
        moved = other.origin - self.origin
        points = np.concatenate([self.centres.values[: self.used], other.centres.values[: other.used] + moved])
        weights = np.concatenate([self.mass, other.mass])
        self._merge_samples(other, moved)
        self.rows += other.rows
        self.weight += other.weight
        self.later += other.later
        self.anchor_weights = self.anchor_weights + other.anchor_weights
        if len(points) <= self.centres.count:
            self._replace(points, weights)
            return
        reduced, weights = self._reduce(points, weights, self.centres.count)
        if self.extra:
            self._replace(reduced.astype(np.float32), weights)
        else:
            self._polish(reduced, POLISH_ROUNDS, None)

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
        used = self.used
        return {
            "centres": self.centres.values[:used],
            "weights": self.weights[:used],
            "idle": self.idle[:used],
            "origin": self.origin,
            "sample": self.sample[: self.held],
            "counts": np.array([self.rows, self.settled, self.sampling], np.int64),
            "figures": np.array([self.weight, self.settled_distance, *self.later]),
            "random": _words(self.random),
            "anchors": self.anchors,
            "anchor_weights": self.anchor_weights,
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See State."""
        centres, weights, idle = arrays["centres"], arrays["weights"], arrays["idle"]
        origin, sample, counts, figures = (arrays[name] for name in ("origin", "sample", "counts", "figures"))
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
            and figures.shape == (4,)
            and anchors.shape == (len(anchor_weights), self.features)
        ):
            raise ValueError("its arrays have other shapes")
        random = _generator(arrays["random"])
        self._replace(centres, weights)
        self.idle[:used] = idle
        self.origin[:] = origin
        self.held = len(sample)
        self.sample[: self.held] = sample
        self.rows, self.sampling = int(counts[0]), bool(counts[2])
        self.weight, self.settled_distance = float(figures[0]), float(figures[1])
        self.later, self.random = figures[2:].copy(), random
        self.anchors, self.anchor_weights = anchors, anchor_weights
        self._assignment = Assignment(self.centres, self._workers, self.origin) if counts[1] else None

    def finalise(self, stop: Event) -> Finished:
        """k centres of what was seen; the state stays as it is. Raises ClientError if there are fewer distinct rows."""
        earlier = (self.anchors, self.anchor_weights)  # of which there may be more than k * factor
        final = KMeansState(self.parameters, self.features, self._workers, names=self.names, earlier=earlier)
        final.restore(self.arrays() | {"sample": self.sample[:0]})
        final.sample, final.held = self.sample, self.held  # not changed from here on
        return final._finish(stop)

    def _finish(self, stop: Event) -> Finished:
        k, whole = self.parameters.k, not self.settled
        rounds = min(WHOLE_ROUNDS if whole else POLISH_ROUNDS, self.parameters.local_lloyd_max_iter)
        if whole:
            if not self.origin.any():  # sparse rows
                self._set_origin(self.sample[: self.held])
                self.sample = self.sample[: self.held] - self.origin
            part = self._part()
            points, weights = self._pass_over(part)
        else:
            some = self.weights[: self.used] > 0
            points, weights = self.centres.values[: self.used][some], self.mass[some]
        if len(points) < k:
            what = f"{len(points):,} distinct row{'' if len(points) == 1 else 's'}, of {self.rows:,}"
            raise ClientError(f"channel train has {what}, and k = {k:,} are wanted: lower k, or give more rows")
        centres, weights = self._reduce(points, weights, k)
        if whole:
            centres = self._rounds_over(part, centres, stop)
        elif not self.parameters.half_life_time_size:
            if self.later[0] > DRIFT * self.settled_distance * self.later[1]:
                centres = self._begun_anew(centres, stop)
            if not self.extra:
                rounds = 0  # over the sample alone they would unlearn what all rows have told
        mass = self.mass if len(centres) == self.used else weights
        self.centres = Centres(k, self.features)
        self.weights, self.idle = np.zeros(k), np.zeros(k, np.int64)
        self._polish(centres, rounds, stop)
        weights = self.mass if rounds else mass
        return Finished(self.centres.values + self.origin, weights, self.settled_distance, self.held, self.rows)

    def _begun_anew(self, centres: NDArray[np.float64], stop: Event) -> NDArray[np.float64]:
        """The better, over the sample, of these centres and some that the sample alone gives.

        Rows that came later lie elsewhere than the first ones, as in a sorted file; the sample has rows of all.
        """
        sample = self.sample[: self.held]
        part = self._part()
        points, weights = self._pass_over(part)
        if len(points) < len(centres):
            return centres
        reduced, _ = self._reduce(points, weights, len(centres))
        reduced = self._rounds_over(part, reduced, stop)
        best, least = centres, np.inf
        for candidate, rounds in ((centres, 0), (reduced, POLISH_ROUNDS)):
            found = polish(
                candidate, sample, self._workers, iterations=rounds,
                tolerance=max(self.parameters.local_lloyd_tol, ROUNDS_TOLERANCE),
                anchors=self.anchors, anchor_weights=self.anchor_weights, stop=stop,
            )  # fmt: skip
            if found.distance < least:
                best, least = found.centres.astype(np.float64), found.distance
        return best

    def _reduce(
        self, points: NDArray[np.float32], weights: NDArray[np.float64], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        parameters = self.parameters
        asked, work = parameters.local_lloyd_num_trials, 4.0 * len(points) * k * self.features
        trials = max(1, min(MOST_TRIALS, int(TRIAL_WORK / work))) if asked == "auto" else asked
        return reduce_centres(
            points, weights, k, self._workers, start=parameters.local_lloyd_init_method, trials=trials,
            iterations=parameters.local_lloyd_max_iter, tolerance=parameters.local_lloyd_tol, random=self.random,
        )  # fmt: skip


def sample_rows(parameters: KMeansHyperparameters, features: int) -> int:
    """Rows that are kept: enough to settle on, within KEPT_BYTES, but one for each centre at least."""
    wanted = min(max(KEPT_ROWS * parameters.k, SMALL_ROWS), KEPT_BYTES // (4 * features))
    if parameters.half_life_time_size:
        # A larger sample could not forget as fast as the half-life wants: it loses 1 / size a row.
        wanted = min(wanted, math.ceil(parameters.half_life_time_size / math.log(2)))
    return max(wanted, parameters.k * parameters.factor)


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
