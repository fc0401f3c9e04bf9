"""A trained text classifier: saves to and loads from fastText's own file, and answers texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from wildsage.algorithms.base import Model
from wildsage.algorithms.blazingtext import fasttext_file
from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile
from wildsage.algorithms.blazingtext.kernels.predict import HIERARCHICAL, answer_texts, index_entries, scratch_size
from wildsage.contract.errors import AlgorithmError, ClientError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.fasttext_file import FastTextSettings

MODEL_FILE = "model.bin"

FLOAT, INTEGER, LONG = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.int64)


class TextClassifier(Model):
    """Words, and n-grams of words, to the mean of their rows to the probability of each label.

    A text is one line: what separates words in it, newlines too, is a space. It answers as fastText does, but for two
    things: a probability is itself, where fastText adds 0.00001; of labels equally probable the more frequent is first.
    """

    fork_safe: ClassVar[bool] = True
    # The last two go beyond the contract: the first column of each row, or each line, is a text.
    request_types: ClassVar[tuple[str, ...]] = ("application/json", "application/jsonlines", "text/csv", "text/plain")

    def __init__(self, file: FastTextFile, path: Path | None = None) -> None:
        """Make a model of what a file holds. path: where it came from, for errors. Raises DataError if it cannot be."""
        self.file = file
        self.labels = file.labels()
        settings = file.settings
        self._slots = np.zeros(2 << int(file.places.size).bit_length(), np.uint64)
        self._eos = index_entries(file.entries, file.places, self._slots)
        self._bucket_at = np.empty(0, np.int32)
        if file.bucket_ids is not None:
            self._bucket_at = np.full(settings.bucket, -1, np.int32)
            self._bucket_at[file.bucket_ids] = np.arange(file.bucket_ids.size, dtype=np.int32)
        self._tree = np.empty((0, 2), np.int32)
        if settings.loss == HIERARCHICAL:
            try:
                self._tree = label_tree(file.label_counts())
            except ValueError as error:
                raise DataError(str(error), file=path) from error
        self._scratch_size = scratch_size(settings.word_ngrams, len(self.labels), settings.dim)
        orders = np.array([settings.word_ngrams, settings.minn, settings.maxn, settings.bucket], np.int64)
        self._arguments = (
            self._slots,
            file.entries,
            _as_bytes(file.word_rows),
            _as_bytes(file.bucket_rows),
            self._bucket_at,
            _as_bytes(file.output),
            self._tree,
            orders,
            self._eos,
            settings.loss,
        )

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
        """Make a model of what training leaves; the arrays are kept, not copied.

        words, labels: by descending count, as fastText orders them, "</s>" among the words; labels with their prefix.
        word_counts: int64 (V,). label_counts: int64 (C,). word_rows: float32 (V, dim).
        bucket_ids: int64 (R,), ascending, the buckets that have a row; every other bucket is zero.
        bucket_rows: float32 (R, dim). output: float32 (C, dim).
        Without n-grams of either kind the model has no buckets, whatever settings.bucket says, as in fastText.
        Raises AlgorithmError if these do not belong together.
        """
        if settings.word_ngrams <= 1 and settings.maxn <= 0:
            settings = replace(settings, bucket=0)
        shapes = {
            "word_counts": (word_counts.shape, (len(words),)),
            "label_counts": (label_counts.shape, (len(labels),)),
            "word_rows": (word_rows.shape, (len(words), settings.dim)),
            "bucket_rows": (bucket_rows.shape, (bucket_ids.size, settings.dim)),
            "output": (output.shape, (len(labels), settings.dim)),
        }
        for name, (shape, wanted) in shapes.items():
            if shape != wanted:
                raise AlgorithmError(f"a model's {name} must be of shape {wanted}, not {shape}")
        if not labels:
            raise AlgorithmError("a classifier needs a label")
        if bucket_ids.size and not (
            bucket_ids[0] >= 0 and bucket_ids[-1] < settings.bucket and bool((np.diff(bucket_ids) > 0).all())
        ):
            raise AlgorithmError(f"bucket_ids must ascend within 0 and {settings.bucket - 1}")
        packed = [
            fasttext_file.pack_entries(words, word_counts, label=False),
            fasttext_file.pack_entries(labels, label_counts, label=True),
        ]
        entries = np.frombuffer(b"".join(packed), np.uint8)
        lengths = np.array([len(word) for word in [*words, *labels]], np.int64) + fasttext_file.ENTRY.size
        places = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]])
        counts = np.concatenate([word_counts, label_counts]).astype(np.int64)
        return cls(
            FastTextFile(
                settings=settings,
                tokens=int(counts.sum()),
                entries=entries,
                places=places,
                counts=counts,
                word_rows=np.ascontiguousarray(word_rows, FLOAT),
                bucket_ids=bucket_ids,
                bucket_rows=np.ascontiguousarray(bucket_rows, FLOAT),
                output=np.ascontiguousarray(output, FLOAT),
            )
        )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the folder holds a model of fastText's format, under whatever name."""
        path = find_file(folder)
        return path is not None and fasttext_file.has_magic(path)

    def save(self, folder: Path) -> None:
        """Write model.bin, which the fastText package loads too."""
        fasttext_file.write(folder / MODEL_FILE, self.file)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map model.bin, or the only .bin of the folder."""
        path = find_file(folder)
        if path is None:
            found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            raise DataError(
                f"no {MODEL_FILE}, nor just one other .bin, but {', '.join(found) or 'nothing'}", file=folder
            )
        return cls(fasttext_file.read(path), path)

    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Answer texts, each with {"label": [...], "prob": [...]}, best first.

        instances: str. options: "k", how many labels: an integer from 1 on, above their number as good as their number;
        1 if it is left out.
        A text without a single feature, which takes a model that never saw a line end, has no label, as in fastText.
        Raises ClientError with the instance's number.
        """
        wanted = self._wanted(options) if any(options) else None
        k = max(wanted) if wanted else 1
        number = len(instances)
        try:
            text = "\n".join(instances)
        except TypeError:
            raise _not_a_text(instances) from None
        if text.count("\n") >= number:
            text = "\n".join([instance.replace("\n", " ") for instance in instances])
        try:
            data = text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can smuggle in
            data = text.encode("utf-8", "surrogatepass")
        ids, probabilities = np.empty(number * k, INTEGER), np.empty(number * k, FLOAT)
        failed = answer_texts(data, *self._arguments, k, np.empty(self._scratch_size, LONG), ids, probabilities)
        if failed >= 0:
            raise ClientError(f"instance {failed}: the model's answer is not a number; its rows are not finite")
        labels, found, probable = self.labels, ids.tolist(), probabilities.tolist()
        if wanted is None and -1 not in found:
            return [{"label": [labels[i]], "prob": [p]} for i, p in zip(found, probable, strict=True)]
        answers = []
        for start, most in zip(range(0, number * k, k), wanted or [1] * number, strict=True):
            best = [j for j in range(start, start + most) if found[j] >= 0]
            answers.append({"label": [labels[found[j]] for j in best], "prob": [probable[j] for j in best]})
        return answers

    def warm_up(self) -> None:
        """Load the kernel, and touch the rows of words and labels."""
        self.predict(["a first text"], [{}])
        for rows in (self.file.word_rows, self.file.output):
            rows[:, :: max(1, fasttext_file.PAGE_BYTES // 4)].sum()

    def _wanted(self, options: Sequence[Mapping[str, Any]]) -> list[int]:
        """How many labels each instance asks for, at most all."""
        wanted = []
        for number, option in enumerate(options):
            if "threshold" in option:
                raise ClientError(f"instance {number}: threshold is not supported; k is")
            k = option.get("k", 1)
            if not isinstance(k, int) or isinstance(k, bool) or k < 1:
                raise ClientError(f"instance {number}: k = {k!r} is not allowed: an integer, 1 or more")
            wanted.append(min(k, len(self.labels)))
        return wanted


def _as_bytes(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The rows as read-only bytes, so that mapped and trained ones are of one type, and one kernel answers for both."""
    view = rows.view(np.uint8)
    view.flags.writeable = False
    return view


def _not_a_text(instances: Sequence[Any]) -> ClientError:
    number, value = next((i, value) for i, value in enumerate(instances) if not isinstance(value, str))
    names = {dict: "an object", list: "an array", bool: "true or false", int: "a number", float: "a number"}
    kind = "null" if value is None else names.get(type(value), type(value).__name__)
    return ClientError(f"instance {number} is {kind}, where a text is wanted")


def find_file(folder: Path) -> Path | None:
    """The folder's model.bin, or its only .bin, or, since that earns a clearer error, its only .ftz."""
    if (folder / MODEL_FILE).is_file():
        return folder / MODEL_FILE
    for ending in ("*.bin", "*.ftz"):
        found = [path for path in folder.glob(ending) if path.is_file() and not path.name.startswith(".")]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def label_tree(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """The Huffman tree of fastText's hierarchical softmax: int32 (C - 1, 2), the children of inner nodes C, C + 1, …

    counts: int64 (C,), by descending count; a node below C is a label. Raises ValueError for what are no counts.
    Source: facebookresearch/fastText, src/loss.cc (buildTree); it merges from two queues, leaves from the last on.
    """
    weights: list[int] = counts.tolist()
    classes = len(weights)
    if min(weights) < 0 or sum(weights) >= 10**15:
        raise ValueError("the counts of its labels are not counts")
    tree = np.empty((classes - 1, 2), np.int32)
    leaf, node = classes - 1, classes
    for inner in range(classes - 1):
        for side in range(2):
            if leaf >= 0 and (node >= len(weights) or weights[leaf] < weights[node]):
                tree[inner, side], leaf = leaf, leaf - 1
            else:
                tree[inner, side], node = node, node + 1
        weights.append(weights[tree[inner, 0]] + weights[tree[inner, 1]])
    return tree
