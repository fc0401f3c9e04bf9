"""k-means over a stream of rows."""

from wildsage.algorithms.kmeans.algorithm import KMeans

__all__ = ["KMeans"]
