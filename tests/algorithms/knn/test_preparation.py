"""Reduction of dimensions against matrices in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.algorithms.knn import naive
from wildsage.algorithms.knn.preparation import Preparation, power_of_two
from wildsage.algorithms.streaming import Workers


def applied(preparation: Preparation, rows: np.ndarray, threads: int = 1) -> np.ndarray:
    out = np.full((len(rows), preparation.width), np.nan, np.float32)
    with Workers(threads) as workers:
        preparation.apply(rows, out, workers)
    return out


def matrix(preparation: Preparation) -> np.ndarray:
    """What a reduction multiplies by, (dim, target)."""
    assert preparation.signs is not None
    dim, target = preparation.dim, preparation.target
    if preparation.kind == "sign":
        bits = np.unpackbits(preparation.signs, count=dim * target).reshape(target, dim)
        return (2.0 * bits - 1).T / np.sqrt(target)
    signs = 2.0 * np.unpackbits(preparation.signs, count=dim) - 1
    return signs[:, None] * naive.hadamard(power_of_two(dim))[:dim, preparation.chosen] / np.sqrt(target)


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
@pytest.mark.parametrize(("dim", "target"), [(2, 1), (7, 3), (40, 33), (64, 32), (100, 70)])
def test_a_reduction_is_a_product_with_its_matrix(kind: str, dim: int, target: int) -> None:
    rows = np.random.default_rng(dim).normal(size=(37, dim)).astype(np.float32)
    rows[3] = 0
    preparation = Preparation.draw(dim, kind, target, 1, False, seed=5)
    wanted = rows.astype(np.float64) @ matrix(preparation)
    np.testing.assert_allclose(applied(preparation, rows), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["sign", "fjlt", None])
def test_a_row_does_not_depend_on_the_others(kind: str | None) -> None:
    rows = np.random.default_rng(0).normal(size=(301, 50)).astype(np.float32)
    preparation = Preparation.draw(50, kind, 20 if kind else None, 3, True, seed=5)
    together = applied(preparation, rows, threads=2)
    alone = np.concatenate([applied(preparation, rows[i : i + 1]) for i in range(len(rows))])
    assert (together == alone).all()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_distances_are_kept_on_average(kind: str) -> None:
    rows = np.random.default_rng(1).normal(size=(200, 300)).astype(np.float32)
    rows[:, 50:] *= np.float32(0.1)  # most of a row in few columns
    ratios = []
    for seed in range(5):
        made = applied(Preparation.draw(300, kind, 128, 1, False, seed), rows)
        ratios.append(np.linalg.norm(made[1:] - made[:-1], axis=1) / np.linalg.norm(rows[1:] - rows[:-1], axis=1))
    assert abs(np.mean(ratios) - 1) < 0.02
    assert np.std(ratios) < 0.12


@pytest.mark.parametrize(
    ("kind", "target", "multiple", "made", "width"),
    [("sign", 10, 4, 12, 12), ("fjlt", 10, 4, 12, 12), ("fjlt", 15, 24, 16, 24), (None, None, 8, 0, 24)],
)
def test_padding_for_product_quantization(
    kind: str | None, target: int | None, multiple: int, made: int, width: int
) -> None:
    preparation = Preparation.draw(17 if kind is None else 16, kind, target, multiple, False, 0)
    assert (preparation.target, preparation.width) == (made, width)
    rows = np.ones((2, preparation.dim), np.float32)
    out = applied(preparation, rows)
    assert not out[:, made or 17 :].any()
    assert np.isfinite(out).all()


def test_equal_seeds_draw_alike_and_others_do_not() -> None:
    one, two, other = (Preparation.draw(70, "fjlt", 30, 1, False, seed) for seed in (1, 1, 2))
    assert (one.signs == two.signs).all() and (one.chosen == two.chosen).all()  # type: ignore[union-attr]  # noqa: PT018
    assert (one.signs != other.signs).any()  # type: ignore[union-attr]
    assert len(set(one.chosen.tolist())) == 30  # type: ignore[union-attr]
