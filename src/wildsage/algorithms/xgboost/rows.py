"""The rows of a channel in memory, or as often as they are asked for, and as the library's matrices."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.xgboost.library import errors_of_the_library, library
from wildsage.contract import content_types
from wildsage.contract.channels import Channel
from wildsage.contract.errors import ClientError
from wildsage.data import kinds
from wildsage.data.batch import Batch, SparseRows
from wildsage.data.readers import OTHER_NAMES, RowStream, open_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters

BATCH_VALUES = 1 << 20  # of a batch, about
LEAST_ROWS, MOST_ROWS = 256, 1 << 16
SPARE, GROWTH = 1.02, 1.25
SINGLE = ("binary:", "reg:logistic")
_FORBIDDEN = str.maketrans("[]<", "()(")


@dataclass(frozen=True)
class Rows:
    """Rows in memory.

    features: float32 (n, d) in C order, NaN where a value is missing, or sparse, where what is not there is missing.
    labels: float32 (n, w). weights: float32 (n,) or None. names: of features, as the library takes them.
    """

    features: NDArray[np.float32] | SparseRows
    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def width(self) -> int:
        return int(self.features.shape[1])

    def take(self, order: NDArray[np.int64]) -> Rows:
        """The rows of these numbers, in this order."""
        features = self.features
        taken = features.take(order) if isinstance(features, SparseRows) else features[order]
        return Rows(taken, self.labels[order], None if self.weights is None else self.weights[order], self.names)

    def widened(self, width: int) -> Rows:
        """As sparse rows of more columns; dense ones have as many as they have."""
        if isinstance(self.features, SparseRows):
            return replace(self, features=replace(self.features, width=max(width, self.width)))
        return self


def kind_of(channel: Channel) -> str:
    """The content type of a channel under its full name, looked for in its first bytes where none is declared."""
    kind = kinds.kind_of(channel).strip()
    return OTHER_NAMES.get(kind.lower(), kind)


def open_rows(
    context: TrainingContext[XGBoostHyperparameters], name: str, *, feature_dim: int | None = None
) -> RowStream:
    """A channel as batches, with the columns of labels and weights that the job says it has."""
    parameters, channel = context.hyperparameters, context.channels[name]
    kind = kind_of(channel)
    stated = content_types.parse(kind)
    if stated.integer("label_size", 1) != 1 and not parameters.objective.startswith(("survival:aft", "rank:")):
        raise ClientError(f"channel {name}: {kind} is not allowed: label_size=1; 2 with survival:aft and rank:")
    columns = content_types.SYNONYMS.get(stated.name, stated.name) in (content_types.CSV, content_types.PARQUET)
    stream = open_channel(
        channel, kind, batch_rows=MOST_ROWS, feature_dim=feature_dim, weights=columns and parameters.csv_weights == 1,
        missing="nan", delimiter=None, threads=parameters.nthread or context.threads, stop=context.stop,
    )  # fmt: skip
    stream.batch_rows = min(MOST_ROWS, max(LEAST_ROWS, BATCH_VALUES // (stream.feature_dim or 64)))
    return stream


def checked(stream: RowStream, parameters: XGBoostHyperparameters) -> Iterator[Batch]:
    """The batches of an epoch, whose labels and weights are allowed. Raises DataError with file and line."""
    with closing(iter(stream)) as batches:  # type: ignore[type-var]  # a generator, which a for would not end
        for batch in batches:
            _check_labels(batch, parameters)
            _check_weights(batch)
            yield batch


def read_all(stream: RowStream, parameters: XGBoostHyperparameters) -> Rows:
    """All rows of an epoch in memory: dense ones in one piece, which the library then reads where it is."""
    labels: list[NDArray[np.float32]] = []
    weights: list[NDArray[np.float32]] = []
    parts: list[SparseRows] = []
    dense: NDArray[np.float32] = np.empty((0, stream.feature_dim or 0), np.float32)
    filled = 0
    for batch in checked(stream, parameters):
        labels.append(np.array(batch.labels, np.float32).reshape(len(batch), -1))
        if batch.weights is not None:
            weights.append(batch.weights.copy())
        features = batch.features
        if isinstance(features, SparseRows):
            parts.append(SparseRows.joined([features], features.width))
            continue
        end = filled + len(batch)
        if end > len(dense):
            # Rows are moved by the system, if at all: one allocation that grows instead of many that are joined.
            expected = int((stream.expected_rows or 0) * SPARE)
            dense.resize((max(end, expected if end <= expected else int(end * GROWTH)), dense.shape[1]), refcheck=False)
        dense[filled:end] = features
        filled = end
    if not labels:
        # Only a stop ends an epoch without rows and without an error.
        raise ClientError("stopped before the data was read")
    found: NDArray[np.float32] | SparseRows = dense[:filled]
    if parts:
        found = SparseRows.joined(parts, max(part.width for part in parts))
    names = feature_names(stream.feature_names)
    return Rows(found, np.concatenate(labels), np.concatenate(weights) if weights else None, names)


def feature_names(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names as the library takes them: without brackets and <; none where two are alike."""
    if names is None:
        return None
    allowed = tuple(name.translate(_FORBIDDEN) for name in names)
    return allowed if len(set(allowed)) == len(allowed) and all(allowed) else None


