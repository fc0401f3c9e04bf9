"""The filters of a transform job: which part of a record goes to the model, and which part of the answer is kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import shown

ALL = "$"
CSV_TYPE, JSON_TYPE, LINES_TYPE = "text/csv", "application/json", "application/jsonlines"
TYPES = (CSV_TYPE, JSON_TYPE, LINES_TYPE)

Selector = Callable[[Any], Any]


def selector(path: str, member: str) -> Selector | None:
    """What a JSONPath selects; None for the whole. Raises ClientError for one that cannot be read.

    A path to one place gives the value there; one to many (a slice, a wildcard, several names) gives their list.
    """
    if path == ALL:
        return None
    from jsonpath_ng.exceptions import JSONPathError
    from jsonpath_ng.jsonpath import Child, Fields, Index, Root
    from jsonpath_ng.parser import parse

    try:
        expression = parse(path)
    except (JSONPathError, ValueError) as error:
        raise ClientError(f'DataProcessing.{member} = "{path}" is not a JSONPath: {error}') from error

    def one_place(part: Any) -> bool:
        if isinstance(part, Child):
            return one_place(part.left) and one_place(part.right)
        if isinstance(part, Fields):
            return len(part.fields) == 1 and part.fields[0] != "*"
        return isinstance(part, Root) or (isinstance(part, Index) and len(part.indices) == 1)

    single = one_place(expression)

    def select(value: Any) -> Any:
        found = [match.value for match in expression.find(value)]
        if not single:
            return found
        if not found:
            raise ClientError(f'{member} "{path}" finds nothing in {shown(value)}')
        return found[0]

    return select


@dataclass(frozen=True)
class Filters:
    """InputFilter, JoinSource and OutputFilter of one job."""

    input: Selector | None
    output: Selector | None
    join: bool
    content_type: str
    accept: str

    @classmethod
    def of(cls, processing: Mapping[str, Any], content_type: str | None, accept: str | None) -> Filters:
        """Raises ClientError for a filter that cannot be read, or a type that cannot be filtered."""
        before = selector(processing.get("InputFilter", ALL), "InputFilter")
        after = selector(processing.get("OutputFilter", ALL), "OutputFilter")
        join = processing.get("JoinSource", "None") == "Input"
        source = (content_type or "").partition(";")[0].strip().lower()
        target = (accept or content_type or "").partition(";")[0].strip().lower()
        if before or after or join:
            for name, kind in (("TransformInput.ContentType", source), ("TransformOutput.Accept", target)):
                if kind not in TYPES:
                    raise ClientError(f'{name} = "{kind}" cannot be filtered or joined: {", ".join(TYPES)}')
        if join and (source == CSV_TYPE) != (target == CSV_TYPE):
            raise ClientError(f"JoinSource = Input cannot join {source} with {target}: both CSV, or both JSON")
        return cls(before, after, join, source, target)

    @property
    def reads_answers(self) -> bool:
        """Whether answers are taken apart, and not passed on as they come."""
        return self.output is not None or self.join

    def before(self, record: bytes, place: str) -> bytes:
        """The part of a record that the model gets. Raises DataError for a record that cannot be read."""
        if self.input is None:
            return record
        try:
            return _write(self.input(_read(record, self.content_type)), self.content_type)
        except ClientError as error:
            raise DataError(str(error), file=place) from error

    def after(self, answer: bytes, sources: list[bytes]) -> bytes:
        """The answer to a request, joined with its records and filtered. One line a record, where there are several."""
        if not self.reads_answers:
            return answer
        parts = [answer] if len(sources) == 1 else answer.splitlines()
        if len(parts) != len(sources):
            raise ClientError(
                f"the answer has {len(parts)} lines for {len(sources)} records, so that they cannot be joined or "
                "filtered: use BatchStrategy SingleRecord, or Accept application/jsonlines"
            )
        return b"\n".join(self._one(part, source) for part, source in zip(parts, sources, strict=True))

    def _one(self, answer: bytes, source: bytes) -> bytes:
        value = _read(answer, self.accept)
        if self.join:
            value = _joined(_read(source, self.content_type), value)
        return _write(self.output(value) if self.output is not None else value, self.accept)


def _joined(source: Any, answer: Any) -> Any:
    if isinstance(source, list) and isinstance(answer, list):
        return source + answer
    if isinstance(source, dict):
        return {**source, "SageMakerOutput": answer}
    return {"SageMakerInput": source, "SageMakerOutput": answer}


def _read(record: bytes, kind: str) -> Any:
    try:
        if kind == CSV_TYPE:
            rows = list(csv.reader(io.StringIO(record.decode())))
            return rows[0] if len(rows) == 1 else [cell for row in rows for cell in row]
        return json.loads(record)
    except (ValueError, csv.Error) as error:
        raise ClientError(f"this is not {kind}: {error}") from error


def _write(value: Any, kind: str) -> bytes:
    if kind == CSV_TYPE:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(value if isinstance(value, list) else [value])
        return text.getvalue().encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
