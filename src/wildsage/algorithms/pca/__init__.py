"""Principal components: the directions in which rows of numbers vary most."""

from wildsage.algorithms.pca.algorithm import PCA

__all__ = ["PCA"]
