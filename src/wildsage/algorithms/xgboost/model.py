"""What training leaves: xgboost-model, a real file of the library, and its answers."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from wildsage.algorithms.row_model import RowModel
from wildsage.algorithms.xgboost import booster_file
from wildsage.algorithms.xgboost.library import errors_of_the_library, library
from wildsage.algorithms.xgboost.rows import csr
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, LIBSVM, RECORDIO_PROTOBUF
from wildsage.contract.errors import ClientError, DataError, nearest
from wildsage.contract.files import write_atomically
from wildsage.data.batch import Batch, SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.row_model import Columns
    from wildsage.algorithms.xgboost.booster_file import Booster
    from wildsage.data.formats import Missing

logger = logging.getLogger(__name__)

MODEL_FILE = "xgboost-model"
_NAMES = re.compile(rf"{MODEL_FILE}(-\d+)?")
_OTHERS = re.compile(r".*\.(ubj|json|model)")
HEAD = 1 << 12

OUTPUT, ENSEMBLE = "SAGEMAKER_INFERENCE_OUTPUT", "SAGEMAKER_INFERENCE_ENSEMBLE"  # set for an endpoint by its user
SCORE, LABEL, LABELS = "score", "predicted_label", "labels"
KEYS = (LABEL, LABELS, "probability", "probabilities", "raw_score", "raw_scores", "predicted_score")
_RAW = (LABEL, LABELS, "raw_score", "raw_scores")
_ALL = (*_RAW, "probability", "probabilities")
# Of the service; objectives that it does not name are those of one number.
KEYS_BY_OBJECTIVE = {
    "binary:logistic": _ALL,
    "multi:softprob": _ALL,
    "binary:logitraw": _RAW,
    "binary:hinge": _RAW,
    "multi:softmax": _RAW,
}
VOTING = ("multi:softmax", "binary:hinge")


class XGBoostModel(RowModel):
    """One booster, or those of the folds of a cross validation, whose answers are averaged or voted on."""

    request_types: ClassVar[tuple[str, ...]] = (
        CSV, LIBSVM, "text/x-libsvm", RECORDIO_PROTOBUF, JSON, JSON_LINES,
    )  # fmt: skip
    answer_types: ClassVar[tuple[str, ...]] = (CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF)
    missing: ClassVar[Missing] = "nan"
    empty_status: ClassVar[int] = 204
    bad_body_status: ClassVar[int] = 415

    def __init__(
        self, boosters: Mapping[str, Booster], *, outputs: tuple[str, ...] = (), ensemble: bool = True
    ) -> None:
        """boosters: by the names of their files. outputs: what an answer has instead of a score, of KEYS."""
        self.boosters = dict(boosters)
        self.outputs = outputs
        self._used = list(self.boosters.values())[: None if ensemble else 1]
        first = self._used[0]
        self.objective, self.num_class = first.objective, first.num_class
        self._feature_dim = int(first.handle.num_features())
        self._linear = first.kind == "gblinear"
        unknown = [key for key in outputs if key not in self._keys()]
        if unknown:
            logger.warning(
                "%s = %s: %s is not known of %s, and is answered with no number; allowed: %s%s", OUTPUT,
                ",".join(outputs), ", ".join(unknown), self.objective, ", ".join(self._keys()),
                nearest(unknown[0], KEYS),
            )  # fmt: skip

    @property
    def feature_dim(self) -> int:
        return self._feature_dim

    @property
    def feature_names(self) -> list[str] | None:
        """Of the data that it was trained on; None if it had none."""
        names = self._used[0].handle.feature_names
        return None if names is None else list(names)

    def save(self, folder: Path) -> None:
        for name, booster in self.boosters.items():
            write_atomically(folder / name, booster.raw)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read each file of the service's names, or else each file of the library's; see booster_file for the forms."""
        paths = _files(folder)
        if not paths:
            raise DataError(f"there is no {MODEL_FILE}, and no other file of the library", file=folder)
        boosters = {path.name: booster_file.read(path) for path in paths}
        sizes = {booster.handle.num_features() for booster in boosters.values()}
        kinds = {(booster.objective, booster.num_class) for booster in boosters.values()}
        if len(sizes) > 1 or len(kinds) > 1:
            raise DataError(f"{', '.join(boosters)} do not belong together: features or objective differ", file=folder)
        outputs = os.environ.get(OUTPUT, "").replace(" ", "").lower()
        return cls(
            boosters,
            outputs=tuple(filter(None, outputs.split(","))),
            ensemble=os.environ.get(ENSEMBLE, "true") == "true",
        )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return bool(_files(folder))

    def warm_up(self) -> None:
        self._predict(np.zeros((1, self.feature_dim), np.float32))

    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """The library's prediction as `score`, (n,) or, of multi:softprob, (n, classes); or the outputs asked for.

        options: {"outputs": "predicted_label,probabilities"} instead of what the endpoint was told. Sparse rows may
        have fewer columns than the model: what is not there is missing, as in training.
        """
        outputs = self.outputs
        if "outputs" in options:
            outputs = tuple(filter(None, str(options["outputs"]).replace(" ", "").lower().split(",")))
            unknown = [key for key in outputs if key not in self._keys()]
            if unknown:
                allowed = ", ".join(self._keys())
                raise ClientError(f"outputs = {unknown[0]} is not allowed with {self.objective}: {allowed}")
        predictions = self._predict(self._fitting(rows))
        if not outputs:
            return {SCORE: predictions}
        return {key: self._column(key, predictions) for key in outputs}

    def default_answer_type(self, request_type: str) -> str:
        """CSV, as the service has it; to JSON and JSON Lines, which it does not take, their own."""
        return request_type if request_type in (JSON, JSON_LINES) else CSV

    def write(self, columns: Columns, answer_type: str) -> list[bytes] | None:
        """Selected outputs in CSV have the service's form, lists in quotes: 1,"[0.4, 0.6]"."""
        if answer_type != CSV or SCORE in columns:
            return None
        from wildsage.data.decimals import plain

        texts = [
            [f'"{value}"' if isinstance(value, list) else str(value) for value in plain(column)]
            for column in columns.values()
        ]
        return [",".join(row).encode() for row in zip(*texts, strict=True)]

    def _fitting(self, rows: Batch) -> NDArray[np.float32] | SparseRows:
        features, width = rows.features, rows.features.shape[1]
        if width == self.feature_dim:
            return features
        if isinstance(features, SparseRows) and width < self.feature_dim:
            return SparseRows(features.starts, features.columns, features.values, self.feature_dim)
        names = self.feature_names
        which = f" ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})" if names else ""
        raise ClientError(f"{width} features are not allowed: the model has {self.feature_dim}{which}")

    def _predict(self, features: NDArray[np.float32] | SparseRows) -> NDArray[np.float32]:
        given = csr(features) if isinstance(features, SparseRows) else features
        with errors_of_the_library("the rows cannot be answered"):
            found = [self._ask(booster.handle, given) for booster in self._used]
        if len(found) == 1:
            return found[0]
        stacked = np.stack(found)
        if self.objective not in VOTING:
            return np.asarray(stacked.mean(axis=0), np.float32)
        classes = np.unique(stacked)
        votes = (stacked[None] == classes[:, None, None]).sum(axis=1)
        return np.asarray(classes[votes.argmax(axis=0)], np.float32)

    def _ask(self, handle: Any, given: Any) -> NDArray[np.float32]:
        xgboost = library()
        if not given.shape[0]:
            # The library refuses to look at no rows.
            shape = (0, self.num_class) if self.objective == "multi:softprob" else (0,)
            return np.empty(shape, np.float32)
        if self._linear:
            data = xgboost.DMatrix(given, missing=np.nan, nthread=1)
            return np.asarray(handle.predict(data, validate_features=False), np.float32)
        return np.asarray(handle.inplace_predict(given, missing=np.nan, validate_features=False), np.float32)

    def _keys(self) -> tuple[str, ...]:
        return KEYS_BY_OBJECTIVE.get(self.objective, ("predicted_score",))

    def _column(self, key: str, predictions: NDArray[np.float32]) -> NDArray[Any]:
        """As the service computes it, raw scores included: of one number x a pair 1 - x and x."""
        if key not in self._keys():
            return np.full(len(predictions), np.nan)
        listed = predictions.ndim == 2
        if key == LABELS:
            classes = self.num_class if self.objective.startswith("multi:") else 2
            return np.tile(np.arange(classes), (len(predictions), 1))
        if key == LABEL:
            if listed:
                return np.asarray(predictions.argmax(axis=1), np.int64)
            if self.objective in VOTING:
                return predictions.astype(np.int64)
            return (predictions > (0 if self.objective == "binary:logitraw" else 0.5)).astype(np.int64)
        if key in ("probabilities", "raw_scores"):
            wide = predictions.astype(np.float64)
            return predictions if listed else np.stack([1 - wide, wide], axis=1)
        return np.asarray(predictions.max(axis=1)) if listed else predictions


def _files(folder: Path) -> list[Path]:
    """The files of a model, in order of fold; of another program's, those whose first bytes are a booster's."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    ours = [path for path in paths if _NAMES.fullmatch(path.name)]
    if ours:
        return sorted(ours, key=lambda path: int(path.name.removeprefix(MODEL_FILE).strip("-") or -1))
    found = []
    for path in sorted(paths):
        if _OTHERS.fullmatch(path.name):
            with path.open("rb") as file:
                if booster_file.is_booster(file.read(HEAD)):
                    found.append(path)
    return found
