"""Models that answer rows of numbers: one form of request and answer for all of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from wildsage.algorithms.base import Model
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from wildsage.data.batch import Batch

    Columns = dict[str, NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64]]
    """Answers by column: name to (n,), or to (n, w) where an answer is a list."""


class RowModel(Model):
    """A model whose instances are rows of numbers, and whose answers are columns of them."""

    request_types: ClassVar[tuple[str, ...]] = (CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF)
    answer_types: ClassVar[tuple[str, ...]] = (JSON, JSON_LINES, CSV, RECORDIO_PROTOBUF)  # the favourite first
    answers_name: ClassVar[str] = "predictions"  # of the list in an answer in JSON: {"predictions": [{…}, …]}

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Features that a row has."""

    @abstractmethod
    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """Answer rows, which have feature_dim features each; dense, or sparse where the request was.

        options: what the request says beside its rows, such as {"verbose": "true"} of Accept's parameters.
        An answer must not depend on the other rows. Raises ClientError for options that are not allowed.
        """

    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answer instances as a request in JSON has them: {"features": [1.5, 2]}, the long form, or plain lists."""
        if not instances:
            return []
        columns = self.answer(self.rows_of(instances), options[0] if options else {})
        names = list(columns)
        return [
            dict(zip(names, values, strict=True))
            for values in zip(*(column.tolist() for column in columns.values()), strict=True)
        ]

    def rows_of(self, instances: Sequence[Any]) -> Batch:
        """Decoded instances as rows. Raises ClientError that names the instance, from 0, that is none."""
        raise NotImplementedError
