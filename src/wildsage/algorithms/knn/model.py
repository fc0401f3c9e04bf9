"""A trained k-NN: the index, the labels of its rows, and how they answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ, PROBES
from wildsage.algorithms.row_model import RowModel
from wildsage.algorithms.streaming import Workers
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import new_file, read_json_object, shown, write_atomically, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wildsage.algorithms.knn.index import Index
    from wildsage.algorithms.knn.preparation import Preparation
    from wildsage.algorithms.row_model import Columns
    from wildsage.data.batch import Batch

INDEX_FILE = "model_algo-1"
LABELS_FILE, SETTINGS_FILE = "model_algo-1.labels", "model_algo-1.json"
KEYS_FILE, REDUCTION_FILE = "model_algo-1.keys", "model_algo-1.reduction"
ALGORITHM, FORMAT = "knn", 1
FIRST_BYTES = (b"IxF2", b"IxFI", b"IwFl", b"IwPQ")
QUERIES = 4096  # answered at once, as many as faiss multiplies at once
UNHEARD = ("charset", "q")  # of Accept's parameters: no concern of a model


@dataclass(frozen=True)
class Settings:
    """model_algo-1.json. k, predictor_type and probes may be changed by hand."""

    k: int
    predictor_type: str
    index_type: str
    index_metric: str
    feature_dim: int
    probes: int = PROBES
    dimension_reduction_type: str | None = None
    dimension_reduction_target: int = 0  # columns that it leaves, as padded for product quantization
    rows_seen: int = 0  # of which the index holds a sample
    rounds: int = 1  # of training, each from the model of the one before
    feature_names: tuple[str, ...] | None = None
    index_bytes: int = 0
    algorithm: str = ALGORITHM
    format: int = FORMAT

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises DataError for settings that cannot be."""
        try:
            found = read_json_object(path, "settings of a k-NN model")
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", file=path.name) from error
        if found.get("algorithm") != ALGORITHM or found.get("format") != FORMAT:
            raise DataError(f"not the settings of a k-NN model of format {FORMAT}", file=path.name)
        problems = []
        allowed = {
            "predictor_type": ("classifier", "regressor"),
            "index_type": (FLAT, IVF_FLAT, IVF_PQ),
            "index_metric": ("L2", "INNER_PRODUCT", "COSINE"),
            "dimension_reduction_type": (None, "sign", "fjlt"),
        }
        for name, choices in allowed.items():
            if found.get(name) not in choices:
                problems.append(f"{name} = {shown(found.get(name))} is not allowed: one of {shown(choices)}")
        least = dict.fromkeys(("k", "feature_dim", "probes", "rounds"), 1)
        least |= dict.fromkeys(("dimension_reduction_target", "rows_seen", "index_bytes"), 0)
        for name, low in least.items():
            value = found.get(name)
            if type(value) is not int or not low <= value < 1 << 63:
                problems.append(f"{name} = {shown(value)} is not allowed: an integer, {low} or more")
        names = found.get("feature_names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            problems.append("feature_names is not allowed: a list of names")
        if problems:
            raise DataError("; ".join(problems), file=path.name)
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in found.items() if name in known}
        return cls(**values | {"feature_names": None if names is None else tuple(names)})


