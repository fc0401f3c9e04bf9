"""K-means of a product quantiser: 256 centroids for each few columns of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wildsage.kernels.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

CENTROIDS = 256
LOW_BYTE = np.int32(255)
SPLIT = np.float32(1e-4)  # how far apart, of a centroid's size, its two halves start


class Scratch(NamedTuple):
    """What k-means works with. distances: float32 (256,). sums: float64 (d, 256). masses: float64 (256,)."""

    distances: NDArray[np.float32]
    sums: NDArray[np.float64]
    masses: NDArray[np.float64]

    @classmethod
    def of(cls, columns: int) -> Scratch:
        return cls(
            np.empty(CENTROIDS, np.float32), np.empty((columns, CENTROIDS), np.float64), np.empty(CENTROIDS, np.float64)
        )


@kernel
def nearest_code(points, i, centroids, distances):
    """The centroid nearest to point i: of those whose distances agree to 15 bits or so, the lowest.

    points: float32 (d, n), centroids: float32 (d, 256), so that sixteen centroids are a vector. Distances are packed
    with their number, as integers, whose minimum LLVM turns into vector code; it does not for a float and its place.
    """
    keys = distances.view(np.int32)
    for j in range(CENTROIDS):
        distances[j] = 0
    for f in range(points.shape[0]):
        x = points[f, i]
        for j in range(CENTROIDS):
            difference = x - centroids[f, j]
            distances[j] += difference * difference
    least = np.int32(0x7FFFFFFF)
    for j in range(CENTROIDS):
        least = min(least, (keys[j] & ~LOW_BYTE) | np.int32(j))
    return least & LOW_BYTE


@kernel
def encode(points, centroids, scratch, codes):
    """codes[i] = the centroid nearest to point i. codes: uint8 (n,). Returns how many of them changed."""
    changed = 0
    for i in range(codes.size):
        code = np.uint8(nearest_code(points, i, centroids, scratch.distances))
        changed += code != codes[i]
        codes[i] = code
    return changed


@kernel
def lloyd(points, weights, centroids, scratch, codes, rounds):
    """Move centroids to the means of their points, `rounds` times or until nothing changes. Returns the rounds done.

    weights: float32 (n,), what a point counts. centroids: float32 (d, 256), in place. codes: uint8 (n,), as encode left
    them. A centroid without points takes half of the heaviest one's, as fastText does it.
    Bound by arithmetic: 3 * d * 256 operations a point and round.
    Source: Lloyd 1982; facebookresearch/fastText, src/productquantizer.cc (MStep).
    """
    sums, masses = scratch.sums, scratch.masses
    columns = points.shape[0]
    for done in range(rounds):
        sums[:] = 0
        masses[:] = 0
        for i in range(codes.size):
            masses[codes[i]] += weights[i]
        for f in range(columns):
            for i in range(codes.size):
                sums[f, codes[i]] += np.float64(weights[i]) * points[f, i]
        for j in range(CENTROIDS):
            if masses[j] > 0:
                for f in range(columns):
                    centroids[f, j] = sums[f, j] / masses[j]
        for j in range(CENTROIDS):
            if masses[j] == 0:
                largest = 0
                for other in range(CENTROIDS):
                    if masses[other] > masses[largest]:
                        largest = other
                for f in range(columns):
                    step = SPLIT * centroids[f, largest] * (1 if f % 2 else -1)
                    centroids[f, j] = centroids[f, largest] + step
                    centroids[f, largest] -= step
                masses[j] = masses[largest] / 2
                masses[largest] -= masses[j]
        if encode(points, centroids, scratch, codes) == 0:
            return done + 1
    return rounds


@kernel
def gather_columns(rows, numbers, first, inverses, points):
    """points[f, i] = rows[numbers[i], first + f] * inverses[i]: the columns of a part, one behind the other.

    rows: float32 (n, dim). numbers: int64 (m,). inverses: float32 (m,). points: float32 (d, m).
    """
    for f in range(points.shape[0]):
        for i in range(numbers.size):
            points[f, i] = rows[numbers[i], first + f] * inverses[i]
