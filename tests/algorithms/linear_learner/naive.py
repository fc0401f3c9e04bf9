"""Linear models in plain float64 NumPy, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np


def loss_and_gradient(kind: str, z: Any, y: Any, parameter: float) -> tuple[Any, Any]:
    """Of each row, its loss and how that changes with its score."""
    if kind == "logistic":
        p = 1 / (1 + np.exp(-z))
        return np.logaddexp(0, z) - z * y, p - y
    if kind == "hinge_loss":
        side = 2 * y - 1
        return np.maximum(parameter - side * z, 0), np.where(parameter - side * z > 0, -side, 0.0)
    e = z - y
    if kind == "squared_loss":
        return e**2, 2 * e
    if kind == "absolute_loss":
        return np.abs(e), np.sign(e)
    if kind == "quantile_loss":
        return np.where(e > 0, (1 - parameter) * e, -parameter * e), np.where(e > 0, 1 - parameter, -parameter)
    if kind == "huber_loss":
        near = np.abs(e) <= parameter
        return np.where(near, e**2 / 2, parameter * (np.abs(e) - parameter / 2)), np.clip(e, -parameter, parameter)
    beyond = np.maximum(np.abs(e) - parameter, 0)
    if kind == "eps_insensitive_squared_loss":
        return beyond**2, 2 * np.sign(e) * beyond
    return beyond, np.sign(e) * (beyond > 0)


def softmax(z: Any, y: Any) -> tuple[Any, Any]:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    own = np.eye(z.shape[1])[y.astype(int)]
    return -np.log((p * own).sum(axis=1)), p - own


def adam(rows: Any, labels: Any, weights: Any, updates: int, *, rate: float, wd: float, l1: float, kind: str,
         parameter: float) -> tuple[Any, Any]:  # fmt: skip
    """Weights and bias after so many steps on all rows, which are normalised; then their running mean's."""
    x = np.column_stack([(rows - rows.mean(axis=0)) / rows.std(axis=0), np.ones(len(rows))])
    v, first, second, mean = weights.copy(), 0.0, 0.0, weights.copy()
    for t in range(1, updates + 1):
        g = x.T @ loss_and_gradient(kind, x @ v, labels, parameter)[1] / len(x)
        g[:-1] += wd * v[:-1]
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        size = rate / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        v = v - size * first / (1 - 0.9**t)
        v[:-1] = np.sign(v[:-1]) * np.maximum(np.abs(v[:-1]) - size[:-1] * l1, 0)
        mean = mean + (v - mean) * 5 / (4 + t)
    return v, mean
