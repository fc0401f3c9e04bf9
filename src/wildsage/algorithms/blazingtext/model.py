"""A trained text classifier: saves to and loads from fastText's own file, and answers texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from wildsage.algorithms.base import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.fasttext_file import FastTextSettings


class TextClassifier(Model):
    """Words and n-grams of words to the mean of their rows to the probability of each label."""

    @classmethod
    def from_training(
        cls,
        *,
        words: list[bytes],
        word_counts: NDArray[np.int64],
        labels: list[bytes],
        label_counts: NDArray[np.int64],
        settings: FastTextSettings,
        word_rows: NDArray[np.float32],
        bucket_ids: NDArray[np.int64],
        bucket_rows: NDArray[np.float32],
        output: NDArray[np.float32],
    ) -> Self:
        """Make a model of what training leaves.

        words, labels: by descending count, as fastText orders them, "</s>" among the words; labels with their prefix.
        word_counts: int64 (V,). label_counts: int64 (C,). word_rows: float32 (V, dim).
        bucket_ids: int64 (R,), ascending, the buckets that have a row; every other bucket is zero.
        bucket_rows: float32 (R, dim). output: float32 (C, dim).
        """
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError

    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[Any]:
        raise NotImplementedError
