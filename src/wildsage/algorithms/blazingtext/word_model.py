"""Trained word vectors: files of fastText's and word2vec's formats, and answers to words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from wildsage.algorithms.base import Model
from wildsage.algorithms.blazingtext import fasttext_file, word2vec_file
from wildsage.algorithms.blazingtext.fasttext_file import (
    CBOW,
    SKIP_GRAM,
    FastTextFile,
    FastTextSettings,
    QuantisedRows,
)
from wildsage.algorithms.blazingtext.kernels.predict import BLOCK, NEGATIVE, compose_words, find_words
from wildsage.algorithms.blazingtext.neighbours import Neighbours
from wildsage.algorithms.blazingtext.tables import Tables
from wildsage.contract.errors import ClientError, DataError, nearest
from wildsage.contract.files import kind_of, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINARY_FILE, QUANTISED_FILE, TEXT_FILE = "vectors.bin", "vectors.ftz", "vectors.txt"
EVALUATION_FILE = "eval.json"
ENDINGS = ("*.bin", "*.vec", "*.txt", "*.safetensors", "*.ftz")


class WordVectors(Model):
    """Words to vectors: the mean of a word's row and, with subwords, of its character n-grams' rows, as in fastText.

    A word that was never seen has the mean of its n-grams' rows; without subwords, zeros.
    """

    fork_safe: ClassVar[bool] = True
    request_types: ClassVar[tuple[str, ...]] = ("application/json", "application/jsonlines", "text/csv", "text/plain")

    def __init__(self, file: FastTextFile, path: Path | None = None) -> None:
        """Make a model of what a file holds. path: where it came from, for errors. Raises DataError if it cannot be."""
        if file.supervised:
            raise DataError("a text classifier, not word vectors", file=path, byte=fasttext_file.MODEL_PLACE)
        self.file = file
        self.evaluation: dict[str, Any] | None = None  # the content of eval.json; None: not evaluated
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
    def from_vectors(cls, vectors: word2vec_file.Vectors) -> Self:
        """Make a model of vectors alone: without n-grams, and not to be trained on. Unknown counts become 1."""
        rows, counts = vectors.rows, vectors.counts
        return cls.from_training(
            words=vectors.words,
            word_counts=np.ones(len(vectors.words), np.int64) if counts is None else counts,
            settings=FastTextSettings(dim=rows.shape[1], model=SKIP_GRAM, loss=NEGATIVE),
            word_rows=rows,
            bucket_ids=np.empty(0, np.int64),
            bucket_rows=np.empty((0, rows.shape[1]), np.float32),
            output=np.empty((0, rows.shape[1]), np.float32),
        )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the folder holds word vectors in one of the formats that load reads."""
        return find_file(folder) is not None

    def save(self, folder: Path) -> None:
        """Write vectors.txt, in word2vec's text format, and vectors.bin, which the fastText package and gensim load.

        Quantised ones are vectors.ftz alone. eval.json is beside them, if there was an evaluation.
        """
        if self.evaluation is not None:
            write_json(folder / EVALUATION_FILE, self.evaluation)
        if self.file.quantised:
            fasttext_file.write(folder / QUANTISED_FILE, self.file)
            return
        word2vec_file.write_text(folder / TEXT_FILE, self.words, self.dim, self.vectors)
        fasttext_file.write(folder / BINARY_FILE, self.file)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map vectors.bin, or else read vectors.txt or the only file of one of the other formats."""
        path = find_file(folder)
        if path is None:
            for name in (BINARY_FILE, QUANTISED_FILE, TEXT_FILE):
                if (folder / name).is_file():  # reading it tells what is wrong with it
                    return cls.read(folder / name)
            found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            raise DataError(f"no {BINARY_FILE} and no {TEXT_FILE}, but {', '.join(found) or 'nothing'}", file=folder)
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one file of any format: fastText's .bin (mapped) or .ftz, word2vec's text or binary, safetensors."""
        if fasttext_file.has_magic(path):
            return cls(fasttext_file.read(path), path)
        return cls.from_vectors(word2vec_file.read(path))

    def export(self, path: Path) -> None:
        """Write the vectors in the format that the file's ending names.

        .txt and .vec: word2vec's text; .bin: word2vec's binary; .safetensors. Raises ClientError for another ending.
        """
        if path.suffix in (".txt", ".vec"):
            word2vec_file.write_text(path, self.words, self.dim, self.vectors)
        elif path.suffix == ".bin":
            word2vec_file.write_binary(path, self.words, self.dim, self.vectors)
        elif path.suffix == word2vec_file.SAFETENSORS:
            word2vec_file.write_safetensors(
                path, self.words, self.dim, self.vectors, self.file.counts[: len(self.words)]
            )
        else:
            raise ClientError(f"{path.name}: the ending must be .txt, .vec, .bin or .safetensors, for the format")

    @property
    def dim(self) -> int:
        return self.file.settings.dim

    @cached_property
    def words(self) -> list[bytes]:
        """The words, by descending count."""
        return self.file.words()

    def vectors(self, begin: int, end: int) -> NDArray[np.float32]:
        """The vectors of words begin..end: float32 (n, dim); without n-grams they are the rows themselves."""
        rows = self.file.word_rows
        if self.file.settings.maxn <= 0 and not isinstance(rows, QuantisedRows):
            return rows[begin:end]
        places = self.file.places
        after = np.append(places, self.file.entries.size)[1:] - fasttext_file.ENTRY.size
        return self._compose(self.file.entries, places[begin:end], after[begin:end], np.arange(begin, end))

    def at(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of the words with these numbers: float32 (n, dim)."""
        rows = self.file.word_rows
        if self.file.settings.maxn <= 0 and not isinstance(rows, QuantisedRows):
            return rows[numbers]
        places = self.file.places
        after = np.append(places, self.file.entries.size)[1:] - fasttext_file.ENTRY.size
        return self._compose(self.file.entries, places[numbers], after[numbers], numbers)

    def of(self, words: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of any words: float32 (n, dim). One that has none, see `WordVectors`, has zeros."""
        encoded = [encoded_word(word) for word in words]
        text = np.frombuffer(b"".join(encoded) or b" ", np.uint8)
        ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
        starts = ends - np.array([len(word) for word in encoded], np.int64)
        ids = np.empty(len(words), np.int64)
        find_words(text, starts, ends, self._tables.dictionary, ids)
        return self._compose(text, starts, ends, ids)

    def _compose(
        self,
        text: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        ids: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        tables = self._tables
        vectors = np.empty((starts.size, self.dim), np.float32)
        compose_words(
            text, starts, ends, ids, tables.word_bytes, tables.bucket_bytes, tables.bucket_at, tables.centroids,
            tables.orders, np.empty(4 * BLOCK, np.int64), vectors,
        )  # fmt: skip
        return vectors

    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Answer words, each with {"vector": [...], "word": "…"}; an instance is a word as it is, blanks and all.

        Raises ClientError with the instance's number.
        """
        for number, instance in enumerate(instances):
            if not isinstance(instance, str):
                raise ClientError(f"instance {number} is {kind_of(instance)}, where a word is wanted")
        vectors = self.of(instances)
        if not np.isfinite(vectors).all():
            number = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise ClientError(f"instance {number}: the model's answer is not a number; its rows are not finite")
        return [{"vector": vector, "word": word} for vector, word in zip(vectors.tolist(), instances, strict=True)]

    def warm_up(self) -> None:
        """Load the kernels, and touch the rows of words."""
        self.of(["word"])
        self._tables.word_bytes[:, :: fasttext_file.PAGE_BYTES].sum()

    @cached_property
    def _neighbours(self) -> Neighbours:
        """Made at the first search. With n-grams it needs all words' vectors: 4 * dim bytes a word of memory."""
        return Neighbours(np.ascontiguousarray(self.vectors(0, len(self.words))))

    def nearest(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have the highest cosine to a word's, itself left out, with the cosine, best first.

        Raises ClientError for a word that has no vector.
        """
        return self._search(self._known([word])[0], [word], count)

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """The words that are to `c` as `b` is to `a`, best first: nearest to b - a + c, each of norm 1 beforehand.

        The three are left out. Source: Mikolov et al., "Linguistic Regularities in Continuous Space Word
        Representations", NAACL 2013, section 5. Raises ClientError for a word that has no vector.
        """
        vectors = self._known([a, b, c])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return self._search(vectors[1] - vectors[0] + vectors[2], [a, b, c], count)

    def _known(self, words: list[str]) -> NDArray[np.float32]:
        vectors = self.of(words)
        if lacking := [word for word, vector in zip(words, vectors, strict=True) if not vector.any()]:
            known = [word.decode("utf-8", "replace") for word in self.words]
            listed = ", ".join(f'"{word}" has no vector here{nearest(word, known)}' for word in lacking)
            raise ClientError(listed)
        return vectors

    def _search(self, query: NDArray[np.float32], left_out: list[str], count: int) -> list[tuple[str, float]]:
        ids, scores = self._neighbours.nearest(query[None], count + len(set(left_out)))
        unwanted = {encoded_word(word) for word in left_out}
        found = [
            (self.words[id_].decode("utf-8", "replace"), score)
            for id_, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True)
            if id_ >= 0 and self.words[id_] not in unwanted
        ]
        return found[:count]


def encoded_word(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")  # JSON can smuggle in half of a surrogate pair


def find_file(folder: Path) -> Path | None:
    """The folder's vectors.bin, vectors.ftz or vectors.txt, or else the only file with word vectors of an ending."""
    for name in (BINARY_FILE, QUANTISED_FILE, TEXT_FILE):
        if _holds_vectors(folder / name):
            return folder / name
    for ending in ENDINGS:
        found = [path for path in folder.glob(ending) if not path.name.startswith(".") and _holds_vectors(path)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _holds_vectors(path: Path) -> bool:
    return path.is_file() and (fasttext_file.model_kind(path) in (CBOW, SKIP_GRAM) or word2vec_file.is_vectors(path))
