"""Requests of instances, such as texts, and their answers: JSON, JSON Lines, CSV and plain text, either way.

The container contract's rules: an answer to JSON or JSON Lines has the request's own form, whatever Accept says; a
request of text lines (CSV, plain text) is answered with JSON unless Accept names CSV or JSON Lines. A body without a
declared type, or with one that clients send unasked, is looked into.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from wildsage.contract.content_types import CSV, JSON, JSON_LINES, TEXT, choose
from wildsage.runtime.bodies import (
    ANY,
    BYTE_ORDER_MARK,
    FORM,
    NOT_JSON,
    RequestError,
    declared,
    decode,
    json_kind,
    read_document,
    unsupported,
    utf8,
)

ANSWER_TYPES = (JSON, JSON_LINES, CSV)  # of text lines; the favourite first

_NO_OPTIONS: Mapping[str, Any] = {}

csv.field_size_limit(2**31 - 1)  # the size of a whole body is limited before it comes here


@dataclass(frozen=True, slots=True)
class Request:
    """A body as the model sees it. options: as long as instances. answer_type: of the answer to write."""

    instances: list[Any]
    options: list[Mapping[str, Any]]
    answer_type: str

    def __len__(self) -> int:
        return len(self.instances)


class _Texts(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The common request, decoded and checked in one pass."""

    instances: list[str]
    configuration: dict[str, Any] = msgspec.field(default_factory=dict)


_TEXTS = msgspec.json.Decoder(_Texts)


def read(
    body: bytes, content_type: str, accept: str, request_types: Sequence[str], default_accept: str = ""
) -> Request:
    """Decode a request body.

    content_type, accept: the headers, "" if missing. request_types: what the model takes. default_accept: stands for a
    missing Accept. Raises RequestError: 400 for a body that is not of its type, 406 and 415 for types.
    """
    kind, charset = declared(content_type)
    if kind is None:
        body = utf8(body, charset)
        kind = json_kind(body) or TEXT
    elif charset != "utf-8" or body[:3] == BYTE_ORDER_MARK:
        body = utf8(body, charset)
    if kind not in request_types:
        raise RequestError(unsupported(content_type or kind, request_types), 415)
    if not body or body.isspace():
        raise RequestError(f"the request has no body; {_expected(kind)}")
    if kind == JSON:
        instances, options = _read_json(body)
        return Request(instances, options, JSON)
    if kind == JSON_LINES:
        instances, options = _read_json_lines(body)
        return Request(instances, options, JSON_LINES)
    answer_type = _answer_type(accept if accept.strip() not in ("", "*/*") else default_accept)
    text = _text(body)
    instances = _read_csv(text) if kind == CSV else _lines(text)
    return Request(instances, [_NO_OPTIONS] * len(instances), answer_type)


def write(answers: Sequence[Any], answer_type: str) -> bytes:
    """Encode answers; a float that is no number becomes null (an empty field in CSV). Raises TypeError."""
    if answer_type == JSON:
        return _ENCODER.encode(answers)
    if answer_type == JSON_LINES:
        return _ENCODER.encode_lines(answers)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerows(list(_fields(msgspec.to_builtins(answer, enc_hook=_plain))) for answer in answers)
    return out.getvalue().encode("utf-8", "replace")


def join(parts: Sequence[bytes], answer_type: str) -> bytes:
    """One answer of the answers to slices of a request."""
    if answer_type == JSON and len(parts) > 1:
        return b"".join((b"[", b",".join([part[1:-1] for part in parts]), b"]"))
    return b"".join(parts)


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's own."""
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"an answer holds a {type(value).__name__}, which JSON cannot")
    return tolist()


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def _fields(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _fields(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _fields(part)
    else:
        yield None if isinstance(value, float) and not math.isfinite(value) else value


@lru_cache(maxsize=256)
def _answer_type(accept: str) -> str:
    """The type that Accept likes best among those that text lines can be answered in."""
    found = choose(accept, ANSWER_TYPES)
    if found is None:
        allowed = ", ".join(ANSWER_TYPES)
        raise RequestError(f'Accept "{accept[:100]}" cannot be met; the answer can be {allowed}', 406)
    return found.name


def _expected(kind: str) -> str:
    return FORM if kind == JSON else f"{kind} has an instance a line"


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None


def _read_json(body: bytes) -> tuple[list[Any], list[Mapping[str, Any]]]:
    try:
        texts = _TEXTS.decode(body)
    except NOT_JSON:
        found, configuration = read_document(body)
        return found, [configuration] * len(found)
    return texts.instances, [texts.configuration] * len(texts.instances)


def _read_json_lines(body: bytes) -> tuple[list[Any], list[Mapping[str, Any]]]:
    try:
        values = ANY.decode_lines(body)
    except NOT_JSON:
        lines = enumerate(body.split(b"\n"), start=1)
        values = [decode(line, f"line {number}") for number, line in lines if line.strip()]
    instances: list[Any] = []
    options: list[Mapping[str, Any]] = []
    for value in values:
        if isinstance(value, dict) and "source" in value:
            instances.append(value.pop("source"))
            options.append(value)
        else:
            instances.append(value)
            options.append(_NO_OPTIONS)
    return instances, options


def _read_csv(text: str) -> list[Any]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return [row[0] for row in rows if row]
    except csv.Error as error:
        raise RequestError(f"line {rows.line_num} is not CSV: {error}") from None


def _lines(text: str) -> list[Any]:
    """The lines of a plain text, empty ones among them, so that answers and lines go together by number."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
