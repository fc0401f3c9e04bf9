"""What all request bodies have in common: declared types, charsets, JSON documents, and how they are refused."""

from __future__ import annotations

from codecs import lookup
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from wildsage.contract.content_types import JSON, JSON_LINES, SYNONYMS
from wildsage.contract.errors import ClientError, nearest

# What says nothing about the body: no header, or what a client puts there by itself (curl --data sends the form type).
_UNDECLARED = {"", "*/*", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"}
# Python's codecs that are no charsets, or take quadratic time (idna).
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
KEYS = ("instances", "configuration")
FORM = 'the form is {"instances": [...]}, with "configuration": {...} beside it if wanted'

ANY = msgspec.json.Decoder()
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what a decoder raises


class RequestError(ClientError):
    """A request that cannot be read or answered in the form it asks for. status: of the HTTP answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@lru_cache(maxsize=256)
def declared(content_type: str, charset_names: tuple[str, ...] = ("charset",)) -> tuple[str | None, str]:
    """The kind of body that a Content-Type names (None: it names none) and its charset, by Python's name."""
    essence, *parameters = (part.strip() for part in content_type.split(";"))
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() in charset_names:
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


def unsupported(content_type: str, request_types: Sequence[str]) -> str:
    """Why a body of a type that the model does not take is refused."""
    shown = content_type.split(";")[0].strip()[:100]
    return (
        f'Content-Type "{shown}" is not supported; allowed: {", ".join(request_types)}{nearest(shown, request_types)}'
    )


def utf8(body: bytes, charset: str) -> bytes:
    """The body in UTF-8 without a byte order mark."""
    if charset != "utf-8":
        try:
            body = body.decode(charset).encode()
        except (UnicodeError, ValueError) as error:
            raise RequestError(f"the body is not {charset}: {error}") from None
    return body.removeprefix(BYTE_ORDER_MARK)


def json_kind(body: bytes) -> str | None:
    """Which kind of JSON a body without a declared type is; None if it is none.

    Braces mean JSON: one document if it parses as one with "instances", else a document a line. Brackets and quotes
    can begin a plain text too, so they mean JSON only where it parses.
    """
    start = body.lstrip()[:1]
    if start == b"{":
        try:
            value = ANY.decode(body)
        except NOT_JSON:
            return JSON_LINES if _are_json_lines(body) else JSON
        # A misspelt "instances" is to be named as one, not taken for a line.
        return JSON if any(key == KEYS[0] or nearest(key, KEYS) for key in value) else JSON_LINES
    if start == b"[":
        try:
            ANY.decode(body)
        except NOT_JSON:
            return JSON_LINES if _are_json_lines(body) else None
        return JSON
    if start == b'"' and _are_json_lines(body):
        return JSON_LINES
    return None


def _are_json_lines(body: bytes) -> bool:
    try:
        ANY.decode_lines(body)
    except NOT_JSON:
        return False
    return True


def decode(body: bytes, where: str) -> Any:
    """A JSON document. where: what it is, for the error that says why it is none."""
    try:
        return ANY.decode(body)
    except UnicodeDecodeError as error:
        raise RequestError(f"{where} is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise RequestError(f"{where} is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise RequestError(f"{where} is not JSON: {error}") from None


def read_document(body: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Instances and configuration of a request in JSON, whatever instances there are; says all that is wrong."""
    document = decode(body, "the body")
    if not isinstance(document, dict):
        raise RequestError(f"the body is a JSON {_type_name(document)}; {FORM}")
    if "instances" not in document:
        hint = next((nearest(key, KEYS) for key in document if nearest(key, KEYS)), "")
        raise RequestError(f'the body has no "instances"{hint}; {FORM}')
    for key in document:
        if key not in KEYS:
            raise RequestError(f'"{key[:40]}" is not a key of a request{nearest(key, KEYS)}; {FORM}')
    instances, configuration = document["instances"], document.get("configuration", {})
    if not isinstance(instances, list):
        raise RequestError(f'"instances" is a JSON {_type_name(instances)}; it must be a list')
    if not isinstance(configuration, dict):
        raise RequestError(f'"configuration" is a JSON {_type_name(configuration)}; it must be an object')
    return instances, configuration


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
