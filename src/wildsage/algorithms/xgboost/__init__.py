"""Gradient boosted trees: the library XGBoost behind the published names."""

from wildsage.algorithms.xgboost.algorithm import XGBoost

__all__ = ["XGBoost"]
