"""Requests of rows of numbers and their answers: CSV, JSON, JSON Lines, RecordIO-protobuf, libsvm, Parquet.

Accept chooses among the model's types of answer; its parameters, such as verbose=true, and the "configuration" beside
the instances of a request in JSON reach the model as options. A body without a declared type is looked into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from wildsage.contract import content_types
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, LIBSVM, PARQUET, RECORDIO_PROTOBUF
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.record import MAGIC
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.data.instances import batch_of, batch_of_lists, document_decoder, instance_decoder
from wildsage.data.jsonlines import Numbers
from wildsage.data.readers import read_body
from wildsage.runtime.bodies import (
    BYTE_ORDER_MARK,
    NOT_JSON,
    RequestError,
    declared,
    decode,
    json_kind,
    read_document,
    unsupported,
    utf8,
)
from wildsage.runtime.columns import own_writer, writer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.row_model import Columns, RowModel
    from wildsage.runtime.columns import Writer

NAME = "the request"  # in messages
SOURCE = "the model takes"
SMALL = 2048  # bytes of CSV
PARQUET_MAGIC = b"PAR1"
_BINARY = (RECORDIO_PROTOBUF, PARQUET)
_CHARSET_NAMES = ("charset", "encoding")  # the second is k-NN's
_NUMBERS = msgspec.json.Decoder(list[Numbers])


@dataclass(slots=True)
class Request:
    """A body as the model sees it."""

    rows: Batch
    options: Mapping[str, Any]
    answer_type: str

    def __len__(self) -> int:
        return len(self.rows)


class Rows:
    """A form (forms.Form): the requests to one model of rows."""

    def __init__(self, model: RowModel, default_accept: str = "") -> None:
        self._model = model
        self._types = tuple(model.request_types)
        self._default_accept = default_accept
        self._begin = f'{{"{model.answers_name}":['.encode()
        self._answer_to = lru_cache(maxsize=256)(self._chosen)

    def read(self, body: bytes, content_type: str, accept: str) -> Request:
        kind, charset = declared(content_type, _CHARSET_NAMES)
        if kind is None:
            kind = self._sniff(body)
        if kind not in self._types:
            raise RequestError(unsupported(content_type or kind, self._types), 415)
        if kind not in _BINARY and (charset != "utf-8" or body[:3] == BYTE_ORDER_MARK):
            body = utf8(body, charset)
        answer_type, options = self._answer_to(kind, accept)
        if not body or (kind not in _BINARY and body.isspace()):
            raise RequestError("the request has no body", self._model.empty_status)
        try:
            rows, configuration = self._rows(kind, body, content_type)
        except ClientError as error:
            raise RequestError(str(error), self._model.bad_body_status) from error
        return Request(rows, {**options, **configuration} if configuration else options, answer_type)

    def whole(self, request: Request) -> bytes:
        return self.join(request, [self.part(request, 0, len(request.rows))] if len(request.rows) else [])

    def part(self, request: Request, begin: int, end: int) -> bytes:
        count = len(request.rows)
        end = min(end, count)
        if begin >= end:
            return b""
        before = min(begin, self._model.rows_before)
        rows = request.rows if end - begin == count else request.rows.part(begin - before, end)
        columns = self._answer(rows, request.options)
        return self._writer(columns, request.answer_type)(before, end - begin + before)

    def join(self, request: Request, parts: Sequence[bytes]) -> bytes:
        if request.answer_type == JSON:
            return b"".join((self._begin, b",".join(parts), b"]}"))
        return b"".join(parts)

    def together(self, requests: Sequence[Request]) -> list[bytes]:
        bodies = [b""] * len(requests)
        for places in _alike(requests):
            first = requests[places[0]]
            rows = first.rows if len(places) == 1 else Batch.joined([requests[place].rows for place in places])
            columns = self._answer(rows, first.options) if len(rows) else {}
            writers: dict[str, Writer] = {}
            at = 0
            for place in places:
                request = requests[place]
                end = at + len(request.rows)
                if at == end:
                    bodies[place] = self.join(request, [])
                    continue
                kind = request.answer_type
                if (write := writers.get(kind)) is None:
                    write = writers[kind] = self._writer(columns, kind)
                bodies[place] = self.join(request, [write(at, end)])
                at = end
        return bodies

    def _answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        columns = self._model.answer(rows, options)
        if not columns:
            raise RuntimeError("the model gave no answers")
        for name, column in columns.items():
            if len(column) != len(rows.features):
                raise RuntimeError(f"the model gave {len(column)} answers {name} to {len(rows)} rows")
        return columns

    def _writer(self, columns: Columns, answer_type: str) -> Writer:
        own = self._model.write(columns, answer_type)
        return writer(columns, answer_type) if own is None else own_writer(own, answer_type)

    def _rows(self, kind: str, body: bytes, content_type: str) -> tuple[Batch, Mapping[str, Any]]:
        if kind == JSON:
            return self._read_json(body)
        if kind == JSON_LINES:
            return self._read_json_lines(body), {}
        width, missing = self._model.feature_dim, self._model.missing
        if kind == CSV:
            if ";" in content_type:
                kind = _labelled(content_type)
            elif len(body) <= SMALL and (small := self._read_small(body)) is not None:
                return small, {}
        found = read_body(body, kind, feature_dim=width, missing=missing, name=NAME, source=SOURCE)
        if found.labels is not None:
            found = Batch(found.features, None, None, found.origin)
        return found, {}

    def _read_json(self, body: bytes) -> tuple[Batch, Mapping[str, Any]]:
        try:
            document = document_decoder.decode(body)
        except NOT_JSON:
            instances, configuration = read_document(body)  # says what is wrong with it, if not with an instance
            return self._batch(instances), configuration
        return self._batch(document.instances, checked=True), document.configuration

    def _read_json_lines(self, body: bytes) -> Batch:
        try:
            found = instance_decoder.decode_lines(body)
        except NOT_JSON:
            lines = enumerate(body.split(b"\n"), 1)
            instances = [decode(line, f"{NAME}, line {number}") for number, line in lines if line.strip()]
            return self._batch(instances, _lines(len(instances), body))
        return self._batch(found, _lines(len(found), body), checked=True)

    def _read_small(self, body: bytes) -> Batch | None:
        """A few lines of plain CSV, read as JSON with brackets around: in 5 us, not in the reader's 21.

        None for what JSON's numbers are not, or what is wrong: the reader sees to that.
        """
        if b"[" in body or b"]" in body:
            return None
        try:
            numbers = _NUMBERS.decode(b"[[%s]]" % body.strip(b"\n").replace(b"\n", b"],["))
            model = self._model
            origin = _lines(len(numbers), body)
            return batch_of_lists(numbers, model.feature_dim, missing=model.missing, source=SOURCE, origin=origin)
        except (*NOT_JSON, DataError):
            return None

    def _batch(self, instances: Sequence[Any], origin: Origin | None = None, *, checked: bool = False) -> Batch:
        model = self._model
        return batch_of(
            instances, model.feature_dim, missing=model.missing, source=SOURCE, origin=origin, checked=checked
        )

    def _sniff(self, body: bytes) -> str:
        if body[:4] == MAGIC:
            return RECORDIO_PROTOBUF
        if body[:4] == PARQUET_MAGIC:
            return PARQUET
        found = json_kind(body.removeprefix(BYTE_ORDER_MARK))
        if found is not None:
            return found
        is_libsvm = LIBSVM in self._types and (CSV not in self._types or b":" in body.lstrip().split(b"\n", 1)[0])
        return LIBSVM if is_libsvm else CSV

    def _chosen(self, kind: str, accept: str) -> tuple[str, Mapping[str, str]]:
        """The type to answer a kind of body with, and the options that Accept brings."""
        offered = self._model.answer_types
        wanted = accept if accept.strip() not in ("", content_types.ANY) else self._default_accept
        found = content_types.choose(wanted, offered, default=self._model.default_answer_type(kind))
        if found is None:
            allowed = ", ".join(offered)
            raise RequestError(f'Accept "{wanted[:100]}" cannot be met; the answer can be {allowed}', 406)
        return found.name, dict(found.parameters)


def _alike(requests: Sequence[Request]) -> list[list[int]]:
    """The places of requests that can be answered by one call: of equal options, all sparse or all dense."""
    groups: list[tuple[bool, Mapping[str, Any], list[int]]] = []
    for place, request in enumerate(requests):
        sparse = isinstance(request.rows.features, SparseRows)
        for other, options, places in groups:
            if sparse == other and (request.options is options or request.options == options):
                places.append(place)
                break
        else:
            groups.append((sparse, request.options, [place]))
    return [places for _, _, places in groups]


def _lines(count: int, body: bytes) -> Origin:
    """Where so many rows come from, a line each, of a body that may have blank ones."""
    if body.count(b"\n") + (body[-1:] != b"\n") == count:
        return _first_lines(count) if count <= SMALL else _origin(np.arange(1, count + 1))
    return _origin(np.array([number for number, line in enumerate(body.split(b"\n"), 1) if line.strip()], np.int64))


@lru_cache(maxsize=64)
def _first_lines(count: int) -> Origin:
    return _origin(np.arange(1, count + 1))


def _origin(numbers: NDArray[np.int64]) -> Origin:
    return Origin([NAME], np.zeros(len(numbers), np.int32), numbers, "line")


@lru_cache(maxsize=256)
def _labelled(content_type: str) -> str:
    """CSV with the labels that a Content-Type says to be there; of its parameters no others concern the reader."""
    return f"{CSV};label_size={content_types.parse(content_type).integer('label_size', 0)}"
