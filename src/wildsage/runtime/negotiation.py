"""Request body to instances, answers to bytes: JSON, JSON Lines, CSV and plain text, either way.

The container contract's rules: an answer to JSON or JSON Lines has the request's own form, whatever Accept says; a
request of text lines (CSV, plain text) is answered with JSON unless Accept names CSV or JSON Lines. A body without a
declared type, or with one that clients send unasked, is looked into.
"""

from __future__ import annotations

import csv
import io
import math
from codecs import lookup
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from wildsage.contract.content_types import CSV, JSON, JSON_LINES, SYNONYMS, TEXT, choose
from wildsage.contract.errors import ClientError, nearest

ANSWER_TYPES = (JSON, JSON_LINES, CSV)  # of text lines; the favourite first

# What says nothing about the body: no header, or what a client puts there by itself (curl --data sends the form type).
_UNDECLARED = {"", "*/*", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"}
# Python's codecs that are no charsets, or take quadratic time (idna).
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEYS = ("instances", "configuration")
_FORM = 'the form is {"instances": [...]}, with "configuration": {...} beside it if wanted'
_NO_OPTIONS: Mapping[str, Any] = {}

csv.field_size_limit(2**31 - 1)  # the size of a whole body is limited before it comes here


class RequestError(ClientError):
    """A request that cannot be read or answered in the form it asks for. status: of the HTTP answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A body as the model sees it. options: as long as instances. answer_type: of the answer to write."""

    instances: list[Any]
    options: list[Mapping[str, Any]]
    answer_type: str


class _Texts(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The common request, decoded and checked in one pass."""

    instances: list[str]
    configuration: dict[str, Any] = msgspec.field(default_factory=dict)


_TEXTS = msgspec.json.Decoder(_Texts)
_ANY = msgspec.json.Decoder()


def read(
    body: bytes, content_type: str, accept: str, request_types: Sequence[str], default_accept: str = ""
) -> Request:
    """Decode a request body.

    content_type, accept: the headers, "" if missing. request_types: what the model takes. default_accept: stands for a
    missing Accept. Raises RequestError: 400 for a body that is not of its type, 406 and 415 for types.
    """
    kind, charset = _declared(content_type)
    if kind is None:
        body = _utf8(body, charset)
        kind = _sniff(body)
    elif charset != "utf-8" or body[:3] == _BYTE_ORDER_MARK:
        body = _utf8(body, charset)
    if kind not in request_types:
        raise RequestError(_unsupported(content_type or kind, request_types), 415)
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
def _declared(content_type: str) -> tuple[str | None, str]:
    """The kind of body that a Content-Type names (None: it names none) and its charset."""
    essence, *parameters = (part.strip() for part in content_type.split(";"))
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'")
    try:
        charset = lookup(charset).name
        if charset in _NO_CHARSETS:
            raise LookupError
        "".encode(charset)
    except (LookupError, ValueError):  # a codec that is unknown, or not one of text
        raise RequestError(f'Content-Type names the charset "{charset[:40]}", which is not known', 415) from None
    essence = essence.lower()
    if essence in _UNDECLARED:
        return None, charset
    return SYNONYMS.get(essence, essence), charset


@lru_cache(maxsize=256)
def _answer_type(accept: str) -> str:
    """The type that Accept likes best among those that text lines can be answered in."""
    found = choose(accept, ANSWER_TYPES)
    if found is None:
        allowed = ", ".join(ANSWER_TYPES)
        raise RequestError(f'Accept "{accept[:100]}" cannot be met; the answer can be {allowed}', 406)
    return found.name


def _unsupported(content_type: str, request_types: Sequence[str]) -> str:
    shown = content_type.split(";")[0].strip()[:100]
    return (
        f'Content-Type "{shown}" is not supported; allowed: {", ".join(request_types)}{nearest(shown, request_types)}'
    )


def _expected(kind: str) -> str:
    return _FORM if kind == JSON else f"{kind} has an instance a line"


def _utf8(body: bytes, charset: str) -> bytes:
    """The body in UTF-8 without a byte order mark."""
    if charset != "utf-8":
        try:
            body = body.decode(charset).encode()
        except (UnicodeError, ValueError) as error:
            raise RequestError(f"the body is not {charset}: {error}") from None
    return body.removeprefix(_BYTE_ORDER_MARK)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None


def _sniff(body: bytes) -> str:
    """What a body without a declared type is.

    Braces mean JSON: one document if it parses as one with "instances", else a document a line. Brackets and quotes
    can begin a plain text too, so they mean JSON only where it parses.
    """
    start = body.lstrip()[:1]
    if start == b"{":
        try:
            value = _ANY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return JSON_LINES if _are_json_lines(body) else JSON
        # A misspelt "instances" is to be named as one, not taken for a line.
        return JSON if any(key == _KEYS[0] or nearest(key, _KEYS) for key in value) else JSON_LINES
    if start == b"[":
        try:
            _ANY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return JSON_LINES if _are_json_lines(body) else TEXT
        return JSON
    if start == b'"' and _are_json_lines(body):
        return JSON_LINES
    return TEXT


def _are_json_lines(body: bytes) -> bool:
    try:
        _ANY.decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _decode(body: bytes, where: str) -> Any:
    try:
        return _ANY.decode(body)
    except UnicodeDecodeError as error:
        raise RequestError(f"{where} is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise RequestError(f"{where} is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise RequestError(f"{where} is not JSON: {error}") from None


def _read_json(body: bytes) -> tuple[list[Any], list[Mapping[str, Any]]]:
    try:
        texts = _TEXTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_any_json(body)
    return texts.instances, [texts.configuration] * len(texts.instances)


def _read_any_json(body: bytes) -> tuple[list[Any], list[Mapping[str, Any]]]:
    """The slow path: instances that are not all texts, and everything that is wrong."""
    document = _decode(body, "the body")
    if not isinstance(document, dict):
        raise RequestError(f"the body is a JSON {_type_name(document)}; {_FORM}")
    if "instances" not in document:
        hint = next((nearest(key, _KEYS) for key in document if nearest(key, _KEYS)), "")
        raise RequestError(f'the body has no "instances"{hint}; {_FORM}')
    for key in document:
        if key not in _KEYS:
            raise RequestError(f'"{key[:40]}" is not a key of a request{nearest(key, _KEYS)}; {_FORM}')
    instances, configuration = document["instances"], document.get("configuration", {})
    if not isinstance(instances, list):
        raise RequestError(f'"instances" is a JSON {_type_name(instances)}; it must be a list')
    if not isinstance(configuration, dict):
        raise RequestError(f'"configuration" is a JSON {_type_name(configuration)}; it must be an object')
    return instances, [configuration] * len(instances)


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _read_json_lines(body: bytes) -> tuple[list[Any], list[Mapping[str, Any]]]:
    try:
        values = _ANY.decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lines = enumerate(body.split(b"\n"), start=1)
        values = [_decode(line, f"line {number}") for number, line in lines if line.strip()]
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
