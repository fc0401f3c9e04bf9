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
    from wildsage.data.formats import Missing

    Columns = dict[str, NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64]]
    """Answers by column: name to (n,), or to (n, w) where an answer is a list."""

_WITH_FORMS_OF_THEIR_OWN = (JSON_LINES, RECORDIO_PROTOBUF)


class RowModel(Model):
    """A model whose instances are rows of numbers, and whose answers are columns of them.

    How rows are read and answers written is runtime/rows.py's; what follows says what is to be read and written.
    """

    request_types: ClassVar[tuple[str, ...]] = (CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF)
    answer_types: ClassVar[tuple[str, ...]] = (JSON, JSON_LINES, CSV, RECORDIO_PROTOBUF)  # the favourite first
    answers_name: ClassVar[str] = "predictions"  # of the list in an answer in JSON: {"predictions": [{…}, …]}
    missing: ClassVar[Missing] = "refuse"  # "nan": empty fields, null, NaN and infinity reach the model as NaN
    empty_status: ClassVar[int] = 400  # of the answer to a request without a body; 204: no answer, and no error
    bad_body_status: ClassVar[int] = 400  # of the answer to a body that is not of its type

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Features that a row has."""

    @abstractmethod
    def answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        """Answer rows, which have feature_dim features each; dense, or sparse where the request was.

        options: what the request says beside its rows, such as {"verbose": "true"} of Accept's parameters.
        An answer must not depend on the other rows. Raises ClientError for options that are not allowed, and
        rows.error(row, …) for a row that is not.
        """

    def default_answer_type(self, request_type: str) -> str:
        """The type to answer with where Accept leaves it open: the request's own if it is a form of rows, or JSON."""
        if request_type in _WITH_FORMS_OF_THEIR_OWN and request_type in self.answer_types:
            return request_type
        return self.answer_types[0]

    def write(self, columns: Columns, answer_type: str) -> list[bytes] | None:
        """Each row's answer in a form of the model's own; None: in the common one.

        Of JSON a value of the list, of JSON Lines and CSV a line without its end, of RecordIO a whole record.
        """
        return None

    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answer instances as a request in JSON has them: {"features": [1.5, 2]}, the long form, or plain lists."""
        from wildsage.data.decimals import plain

        if not instances:
            return []
        columns = self.answer(self.rows_of(instances), options[0] if options else {})
        names = list(columns)
        return [
            dict(zip(names, values, strict=True))
            for values in zip(*(plain(column) for column in columns.values()), strict=True)
        ]

    def rows_of(self, instances: Sequence[Any]) -> Batch:
        """Decoded instances as rows. Raises DataError that names the instance, from 0, that is none."""
        from wildsage.data.instances import batch_of

        return batch_of(instances, self.feature_dim, missing=self.missing)
