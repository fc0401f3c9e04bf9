"""GloVe: word vectors from counts of words that stand together."""

from wildsage.algorithms.glove.algorithm import Glove

__all__ = ["Glove"]
