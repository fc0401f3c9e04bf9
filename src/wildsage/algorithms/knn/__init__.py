"""k-nearest neighbours: a sample of the rows in a faiss index, and their labels."""

from wildsage.algorithms.knn.algorithm import KNN

__all__ = ["KNN"]