def meta(labels: NDArray[np.float32], weights: NDArray[np.float32] | None, objective: str) -> dict[str, Any]:
    """Labels and weights as the library's arguments. Two labels are bounds (survival:aft), or label and query (rank:).

    A bound below 0 is none: what had not ended when it was last looked at. Weights of ranks are those of queries, which
    the first row of each tells.
    """
    told: dict[str, Any] = {} if weights is None else {"weight": weights}
    if objective == "survival:aft":
        upper = np.where(labels[:, -1] < 0, np.float32(np.inf), labels[:, -1])
        return told | {"label_lower_bound": labels[:, 0].copy(), "label_upper_bound": upper}
    told["label"] = labels[:, 0].copy()
    if objective.startswith("rank:"):
        groups = np.zeros(len(labels), np.int64) if labels.shape[1] == 1 else labels[:, 1].astype(np.int64)
        first = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1)) if len(groups) else groups
        told["qid"] = np.repeat(np.arange(len(first)), np.diff(first, append=len(groups)))
        if weights is not None:
            told["weight"] = weights[first]
    return told


def csr(rows: SparseRows) -> Any:
    """Sparse rows as the library takes them: SciPy's matrix, which the library itself requires."""
    from scipy import sparse  # type: ignore[import-untyped, unused-ignore]

    return sparse.csr_matrix((rows.values, rows.columns, rows.starts), shape=rows.shape, copy=False)


def matrix(
    rows: Rows, parameters: XGBoostHyperparameters, threads: int, *, measured: bool = False, name: str = "train"
) -> Any:
    """Rows as the library's matrix: binned at once where bins are all that training looks at.

    That takes a fourth of the memory, and gives the same model bit by bit. measured: rows that are only measured on,
    for which values take less time than bins: a fourth to make, and 0.9 in a round.
    """
    xgboost = library()
    features = rows.features
    given = csr(features) if isinstance(features, SparseRows) else features
    common: dict[str, Any] = {"missing": np.nan, "nthread": threads, "feature_names": rows.names and list(rows.names)}
    common |= meta(rows.labels, rows.weights, parameters.objective)
    with errors_of_the_library(f"channel {name}"):
        if measured or not parameters.quantised:
            return xgboost.DMatrix(given, **common)
        return xgboost.QuantileDMatrix(given, max_bin=bins(parameters), **common)


def bins(parameters: XGBoostHyperparameters) -> int:
    return int(parameters.parameters("cpu").get("max_bin", parameters.max_bin))


