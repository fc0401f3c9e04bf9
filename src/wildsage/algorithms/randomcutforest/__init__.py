"""Random cut forest: scores of how far rows stand apart from the others."""

from wildsage.algorithms.randomcutforest.algorithm import RandomCutForest

__all__ = ["RandomCutForest"]
