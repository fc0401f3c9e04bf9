"""Clusters on the two directions in which rows differ most, as numbers for `wildsage plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wildsage.contract.pictures import clusters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.contract.pictures import Picture

SHOWN_ROWS = 4000
SHOWN_CLUSTERS = 10  # by name; what is in smaller ones is one cloud
MOST_PRODUCT = 1000  # rows or columns of the square matrix whose eigenvectors are taken


def draw(
    rows: NDArray[np.float32], centres: NDArray[np.float32], names: tuple[str, ...] | None = None
) -> Picture | None:
    """The rows (n, d), of which the first SHOWN_ROWS are shown, by their nearest centre (k, d); None without rows.

    With two features these are the axes; else the first two principal components of what is shown are.
    """
    points = rows[:SHOWN_ROWS].astype(np.float64)
    if not len(points):
        return None
    mean = points.mean(axis=0)
    points -= mean
    middles = centres.astype(np.float64) - mean
    squares = (middles**2).sum(axis=1) - 2 * points @ middles.T
    nearest = squares.argmin(axis=1)
    axes, labels = _axes(points, names)
    flat, flat_middles = points @ axes, middles @ axes
    if points.shape[1] == 2:
        flat, flat_middles = flat + mean, flat_middles + mean
    counts = np.bincount(nearest, minlength=len(middles))
    largest = np.argsort(-counts, kind="stable")[:SHOWN_CLUSTERS]
    shown: dict[str, tuple[list[float], list[float]]] = {}
    for cluster in sorted(largest.tolist()):
        mine = flat[nearest == cluster]
        shown[f"cluster {cluster}"] = mine[:, 0].tolist(), mine[:, 1].tolist()
    if len(middles) > SHOWN_CLUSTERS:
        others = flat[~np.isin(nearest, largest)]
        shown["other clusters"] = others[:, 0].tolist(), others[:, 1].tolist()
    shown["centres"] = flat_middles[:, 0].tolist(), flat_middles[:, 1].tolist()
    return clusters(shown, labels)


def _axes(points: NDArray[np.float64], names: tuple[str, ...] | None) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Two directions (d, 2) and what they are called."""
    width = points.shape[1]
    if width <= 2:
        known = names or tuple(f"feature {column + 1}" for column in range(width))
        axes = np.zeros((width, 2))
        axes[range(width), range(width)] = 1
        return axes, (known[0], known[1] if width == 2 else "")
    if width <= MOST_PRODUCT:
        values, vectors = np.linalg.eigh(points.T @ points)
        axes = vectors[:, ::-1][:, :2]
    else:
        some = points[:MOST_PRODUCT]
        values, vectors = np.linalg.eigh(some @ some.T)
        axes = some.T @ vectors[:, ::-1][:, :2]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-300)
    total = float(np.maximum(values, 0).sum()) or 1.0
    first, second = (float(max(value, 0)) / total for value in values[::-1][:2])
    return axes, (f"first component, {first:.0%} of the variance", f"second component, {second:.0%}")
