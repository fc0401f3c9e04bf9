"""The largest eigenvalues of a symmetric matrix and their vectors, without the others: block Lanczos, proved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

LEAST_DIM = 400  # below, an eigendecomposition is as fast
MOST_SHARE = 12  # columns a component, below which it is, too
BLOCK = 10  # directions at once; 16 and 24 need more of them in all, and 1.3 to 1.5 times the time
TOLERANCE = 1e-12  # of the largest value: residuals
DEPENDENT = 1e-9  # share of a direction that is new, below which it is made of rounding
MARGIN = 1e-7  # by how much no other value may be above the least that was found


def leading(matrix: Matrix, count: int) -> tuple[Matrix, Matrix] | None:
    """The `count` largest eigenvalues, ascending, and vectors (d, count) of a symmetric matrix, or None.

    None where it would not be faster than all of them, or where it is not certain: residuals must be TOLERANCE of the
    largest value, vectors orthonormal, and what is left of the matrix without them must have no larger value, which a
    Cholesky factor of the difference proves (a block sees no more copies of a value than it has directions).
    Source: Golub and Underwood, "The Block Lanczos Method for Computing Eigenvalues", Mathematical Software III, 1977;
    here each block is made orthogonal to all before it, twice.
    """
    d = len(matrix)
    if d < LEAST_DIM or MOST_SHARE * count > d:
        return None
    most, check = min(d // 2, 5 * count + 15 * BLOCK), 3 * count + 6 * BLOCK
    basis, applied = np.empty((most + BLOCK, d)), np.empty((most + BLOCK, d))  # a direction a row
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((d, BLOCK)))[0].T
    used = 0
    while True:
        part = slice(used, used + BLOCK)
        basis[part], applied[part] = block, block @ matrix
        used += BLOCK
        rest = applied[part].copy()
        for _ in range(2):
            rest -= (rest @ basis[:used].T) @ basis[:used]
        turned, sizes = np.linalg.qr(rest.T)
        ends = bool((np.abs(sizes.diagonal()) <= DEPENDENT * np.linalg.norm(applied[part], axis=1)).any())
        if used >= check or ends:
            found = _ritz(basis[:used], applied[:used], count) if used >= count else None
            if found is not None:
                return found if _are_largest(matrix, *found) else None
            if ends or used >= most:
                return None
            check += 2 * BLOCK
        block = turned.T


def _ritz(basis: Matrix, applied: Matrix, count: int) -> tuple[Matrix, Matrix] | None:
    """Values and vectors from a basis and what the matrix makes of it, or None if they are not exact yet."""
    inner = basis @ applied.T
    values, turns = np.linalg.eigh((inner + inner.T) / 2)
    values, turns = values[-count:], turns[:, -count:]
    vectors = turns.T @ basis
    residuals = turns.T @ applied
    residuals -= vectors * values[:, None]
    if not np.linalg.norm(residuals, axis=1).max() <= TOLERANCE * values[-1]:
        return None
    if np.abs(vectors @ vectors.T - np.eye(count)).max() > TOLERANCE:
        return None
    return values, np.ascontiguousarray(vectors.T)


def _are_largest(matrix: Matrix, values: Matrix, vectors: Matrix) -> bool:
    """Whether no eigenvalue but these is above the least of them."""
    gap = (vectors * values) @ vectors.T - matrix
    gap[np.diag_indices(len(gap))] += values[0] * (1 + MARGIN) + TOLERANCE * values[-1]
    try:
        np.linalg.cholesky(gap)
    except np.linalg.LinAlgError:
        return False
    return True
