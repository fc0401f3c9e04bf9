"""Trained vectors of GloVe: word vectors like BlazingText's, and what training goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from wildsage.algorithms.blazingtext.fasttext_file import SKIP_GRAM, FastTextSettings, dense
from wildsage.algorithms.blazingtext.kernels.predict import NEGATIVE
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.errors import DataError
from wildsage.contract.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

BIASES_FILE = "glove.safetensors"
WORD_BIASES, CONTEXT_BIASES = "word_biases", "context_biases"


class GloveVectors(WordVectors):
    """A word's vector is the sum of its two: that as a word, and that as a context (Pennington et al. 2014, 4.2).

    In vectors.bin, the sums are the input rows and the contexts' vectors the output rows. biases: float32 (2, V), of
    words and of contexts, None for a model that GloVe did not train; they lie in glove.safetensors.
    """

    biases: NDArray[np.float32] | None = None

    @classmethod
    def of_rows(
        cls,
        words: list[bytes],
        word_counts: NDArray[np.int64],
        vectors: NDArray[np.float32],
        contexts: NDArray[np.float32],
        biases: NDArray[np.float32],
        *,
        window: int,
        epochs: int,
        min_count: int,
    ) -> Self:
        """Make a model of what training leaves: vectors and contexts float32 (V, dim), biases (2, V)."""
        dim = vectors.shape[1]
        model = cls.from_training(
            words=words,
            word_counts=word_counts,
            settings=FastTextSettings(
                dim=dim, ws=window, epoch=epochs, min_count=min_count, model=SKIP_GRAM, loss=NEGATIVE
            ),
            word_rows=vectors + contexts,
            bucket_ids=np.empty(0, np.int64),
            bucket_rows=np.empty((0, dim), np.float32),
            output=contexts,
        )
        model.biases = biases
        return model

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether GloVe trained the word vectors in a folder; others are BlazingText's to answer for."""
        return (folder / BIASES_FILE).is_file() and super().recognises(folder)

    def save(self, folder: Path) -> None:
        """As WordVectors, with the biases beside."""
        super().save(folder)
        if self.biases is not None:
            tensors = {WORD_BIASES: self.biases[0].copy(), CONTEXT_BIASES: self.biases[1].copy()}
            write_atomically(folder / BIASES_FILE, save(tensors))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As WordVectors; the biases are read where there are any."""
        model = super().load(folder)
        path = folder / BIASES_FILE
        if path.is_file():
            try:
                tensors = load_file(path)
                model.biases = np.stack([tensors[WORD_BIASES], tensors[CONTEXT_BIASES]]).astype(np.float32)
            except (SafetensorError, KeyError, ValueError, OSError) as error:
                raise DataError(f"not GloVe's biases: {error}", file=path) from error
            if model.biases.shape != (2, len(model.words)):
                told = f"{model.biases.shape[-1]:,} biases, where there are {len(model.words):,} words"
                raise DataError(told, file=path)
        return model

    def parts(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The vectors as words and as contexts, float32 (V, dim), and the biases, (2, V).

        Vectors that GloVe did not train are taken for the sum of two equal ones, without biases.
        """
        sums = np.asarray(self.vectors(0, len(self.words)), np.float32)
        if self.biases is None:
            half = np.float32(0.5) * sums
            return half, half, np.zeros((2, len(self.words)), np.float32)
        contexts = dense(self.file.output)
        return sums - contexts, contexts, self.biases
