"""Content types: "text/csv; label_size=0; charset=utf-8", and the choice that Accept makes among those offered."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from wildsage.contract.errors import ClientError
from wildsage.contract.files import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ANY = "*/*"
AUGMENTED_MANIFEST = "application/jsonlines"
CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
LIBSVM = "text/libsvm"
MODEL = "application/x-sagemaker-model"
NPY = "application/x-npy"
OCTET_STREAM = "application/octet-stream"
PARQUET = "application/x-parquet"
RECORDIO = "application/x-recordio"
RECORDIO_PROTOBUF = "application/x-recordio-protobuf"
TEXT = "text/plain"

# Other spellings in use, and the one that the built-ins publish.
SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "application/csv": CSV,
        "text/x-csv": CSV,
        "text/json": JSON,
        "application/jsonl": JSON_LINES,
        "application/json-lines": JSON_LINES,
        "application/x-jsonlines": JSON_LINES,
        "application/x-ndjson": JSON_LINES,
        "application/ndjson": JSON_LINES,
        "text/x-libsvm": LIBSVM,
        "application/vnd.apache.parquet": PARQUET,
    }
)

# RFC 9110, 5.6.2 and 5.6.4.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (the RFC's word for a run of characters, no secret)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TYPE = re.compile(rf"\s*({_TOKEN})\s*/\s*({_TOKEN})\s*")
_WEIGHT = re.compile(r"0|0?\.[0-9]+|0\.|1(\.0*)?")
_PARAMETER = re.compile(rf";\s*(?:({_TOKEN})\s*=\s*({_QUOTED}|[^\s;,\"]*)\s*)?")


@dataclass(frozen=True)
class ContentType:
    """A content type. name: lower case, in the spelling of the built-ins. parameters: names in lower case."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join([self.name, *(f"{key}={_quoted(value)}" for key, value in self.parameters.items())])

    @property
    def charset(self) -> str:
        return self.parameters.get("charset", "utf-8")

    def integer(self, parameter: str, default: int) -> int:
        """A parameter that counts, such as label_size. Raises ClientError for one that is not 0 or more."""
        text = self.parameters.get(parameter)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ClientError(f"content type {self}: {parameter} = {shown(text)} is not allowed: an integer, 0 or more")
        return int(text)


@dataclass(frozen=True)
class AcceptedType:
    """One entry of an Accept header."""

    type: ContentType
    quality: float = 1.0

    def matches(self, offered: str) -> bool:
        """Whether a type without parameters is meant, wildcards included."""
        main, sub = self.type.name.split("/")
        offered_main, offered_sub = offered.split("/")
        return main in ("*", offered_main) and sub in ("*", offered_sub)


def parse(text: str) -> ContentType:
    """Read a content type with its parameters. Raises ClientError, saying what is wrong, for one that is not."""
    found, end = _read(text, 0)
    if end != len(text):
        raise ClientError(f"content type {shown(text)}: {shown(text[end:])} is not allowed: TYPE/SUBTYPE; NAME=VALUE")
    if "*" in found.name:
        raise ClientError(f"content type {shown(text)}: a wildcard is not allowed here")
    return found


def parse_accept(text: str) -> list[AcceptedType]:
    """Read an Accept header, in its own order.

    What is no type, or has no weight from 0 to 1, is passed over, as RFC 9110 wants of a server: Java sends
    "text/html, *; q=.2, */*; q=.2" unasked.
    """
    accepted: list[AcceptedType] = []
    for entry in text.split(","):
        try:
            found, end = _read(entry, 0)
        except ClientError:
            continue
        parameters = dict(found.parameters)
        quality = parameters.pop("q", "1")
        if end == len(entry) and _WEIGHT.fullmatch(quality):
            accepted.append(AcceptedType(ContentType(found.name, parameters), float(quality)))
    return accepted


def choose(accept: str | None, offered: Iterable[str], *, default: str | None = None) -> ContentType | None:
    """The type to answer with, with the parameters that Accept gave it (such as verbose=true); None: 406.

    offered: types without parameters, the favourite first. A missing or empty Accept, and a wildcard, mean the
    default, or else the favourite. A type with q=0 is refused even where a wildcard would take it.
    """
    choices = list(offered)
    if default is not None:
        choices = [default, *(name for name in choices if name != default)]
    wanted = parse_accept(accept) if accept else []
    if not wanted:
        return ContentType(choices[0]) if choices else None
    best: tuple[float, int, int, ContentType] | None = None
    for place, name in enumerate(choices):
        said = [(entry, order) for order, entry in enumerate(wanted) if entry.matches(name)]
        if not said:
            continue
        # RFC 9110, 12.5.1: the most exact entry decides about a type.
        entry, order = max(said, key=lambda item: (_exactness(item[0].type.name), -item[1]))
        if entry.quality == 0:
            continue
        # Of types equally wanted, the one named first; of those of one wildcard, our favourite.
        rank = (entry.quality, -order, -place, ContentType(name, entry.type.parameters))
        if best is None or rank[:3] > best[:3]:
            best = rank
    return best[3] if best else None


def _exactness(name: str) -> int:
    return 2 - name.count("*")


def _read(text: str, position: int) -> tuple[ContentType, int]:
    match = _TYPE.match(text, position)
    if match is None:
        raise ClientError(f"content type {shown(text)} is not allowed: TYPE/SUBTYPE, such as {CSV} or {JSON}")
    main, sub = match[1].lower(), match[2].lower()
    if (main == "*" and sub != "*") or ("*" in main and main != "*") or ("*" in sub and sub != "*"):
        raise ClientError(f"content type {shown(text)} is not allowed: a wildcard stands for all, as in text/* or */*")
    parameters = dict(_parameters(text, match.end()))
    end = match.end()
    while (step := _PARAMETER.match(text, end)) is not None:
        end = step.end()
    name = f"{main}/{sub}"
    return ContentType(SYNONYMS.get(name, name), parameters), end


def _parameters(text: str, position: int) -> Iterator[tuple[str, str]]:
    while (match := _PARAMETER.match(text, position)) is not None:
        position = match.end()
        if match[1] is not None:
            value = match[2]
            yield match[1].lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _quoted(value: str) -> str:
    if re.fullmatch(_TOKEN, value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