def streamed_matrix(
    stream: RowStream, parameters: XGBoostHyperparameters, threads: int
) -> tuple[Any, NDArray[np.float32]]:
    """A binned matrix of rows that are read as often as the library asks, and never all in memory; and the labels."""
    made_of: Any = library()
    names = feature_names(stream.feature_names)
    kept: list[NDArray[np.float32]] = []  # of a pass that is under way
    whole: list[NDArray[np.float32]] = []  # of one that is over
    failure: list[BaseException] = []

    class Batches(made_of.DataIter):  # type: ignore[misc]
        """The library's way of asking for batches."""

        def __init__(self) -> None:
            self.batches: Iterator[Batch] | None = None
            super().__init__()

        def reset(self) -> None:
            if self.batches is not None:
                self.batches.close()  # type: ignore[attr-defined]
            kept.clear()
            self.batches = checked(stream, parameters)

        def next(self, input_data: Any) -> bool:
            if self.batches is None:
                self.reset()
            try:
                batch = next(self.batches, None)  # type: ignore[arg-type]
            except BaseException as error:
                failure.append(error)
                raise
            if batch is None:
                whole[:] = kept
                return False
            labels = np.array(batch.labels, np.float32).reshape(len(batch), -1)
            kept.append(labels)
            features = batch.features
            # The library looks at the batch until it asks for the next one: the reader's own memory is enough.
            given = csr(features) if isinstance(features, SparseRows) else features
            told = meta(labels, batch.weights, parameters.objective)
            input_data(data=given, feature_names=names and list(names), **told)
            return True

    source = Batches()
    try:
        with errors_of_the_library("channel train"):
            made = made_of.QuantileDMatrix(source, missing=np.nan, nthread=threads, max_bin=bins(parameters))
    except ClientError as error:
        raise (failure[0] if failure else error) from None
    return made, np.concatenate(whole)


def _check_labels(batch: Batch, parameters: XGBoostHyperparameters) -> None:
    labels, objective = batch.labels, parameters.objective
    if labels is None:
        raise batch.error(0, "the rows have no label")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        if labels.shape[1] != 2 or not objective.startswith(("survival:aft", "rank:")):
            raise batch.error(0, f"{labels.shape[1]} labels are not allowed with {objective}: 1")
        _check_pairs(batch, labels, objective)
        labels = labels[:, 0]
    # Numbers they are: the reader has seen to it.
    wrong, allowed = np.zeros(len(labels), bool), ""
    if objective.startswith("binary:") or objective == "reg:logistic":
        wrong, allowed = ~((labels >= 0) & (labels <= 1)), "0 to 1"
    elif objective.startswith("multi:"):
        classes = parameters.num_class or 0
        whole = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
        wrong, allowed = ~whole, f"a class, 0 to {classes - 1}"
    elif objective == "reg:gamma" or objective == "survival:aft":
        wrong, allowed = ~(labels > 0), "above 0"
    elif objective in ("count:poisson", "reg:tweedie") or objective.startswith("rank:"):
        wrong, allowed = ~(labels >= 0), "0 or more"
    elif objective == "reg:squaredlogerror":
        wrong, allowed = ~(labels > -1), "above -1"
    if wrong.any():
        row = int(wrong.argmax())
        raise batch.error(row, f"label {_shown(labels[row])} is not allowed with {objective}: {allowed}", column=1)


def _check_pairs(batch: Batch, labels: NDArray[np.float32], objective: str) -> None:
    second = labels[:, 1]
    if objective == "survival:aft":
        wrong, allowed = ~((second < 0) | (second >= labels[:, 0])), "the first label or more, or -1 for no bound"
    else:
        wrong, allowed = ~((second >= 0) & (second == np.floor(second))), "the number of a query"
    if wrong.any():
        row = int(wrong.argmax())
        raise batch.error(row, f"label {_shown(second[row])} is not allowed: {allowed}", column=2)


def _check_weights(batch: Batch) -> None:
    if batch.weights is None:
        return
    wrong = ~(batch.weights >= 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise batch.error(row, f"weight {_shown(batch.weights[row])} is not allowed: 0 or more", column=2)


def _shown(value: Any) -> str:
    return f"{float(value):g}"
