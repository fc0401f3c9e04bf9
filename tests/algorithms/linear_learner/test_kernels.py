"""Kernels of linear models against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.algorithms.linear_learner import naive
from wildsage.algorithms.linear_learner import kernels
from wildsage.algorithms.linear_learner.kernels import Rows
from wildsage.algorithms.linear_learner.state import KINDS
from wildsage.data.batch import SparseRows
from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import WIDTH, load, store

NONE = np.zeros(0, np.float32)


@kernel
def _apply(x, exponentials, logarithms):  # type: ignore[no-untyped-def]
    for k in range(0, x.size, WIDTH):
        store(exponentials, k, kernels.exponential(load(x, k)))
        store(logarithms, k, kernels.log_1p(kernels.exponential(load(x, k))))


def test_exponential_and_logarithm() -> None:
    x = np.concatenate([-np.geomspace(1e-8, 31.9, 1000), [0.0] * 8]).astype(np.float32)
    exponentials, logarithms = np.zeros_like(x), np.zeros_like(x)
    _apply(x, exponentials, logarithms)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(exponentials / exact - 1).max() < 6e-6
    assert np.abs(logarithms - np.log1p(exact)).max() < 3e-6
    far = np.full(WIDTH, -1e9, np.float32)
    _apply(far, exponentials, logarithms)
    assert 0 <= exponentials[0] < 1e-13


def sparse(rows: Any) -> SparseRows:
    starts = np.concatenate([[0], np.cumsum((rows != 0).sum(axis=1))]).astype(np.int64)
    return SparseRows(starts, np.nonzero(rows)[1].astype(np.int32), rows[rows != 0].astype(np.float32), rows.shape[1])


@pytest.mark.parametrize("count", [1, 7, 8, 33])
@pytest.mark.parametrize("d", [1, 2, 8, 13, 50])
@pytest.mark.parametrize("width", [16, 48])
def test_products(count: int, d: int, width: int) -> None:
    random = np.random.default_rng(3)
    rows = (random.normal(size=(count + 2, d)) * (random.random((count + 2, d)) < 0.7)).astype(np.float32)
    weights = random.normal(size=(d + 1, width)).astype(np.float32)
    part = rows[2:].astype(np.float64)
    packed = sparse(rows)
    given = (packed.starts, packed.columns, packed.values)
    expected = part @ weights[:d] + weights[d]
    for dense in (True, False):
        scores = np.full(count * width, np.nan, np.float32)
        if dense:
            kernels.multiply(rows.reshape(-1), 2 * d, count, d, weights.reshape(-1), width, scores)
        else:
            kernels.multiply_sparse(*given, 2, count, d, weights.reshape(-1), width, scores)
        np.testing.assert_allclose(scores.reshape(count, width), expected, rtol=1e-4, atol=1e-4)
    errors = random.normal(size=(count, width)).astype(np.float32)
    expected = np.concatenate([part.T @ errors, errors.sum(axis=0, dtype=np.float64)[None]])
    for dense in (True, False):
        gradient = np.full((d + 1) * width, np.nan, np.float32)
        if dense:
            kernels.multiply_back(rows.reshape(-1), 2 * d, count, d, errors.reshape(-1), width, gradient)
        else:
            kernels.multiply_back_sparse(*given, 2, count, d, errors.reshape(-1), width, gradient)
        np.testing.assert_allclose(gradient.reshape(d + 1, width), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"softmax_loss"}))
@pytest.mark.parametrize("weighted", [False, True])
def test_links(name: str, weighted: bool) -> None:
    random = np.random.default_rng(4)
    z = np.concatenate([random.normal(0, 4, (40, WIDTH)), np.full((1, WIDTH), 60.0), np.full((1, WIDTH), -60.0)])
    z = z.astype(np.float32)
    binary = name in ("logistic", "hinge_loss")
    labels = random.integers(0, 2, 45) if binary else random.normal(0, 4, 45)
    labels = labels.astype(np.float32)
    weights = random.random(45).astype(np.float32) if weighted else NONE
    more = random.random(WIDTH).astype(np.float32) if weighted and binary else np.zeros(WIDTH, np.float32)
    y, w = labels[3:], weights[3:].astype(np.float64) if weighted else np.ones(42)
    losses, scratch, scores = np.zeros(WIDTH), np.zeros(WIDTH, np.float32), z.reshape(-1).copy()
    kernels.link(KINDS[name], 0.7, scores, 42, Rows(labels, weights, NONE), 3, 0.5, more, losses, scratch)
    loss, gradient = naive.loss_and_gradient(name, z.astype(np.float64), y[:, None].astype(np.float64), 0.7)
    by_row = w[:, None] * (1 + y[:, None] * more if binary else 1)
    np.testing.assert_allclose(losses, (loss * by_row).sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scores.reshape(z.shape), 0.5 * gradient * by_row, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [3, 16, 21])
def test_softmax(classes: int, weighted: bool) -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, classes, 45).astype(np.float32)
    weights = random.random(45).astype(np.float32) if weighted else NONE
    by_class = (1 + random.random(classes)).astype(np.float32) if weighted else NONE
    w = weights[3:].astype(np.float64) * by_class[labels[3:].astype(int)] if weighted else np.ones(42)
    given = Rows(labels, weights, by_class)
    z = random.normal(0, 5, (42, classes, WIDTH)).astype(np.float32)
    z[7] *= 20
    losses, scratch, scores = np.zeros(WIDTH), np.zeros(WIDTH, np.float32), z.reshape(-1).copy()
    kernels.link_classes(classes, scores, 42, given, 3, 0.5, losses, scratch)
    for lane in range(WIDTH):
        loss, gradient = naive.softmax(z[:, :, lane].astype(np.float64), labels[3:])
        np.testing.assert_allclose(losses[lane], loss @ w, rtol=1e-5)
        found = scores.reshape(z.shape)[:, :, lane]
        np.testing.assert_allclose(found, 0.5 * gradient * w[:, None], rtol=2e-5, atol=2e-6)
    width = -(-classes // WIDTH) * WIDTH
    padded = np.full((42, width), -1e9, np.float32)
    padded[:, :classes] = z[:, :, 0]
    losses, scores = np.zeros(WIDTH), padded.reshape(-1).copy()
    kernels.link_by_class(width, scores, 42, given, 3, 0.5, losses, scratch)
    loss, gradient = naive.softmax(z[:, :, 0].astype(np.float64), labels[3:])
    np.testing.assert_allclose(losses[0], loss @ w, rtol=1e-5)
    found = scores.reshape(42, width)
    np.testing.assert_allclose(found[:, :classes], 0.5 * gradient * w[:, None], rtol=2e-5, atol=2e-6)
    assert np.abs(found[:, classes:]).max(initial=0) < 1e-12


def test_exact_scores_do_not_depend_on_the_other_rows() -> None:
    random = np.random.default_rng(6)
    rows, weights = random.normal(size=(9, 37)).astype(np.float32), random.normal(size=(3, 37))
    biases, out = random.normal(size=3), np.empty(27)
    kernels.score(rows.reshape(-1), 0, 9, 37, weights.reshape(-1), biases, out)
    np.testing.assert_allclose(out.reshape(9, 3), rows.astype(np.float64) @ weights.T + biases, rtol=1e-12)
    one = np.empty(3)
    kernels.score(rows.reshape(-1), 5, 1, 37, weights.reshape(-1), biases, one)
    assert one.tolist() == out[15:18].tolist()
    packed = sparse(rows)
    kernels.score_sparse(packed.starts, packed.columns, packed.values, 5, 1, 37, weights.reshape(-1), biases, one)
    np.testing.assert_allclose(one, out[15:18], rtol=1e-12)
