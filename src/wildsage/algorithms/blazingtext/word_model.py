"""Trained word vectors: files of fastText's and word2vec's formats, and answers to words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from wildsage.algorithms.base import Model
from wildsage.algorithms.blazingtext import fasttext_file, neighbours, word2vec_file
from wildsage.algorithms.blazingtext.fasttext_file import CBOW, SKIP_GRAM, FastTextFile, FastTextSettings
from wildsage.algorithms.blazingtext.kernels.predict import BLOCK, compose_words, find_words
from wildsage.algorithms.blazingtext.tables import Tables
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINARY_FILE, TEXT_FILE = "vectors.bin", "vectors.txt"
ENDINGS = ("*.bin", "*.vec", "*.txt", "*.safetensors", "*.ftz")
COMPOSED_BYTES = 16 << 20  # vectors that are composed at a time


class WordVectors(Model):
    """Words to vectors: the mean of a word's row and, with subwords, of its character n-grams' rows, as in fastText.

    A word that was never seen has the mean of its n-grams' rows; without subwords, zeros.
    """

    fork_safe: ClassVar[bool] = True

    def __init__(self, file: FastTextFile, path: Path | None = None) -> None:
        """Make a model of what a file holds. path: where it came from, for errors. Raises DataError if it cannot be."""
        if file.supervised:
            raise DataError("a text classifier, not word vectors", file=path, byte=fasttext_file.MODEL_PLACE)
        self.file = file
        self._tables = Tables.of(file)

    @classmethod
    def from_training(
        cls,
        *,
        words: list[bytes],
        word_counts: NDArray[np.int64],
        settings: FastTextSettings,
        word_rows: NDArray[np.float32],
        bucket_ids: NDArray[np.int64],
        bucket_rows: NDArray[np.float32],
        output: NDArray[np.float32],
    ) -> Self:
        """Make a model of what training leaves; float32 arrays are kept, not copied.

        words: by descending count, "</s>" among them. word_counts: int64 (V,). word_rows: float32 (V, dim), the words'
        own input rows. bucket_ids: int64 (R,), ascending, the buckets of character n-grams that have a row; every other
        one is zero. bucket_rows: float32 (R, dim). output: float32 (V, dim), what training predicts with (with a tree,
        its inner nodes in fastText's order, the last row zero), or (0, dim) for a model that is not trained on.
        settings: model CBOW or SKIP_GRAM, loss, bucket, and minn and maxn, 0 without subwords.
        Raises AlgorithmError if these do not belong together.
        """
        return cls(
            FastTextFile.from_rows(
                words=words,
                word_counts=word_counts,
                labels=[],
                label_counts=np.empty(0, np.int64),
                settings=settings,
                word_rows=word_rows,
                bucket_ids=bucket_ids,
                bucket_rows=bucket_rows,
                output=output,
            )
        )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the folder holds word vectors in one of the formats that load reads."""
        return find_file(folder) is not None

    def save(self, folder: Path) -> None:
        """Write vectors.txt, in word2vec's text format, and vectors.bin, which the fastText package and gensim load."""
        word2vec_file.write_text(folder / TEXT_FILE, self.words, self.vectors)
        fasttext_file.write(folder / BINARY_FILE, self.file)
