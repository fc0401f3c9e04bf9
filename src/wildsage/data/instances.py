"""The instances of a request as rows: {"features": [1.5, 2]}, the long form, and shorter ones of our own.

Those are a plain list, a text of numbers with commas between, and a number where there is one feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from wildsage.contract.errors import DataError
from wildsage.contract.files import shown
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.data.jsonlines import Line, Numbers, Values, row_of
from wildsage.data.record import Tensor
from wildsage.data.recordio import row_of as columns_and_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wildsage.data.formats import Missing

Instance = Line | Numbers | float | str

_ONE: type[Any] = Instance  # type: ignore[assignment]
WANTED = '{"features": [1.5, 2.0]}, {"data": {"features": {"values": [1.5, 2.0]}}}, or [1.5, 2.0]'
LONGEST_SHOWN = 40  # characters of a text that a message quotes
_FINITE = "NaN and infinity are not allowed: a finite 32-bit float"


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request in JSON."""

    instances: list[Instance]
    configuration: dict[str, Any] = {}


document_decoder = msgspec.json.Decoder(Document)
instance_decoder = msgspec.json.Decoder(_ONE)


def batch_of(
    instances: Sequence[Any],
    feature_dim: int,
    *,
    missing: Missing = "refuse",
    source: str = "the model takes",
    origin: Origin | None = None,
    checked: bool = False,
) -> Batch:
    """Instances as rows of feature_dim features, dense unless one of them is sparse; labels are passed over.

    instances: decoded values; checked: they are what a decoder of list[Instance] has made. source: what says that there
    are feature_dim features. origin: where instances came from; None: counted from 0.
    Raises DataError, with the place, for one that is no such row.
    """
    if origin is None:
        count = len(instances)
        origin = Origin([""], np.zeros(count, np.int32), np.arange(count), "instance")
    rows = [_dense(instance) for instance in (instances if checked else _converted(instances, origin))]
    numbers: list[Numbers] = []
    for row in rows:
        if not isinstance(row, list):
            return _with_sparse(rows, feature_dim, missing, source, origin)
        numbers.append(row)
    for place, row in enumerate(numbers):
        if len(row) != feature_dim:
            raise origin.error(place, f"{_features(len(row))}, but {source} {feature_dim}")
    with np.errstate(over="ignore"):
        # A null becomes NaN.
        features = np.array(numbers, np.float64).reshape(len(numbers), feature_dim).astype(np.float32)
    if not np.isfinite(features).all():
        bad = ~np.isfinite(features)
        if missing == "refuse":
            place, column = divmod(int(bad.argmax()), feature_dim)
            nothing = numbers[place][column] is None
            raise origin.error(place, "null is not allowed: a number" if nothing else _FINITE, column + 1)
        features[bad] = np.nan
    return Batch(features, None, None, origin)


def _converted(instances: Sequence[Any], origin: Origin) -> Sequence[Instance]:
    try:
        converted: Sequence[Instance] = msgspec.convert(instances, list[_ONE])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        for place, instance in enumerate(instances):
            try:
                msgspec.convert(instance, _ONE)
            except msgspec.ValidationError as error:
                raise origin.error(place, f"{error}; wanted is {WANTED}") from None
        raise
    return converted


def _dense(instance: Instance) -> Numbers | Line | str:
    """All the numbers of an instance; itself where it is sparse, or is none."""
    if isinstance(instance, str):
        try:
            return [float(field) for field in instance.split(",")]
        except ValueError:
            return instance
    if not isinstance(instance, Line):
        return instance if isinstance(instance, list) else [instance]
    features = instance.features if instance.data is None else instance.data.features
    if isinstance(features, list):
        return features
    if isinstance(features, Values) and features.keys is None and not features.shape:
        return features.values
    return instance


def _with_sparse(
    rows: Sequence[Numbers | Line | str], width: int, missing: Missing, source: str, origin: Origin
) -> Batch:
    starts, columns, values = [0], [], []
    every = np.arange(width, dtype=np.int32)
    sparse = False
    for place, row in enumerate(rows):
        try:
            with np.errstate(over="ignore"):
                tensor = Tensor(np.array(row, np.float64)) if isinstance(row, list) else _tensor(row, width)
            found, numbers = columns_and_values(tensor, width, missing=missing == "nan", source=source)
        except DataError as error:
            raise origin.error(place, error.reason, error.column) from None
        sparse = sparse or found is not None
        columns.append(every if found is None else found)
        values.append(numbers)
        starts.append(starts[-1] + len(numbers))
    features: NDArray[np.float32] | SparseRows
    if sparse:
        features = SparseRows(np.array(starts, np.int64), np.concatenate(columns), np.concatenate(values), width)
    else:
        features = np.array(values, np.float32).reshape(len(rows), width)
    return Batch(features, None, None, origin)


def _tensor(row: Line | str, width: int) -> Tensor:
    """A sparse instance's features; without a shape it has the model's."""
    if isinstance(row, str):
        raise DataError(f"{shown(row[:LONGEST_SHOWN])} is no text of numbers; wanted is {WANTED}")
    if row.features is None and row.data is None:
        raise DataError(f"there are no features; wanted is {WANTED}")
    tensor = row_of(row).features
    return Tensor(tensor.values, tensor.keys, tensor.shape or (width,))


def _features(count: int) -> str:
    return f"{count} feature{'s' * (count != 1)}"