class NearestNeighbours(RowModel):
    """Answers with the label of most of the k nearest rows, or with the mean of their labels."""

    def __init__(
        self,
        settings: Settings,
        index: Index,
        preparation: Preparation,
        labels: NDArray[np.float32],
        keys: NDArray[np.uint64],
    ) -> None:
        self.settings, self.index, self.preparation = settings, index, preparation
        # A mapped array of NumPy's own class is slow to take from.
        self.labels, self.keys = labels.view(np.ndarray), keys.view(np.ndarray)
        # One thread each in the workers of an endpoint, and safe after a fork.
        self._workers = Workers(1)

    @property
    def feature_dim(self) -> int:
        return self.settings.feature_dim

    def use(self, workers: Workers) -> None:
        """Answer with these threads, from now on."""
        self._workers = workers

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder has an index of faiss's, labels, and settings that say that they are k-NN's."""
        try:
            with (folder / INDEX_FILE).open("rb") as file:
                first = file.read(4)
            settings = (folder / SETTINGS_FILE).read_bytes()[: 1 << 16]
        except OSError:
            return False
        return first in FIRST_BYTES and b'"algorithm": "knn"' in settings and (folder / LABELS_FILE).is_file()

    def save(self, folder: Path) -> None:
        """Write the index as faiss's own file, labels and keys as raw numbers, settings as JSON.

        The settings come last: without them a folder is no model.
        """
        self.index.write(folder / INDEX_FILE)
        for name, array in ((LABELS_FILE, self.labels), (KEYS_FILE, self.keys)):
            with new_file(folder / name) as file:
                file.write(np.ascontiguousarray(array).data)
        made = self.preparation
        if made.signs is not None:
            tensors: dict[str, NDArray[Any]] = {"signs": made.signs}
            if made.chosen is not None:
                tensors["chosen"] = made.chosen
            write_atomically(folder / REDUCTION_FILE, save(tensors))
        settings = replace(self.settings, index_bytes=(folder / INDEX_FILE).stat().st_size)
        write_json(folder / SETTINGS_FILE, asdict(settings))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map index, labels and keys. Raises DataError that names the file that is damaged, or missing."""
        from wildsage.algorithms.knn.index import Index

        settings = Settings.read(folder / SETTINGS_FILE)
        _check_size(folder / INDEX_FILE, settings.index_bytes)
        index = Index.load(folder / INDEX_FILE)
        if index.kind != settings.index_type or index.is_product != (settings.index_metric != "L2"):
            raise DataError("its kind is another one than the settings have", file=INDEX_FILE)
        if settings.k > index.count:
            reason = f"k = {settings.k} is not allowed: up to {index.count}, the rows of the index"
            raise DataError(reason, file=SETTINGS_FILE)
        arrays = []
        for name, dtype in ((LABELS_FILE, np.float32), (KEYS_FILE, np.uint64)):
            _check_size(folder / name, index.count * np.dtype(dtype).itemsize)
            arrays.append(np.memmap(folder / name, dtype, mode="r"))
        return cls(settings, index, _preparation(folder, settings, index.width), arrays[0], arrays[1])

    def warm_up(self) -> None:
        """Compile the kernels, and touch the index."""
        self.answer(self.rows_of([[0.0] * self.feature_dim]), {})

    def neighbours(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distances and labels of the k nearest rows, (n, k) each, nearest first. rows: float32 (n, feature_dim).

        The distance of L2 is the Euclidean one, of COSINE 1 less the cosine, of INNER_PRODUCT the product itself, so
        that there the greatest comes first. Distances are exact, but for IVFPQ.
        """
        if len(rows) <= QUERIES:
            return self._nearest(rows)
        parts = [self._nearest(rows[begin : begin + QUERIES]) for begin in range(0, len(rows), QUERIES)]
        distances, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        return distances, labels

    def _nearest(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        settings = self.settings
        queries = np.ascontiguousarray(rows, np.float32)
        if not self.preparation.is_idle:
            queries = np.empty((len(rows), self.preparation.width), np.float32)
            self.preparation.apply(rows, queries, self._workers)
        values, numbers = self.index.search(queries, settings.k, self._workers, settings.probes)
        if settings.index_metric == "L2":
            if settings.index_type == IVF_PQ:  # sums of its tables
                np.maximum(values, 0, out=values)
            np.sqrt(values, out=values)
        elif settings.index_metric == "COSINE":
            values = np.maximum(1 - values, 0)
        return values, self.labels.take(numbers)

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """predicted_label, (n,); with verbose also distances and labels of the neighbours, (n, k)."""
        from wildsage.algorithms.knn.kernels.neighbours import vote
        from wildsage.algorithms.knn.state import check_values

        verbose = _verbose(options)
        features = rows.dense()
        if features.shape[1] != self.feature_dim:
            raise ClientError(f"rows have {features.shape[1]} features; the model wants {self.feature_dim}")
        check_values(rows)
        distances, labels = self.neighbours(features)
        k = self.settings.k
        if self.settings.predictor_type == "classifier":
            predicted = np.empty(len(labels), np.float32)
            vote(labels.reshape(-1), k, np.empty(k, np.int64), np.empty(k, np.float32), predicted)
        else:
            predicted = labels.mean(axis=1, dtype=np.float64).astype(np.float32)
        columns: Columns = {"predicted_label": predicted}
        return columns | {"distances": distances, "labels": labels} if verbose else columns


def _verbose(options: Mapping[str, Any]) -> bool:
    for name in options:
        if name != "verbose" and name not in UNHEARD:
            raise ClientError(f"option {shown(name)} is not allowed: verbose")
    said = options.get("verbose", False)
    if said is True or (isinstance(said, str) and said.lower() == "true"):
        return True
    if said is False or (isinstance(said, str) and said.lower() == "false"):
        return False
    raise ClientError(f"verbose = {shown(said)} is not allowed: true or false")


def _check_size(path: Path, wanted: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path.name) from error
    if size != wanted:
        raise DataError(f"it has {size:,} bytes, and {wanted:,} are wanted: it is damaged", file=path.name)


def _preparation(folder: Path, settings: Settings, width: int) -> Preparation:
    from wildsage.algorithms.knn.preparation import Preparation, power_of_two

    dim, unit_length = settings.feature_dim, settings.index_metric == "COSINE"
    kind, target = settings.dimension_reduction_type, settings.dimension_reduction_target
    if kind is None:
        if width < dim:
            raise DataError(f"its rows have {width} columns, and {dim} are wanted", file=INDEX_FILE)
        return Preparation(dim, width, unit_length)
    try:
        tensors = load_file(folder / REDUCTION_FILE)
        signs, chosen = tensors["signs"], tensors.get("chosen")
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise DataError(f"not a reduction of dimensions: {error}", file=REDUCTION_FILE) from error
    bits = dim * target if kind == "sign" else dim
    fits = 0 < target <= width and signs.dtype == np.uint8 and signs.shape == (-(-bits // 8),)
    if kind == "fjlt":
        if chosen is None or chosen.dtype != np.int32 or chosen.shape != (target,):
            fits = False
        else:
            fits = fits and int(chosen.min()) >= 0 and int(chosen.max()) < power_of_two(dim)
    if not fits:
        raise DataError("its arrays do not fit the settings", file=REDUCTION_FILE)
    return Preparation(dim, width, unit_length, kind, target, signs, chosen)
