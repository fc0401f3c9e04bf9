"""From the extra centres to k of them, and Lloyd's rounds over the rows that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.kmeans.assignment import Assignment, Centres
from wildsage.algorithms.kmeans.kernels import spread
from wildsage.kernels.vector import aligned, padded

if TYPE_CHECKING:
    from threading import Event

    from numpy.typing import NDArray

    from wildsage.algorithms.streaming import Workers

    Points = NDArray[np.float64]

CANDIDATES = 4  # of k-means++, of which the best becomes a centre
BLOCK_FLOATS = 1 << 20  # of distances at once


def squared(points: Points, squares: Points, others: Points) -> Points:
    """Squared distances of points (n, d), whose own squares are given, to others (m, d): (n, m)."""
    distances = points @ others.T
    distances *= -2
    distances += squares[:, None]
    distances += np.einsum("md,md->m", others, others)
    return np.maximum(distances, 0, out=distances)


def plus_plus(points: NDArray[np.float32], weights: Points, k: int, random: np.random.Generator) -> NDArray[np.int64]:
    """The places of up to k of n weighted points, chosen by k-means++: fewer if there are fewer distinct ones.

    Of some candidates drawn by weight times squared distance, the one that leaves the least loss (Arthur and
    Vassilvitskii, SODA 2007, section 6).
    """
    if k < 1:
        return np.zeros(0, np.int64)
    count, width = len(points), padded(points.shape[1])
    table = aligned(count * width)
    table.reshape(count, width)[:, : points.shape[1]] = points
    weights = np.ascontiguousarray(weights, np.float64)
    chosen = np.zeros(min(k, count), np.int64)
    chosen[0] = random.choice(count, p=weights / weights.sum())
    nearest, reached, best = np.full(count, np.finfo(np.float32).max), aligned(count), aligned(count)
    draws = random.random(len(chosen) * CANDIDATES)
    found = spread(table, weights, count, width, draws, nearest, reached, best, np.zeros(count), chosen)
    return chosen[:found]


def distinct_at_random(points: NDArray[np.float32], k: int, random: np.random.Generator) -> NDArray[np.int64]:
    """The places of up to k of some points, at random, no two of them equal."""
    seen: set[bytes] = set()
    chosen: list[int] = []
    for place in random.permutation(len(points)).tolist():
        if len(chosen) >= k:
            break
        key = (points[place] + np.float32(0)).tobytes()  # of which -0.0 is 0.0
        if key not in seen:
            seen.add(key)
            chosen.append(place)
    return np.array(chosen, np.int64)


def assign(points: Points, squares: Points, centres: Points) -> tuple[NDArray[np.int64], Points]:
    """The nearest centre of each point, and the squared distance to it."""
    owners, distances = np.empty(len(points), np.int64), np.empty(len(points))
    step = max(1, BLOCK_FLOATS // len(centres))
    for begin in range(0, len(points), step):
        part = slice(begin, begin + step)
        found = squared(points[part], squares[part], centres)
        owners[part] = found.argmin(axis=1)
        distances[part] = found[np.arange(len(found)), owners[part]]
    return owners, distances


def means(points: Points, weights: Points, owners: NDArray[np.int64], k: int) -> tuple[Points, Points]:
    """Weighted means of the points of each owner (those of none are 0), and their weights."""
    mass = np.bincount(owners, weights, k).astype(np.float64)
    order = np.argsort(owners, kind="stable")
    held = np.unique(owners)
    sums = np.zeros((k, points.shape[1]))
    # Sums of stretches: a matrix of shares would take k times the memory.
    weighted = points[order] * weights[order, None]
    sums[held] = np.add.reduceat(weighted, np.searchsorted(owners[order], held))
    return sums / np.where(mass > 0, mass, 1)[:, None], mass


def reduce_centres(
    given: NDArray[np.float32], weights: Points, k: int, workers: Workers, *, start: str, trials: int, iterations: int,
    tolerance: float, random: np.random.Generator,
) -> tuple[Points, Points]:  # fmt: skip
    """k centres of weighted points by Lloyd's algorithm, the best of some trials, and their weights.

    given: points (n, d), n of them k or more, distinct. iterations: at most; tolerance: share of the loss, by which it
    must fall.
    """
    points = given.astype(np.float64)
    if len(points) <= k:
        return points, weights
    squares = np.einsum("nd,nd->n", points, points)
    seeds = random.integers(0, 1 << 63, trials)
    found: list[tuple[float, Points, Points]] = [(np.inf, points[:k], weights[:k])] * trials

    def run(trial: int) -> None:
        own = np.random.default_rng(int(seeds[trial]))
        chosen = plus_plus(given, weights, k, own) if start == "kmeans++" else own.permutation(len(points))[:k]
        if len(chosen) < k:  # points that are all but equal
            others = np.setdiff1d(np.arange(len(points)), chosen)
            chosen = np.concatenate([chosen, others[: k - len(chosen)]])
        found[trial] = _lloyd(points, squares, weights, points[chosen], iterations, tolerance)

    workers.each(trials, run)
    _, centres, masses = min(found, key=lambda each: each[0])
    return centres, masses


def _lloyd(
    points: Points, squares: Points, weights: Points, centres: Points, iterations: int, tolerance: float
) -> tuple[float, Points, Points]:
    """The loss, the centres and their weights. A centre that loses its points takes the one that adds most to it."""
    k, last = len(centres), np.inf
    for _ in range(iterations):
        owners, distances = assign(points, squares, centres)
        loss = float(distances @ weights)
        counts = np.bincount(owners, minlength=k)
        for empty in np.flatnonzero(counts == 0):
            # Not of a centre that would be empty then.
            place = int(np.argmax(np.where(counts[owners] > 1, distances * weights, -1)))
            counts[owners[place]] -= 1
            owners[place], distances[place], counts[empty] = empty, 0, 1
        centres, _ = means(points, weights, owners, k)
        if last - loss <= tolerance * loss:
            break
        last = loss
    owners, distances = assign(points, squares, centres)
    return float(distances @ weights), centres, np.bincount(owners, weights, k).astype(np.float64)


@dataclass(frozen=True)
class Polished:
    """What Lloyd's rounds end with. masses: rows of each centre, anchors' weights included; distance: mean squared."""

    centres: NDArray[np.float32]  # (k, d)
    masses: NDArray[np.float64]  # (k,)
    distance: float


def polish(
    centres: Points, sample: NDArray[np.float32], workers: Workers, *, iterations: int, tolerance: float,
    anchors: NDArray[np.float32], anchor_weights: Points, stop: Event | None,
) -> Polished:  # fmt: skip
    """Lloyd's rounds over kept rows, (n, d).

    A centre without a kept row stays: the rows that it stands for are too few for the sample. anchors: weighted
    points that count as rows, what an earlier model has seen; the distance is of the rows alone.
    """
    held = Centres(len(centres), sample.shape[1])
    held.put(slice(0, len(centres)), centres)
    assignment = Assignment(held, workers)
    weights, idle = np.zeros(held.count), np.zeros(held.count, np.int64)
    points = anchors.astype(np.float64)
    squares = np.einsum("nd,nd->n", points, points)
    last, turn = np.inf, 0
    while True:
        loss = assignment.run(sample)
        masses = assignment.counts.reshape(workers.threads, -1).sum(axis=0)[: held.count].astype(np.float64)
        if len(points):
            owners, _ = assign(points, squares, held.values.astype(np.float64))
            pulled, mass = means(points, anchor_weights, owners, held.count)
            masses += mass
        if turn == iterations or last - loss <= tolerance * loss or (stop is not None and stop.is_set()):
            return Polished(held.values.copy(), masses, loss / max(1, len(sample)))
        last, turn = loss, turn + 1
        if not len(points):
            weights[:] = 0
            assignment.move(weights, idle, 0.0, len(sample))
            continue
        sums = assignment.sums.reshape(workers.threads, held.columns, held.width).sum(axis=0, dtype=np.float64)
        before = held.values.astype(np.float64)
        shift = sums[: held.count, : held.features] + mass[:, None] * (pulled - before)
        held.put(slice(0, held.count), before + shift / np.where(masses > 0, masses, 1)[:, None])
        assignment.clear()
