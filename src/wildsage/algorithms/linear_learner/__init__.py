"""Linear Learner: linear and logistic models, many of them side by side in one pass over the data."""

from __future__ import annotations

from wildsage.algorithms.linear_learner.algorithm import LinearLearner

__all__ = ["LinearLearner"]
