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
from wildsage.contract.record import MAGIC, frame
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.data.decimals import plain
from wildsage.data.instances import batch_of, document_decoder, instance_decoder
from wildsage.data.readers import read_body
from wildsage.data.record import Record, Tensor, encode
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

if TYPE_CHECKING:
    from wildsage.algorithms.row_model import Columns, RowModel

NAME = "the request"  # in messages
SOURCE = "the model takes"
SMALL = 2048  # bytes of CSV
PARQUET_MAGIC = b"PAR1"
_BINARY = (RECORDIO_PROTOBUF, PARQUET)
_CHARSET_NAMES = ("charset", "encoding")  # the second is k-NN's
_ENCODER = msgspec.json.Encoder()
_NUMBERS = msgspec.json.Decoder(list[list[float]])


@dataclass(frozen=True, slots=True)
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

    def part(self, request: Request, begin: int, end: int) -> bytes:
        end = min(end, len(request))
        if begin >= end:
            return b""
        rows = request.rows if end - begin == len(request) else request.rows.part(begin, end)
        return self._write(self._answer(rows, request.options), request.answer_type)

    def join(self, request: Request, parts: Sequence[bytes]) -> bytes:
        if request.answer_type == JSON:
            return b'{"%s":[%s]}' % (self._model.answers_name.encode(), b",".join(parts))
        return b"".join(parts)

    def together(self, requests: Sequence[Request]) -> list[bytes]:
        bodies = [b""] * len(requests)
        left = list(range(len(requests)))
        while left:
            first = requests[left[0]]
            same = [place for place in left if _alike(requests[place], first)]
            left = [place for place in left if place not in same]
            rows = first.rows if len(same) == 1 else Batch.joined([requests[place].rows for place in same])
            columns = self._answer(rows, first.options) if len(rows) else {}
            at = 0
            for place in same:
                request = requests[place]
                end = at + len(request)
                ours = {name: column[at:end] for name, column in columns.items()}
                part = self._write(ours, request.answer_type) if len(request) else b""
                bodies[place] = self.join(request, [part])
                at = end
        return bodies

    def _answer(self, rows: Batch, options: Mapping[str, Any]) -> Columns:
        columns = self._model.answer(rows, options)
        if not columns:
            raise RuntimeError("the model gave no answers")
        for name, column in columns.items():
            if len(column) != len(rows):
                raise RuntimeError(f"the model gave {len(column)} answers {name} to {len(rows)} rows")
        return columns

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
        """A few lines of plain CSV, read as JSON with brackets around: in 8 us, not in the reader's 21.

        None for what JSON's numbers are not, or what is wrong: the reader sees to that.
        """
        if b"[" in body or b"]" in body:
            return None
        try:
            numbers = _NUMBERS.decode(b"[[%s]]" % body.strip(b"\n").replace(b"\n", b"],["))
            return self._batch(numbers, _lines(len(numbers), body), checked=True)
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

    def _write(self, columns: Columns, answer_type: str) -> bytes:
        own = self._model.write(columns, answer_type)
        if own is not None:
            if answer_type == JSON:
                return b",".join(own)
            ends = b"" if answer_type == RECORDIO_PROTOBUF else b"\n"
            return b"".join([row + ends for row in own])
        if answer_type == RECORDIO_PROTOBUF:
            return _records(columns)
        values = [plain(column) for column in columns.values()]
        if answer_type == CSV:
            return _csv(values)
        names = list(columns)
        answers = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return _ENCODER.encode(answers)[1:-1] if answer_type == JSON else _ENCODER.encode_lines(answers)


def _alike(request: Request, other: Request) -> bool:
    """Whether two can be answered by one call."""
    sparse = isinstance(request.rows.features, SparseRows)
    return sparse == isinstance(other.rows.features, SparseRows) and request.options == other.options


def _lines(count: int, body: bytes) -> Origin:
    """Where so many rows come from, a line each, of a body that may have blank ones."""
    if body.count(b"\n") + (body[-1:] != b"\n") == count:
        numbers = np.arange(1, count + 1)
    else:
        numbers = np.array([number for number, line in enumerate(body.split(b"\n"), 1) if line.strip()], np.int64)
    return Origin([NAME], np.zeros(count, np.int32), numbers, "line")


@lru_cache(maxsize=256)
def _labelled(content_type: str) -> str:
    """CSV with the labels that a Content-Type says to be there; of its parameters no others concern the reader."""
    return f"{CSV};label_size={content_types.parse(content_type).integer('label_size', 0)}"


def _csv(values: Sequence[Sequence[Any]]) -> bytes:
    """Columns as lines of numbers; lists among the fields are fields each, what is no number is an empty one."""
    rows = [
        [field for value in row for field in (value if isinstance(value, list) else (value,))]
        for row in zip(*values, strict=True)
    ]
    # As JSON and then its brackets away: numbers have neither brackets nor commas.
    return _ENCODER.encode(rows)[2:-2].replace(b"],[", b"\n").replace(b"null", b"") + b"\n"


def _records(columns: Columns) -> bytes:
    """A record for each row, its answers in labels of 32-bit floats.

    All have the bytes of one that is encoded, but for the numbers.
    """
    record = bytearray()
    places: list[tuple[int, Any]] = []
    for name, column in columns.items():
        numbers = np.ascontiguousarray(column.reshape(len(column), -1), "<f4")
        content = numbers.view(np.uint8).reshape(len(numbers), -1)
        record += encode(Record(label={name: Tensor(numbers[0].astype(np.float32))}))
        places.append((8 + len(record) - content.shape[1], content))
    rows = np.tile(np.frombuffer(frame(bytes(record)), np.uint8), (len(numbers), 1))
    for begin, content in places:
        rows[:, begin : begin + content.shape[1]] = content
    return rows.tobytes()
