"""CSV: numbers, labels first, then the weight if there is one, then features; no header."""

from __future__ import annotations

import math
import re
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import shown
from wildsage.data.formats import Missing, Rows, Shape, Slab, find_text_rows
from wildsage.data.kernels import csv as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
LATE = 4096  # numbers that are left to Python between two calls of the kernel, at least
DELIMITERS = b",;\t|"
LONGEST_SHOWN = 40  # bytes of a field that a message quotes


class Csv:
    """CSV with `width` columns."""

    unit = "line"
    line_ends = True

    def __init__(
        self,
        shape: Shape,
        *,
        missing: Missing = "refuse",
        delimiter: str = ",",
        source: str = "line 1 of the channel has",
    ) -> None:
        """source: what says how many columns there are, for messages."""
        self._source = source
        self.shape = shape
        self._width = (shape.features or 0) + shape.leading
        self._missing = missing == "nan"
        self._delimiter = np.uint8(ord(delimiter))

    def scratch(self) -> Any:
        late = np.empty((max(LATE, 2 * self._width + 1), 4), np.int64)
        return late, (np.zeros(1), np.zeros(3, np.int64)), np.zeros(6, np.int64)

    def find(self, data: NDArray[np.uint8], begin: int, limit: int, end: int, wanted: int) -> tuple[int, int, int]:
        return find_text_rows(data, begin, limit, end, wanted)

    def parse(self, rows: Rows, slab: Slab, first: int, scratch: Any) -> None:
        late, words, state = scratch
        features = slab.features
        if features is None:
            raise TypeError("CSV is dense")
        state[0] = rows.number
        at, row, end = rows.begin, first, first + rows.count
        if rows.offset + at == 0 and rows.data[:3].tobytes() == b"\xef\xbb\xbf":
            at = 3  # a byte order mark
        while True:
            code = kernels.parse_rows(
                rows.data, at, end - row, self._delimiter, slab.leading, features, slab.numbers, row, self._missing,
                late, words, state,
            )  # fmt: skip
            if state[5]:
                self._read_late(rows, slab, late[: state[5]])
            if code == kernels.DONE:
                return
            if code != kernels.FULL:
                raise self._error(rows, code, state.tolist())
            at, row = int(state[1]), int(state[2])

    def _read_late(self, rows: Rows, slab: Slab, late: NDArray[np.int64]) -> None:
        for row, column, begin, end in late.tolist():
            value = float(rows.data[begin:end].tobytes())
            single = to_float32(value)
            if math.isinf(single):
                if not self._missing or column < slab.leading.shape[1]:
                    text = shown(rows.data[begin:end].tobytes().decode("ascii"))
                    reason = f"{text} is too large for a 32-bit float: up to 3.4e38"
                    raise DataError(reason, file=rows.file, line=int(slab.numbers[row]), column=column + 1)
                single = math.nan
            if column < slab.leading.shape[1]:
                slab.leading[row, column] = single
            elif slab.features is not None:
                slab.features[row, column - slab.leading.shape[1]] = single

    def _is_header(self, rows: Rows) -> bool:
        """Whether the first line has words and no number."""
        line = rows.data[rows.begin : rows.end].tobytes().lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0]
        fields = [field.strip(b' \t\r"') for field in line.split(bytes([int(self._delimiter)]))]
        words = any(re.match(rb"[A-Za-z_]", field) for field in fields)
        return words and not any(NUMBER.fullmatch(field) for field in fields)

    def _error(self, rows: Rows, code: int, state: list[int]) -> DataError:
        line, begin, _, column, _, _ = state
        content = rows.data[begin : min(rows.end, begin + 4 * LONGEST_SHOWN)].tobytes()
        separators = b"[" + re.escape(bytes([int(self._delimiter)])) + rb"\r\n]"
        field = re.split(separators, content, maxsplit=1)[0].decode("utf-8", "replace").strip()
        text = shown(field[:LONGEST_SHOWN] + ("…" if len(field) > LONGEST_SHOWN else ""))
        width = self._width
        where: int | None = column + 1
        if code == kernels.NO_NUMBER:
            reason = f"{text} is not a number"
            if line == 1 and self._is_header(rows):
                reason += "; a header is not allowed: remove line 1"
            elif re.fullmatch(r"[^\W\d_][\w \-]*", field):
                reason += "; text is to be encoded as numbers"
        elif code == kernels.NO_VALUE:
            reason = f"{text} is not allowed: a number" if field else "the field is empty: a number is wanted"
        elif code == kernels.NOT_FINITE:
            reason = f"{text} is not allowed: a finite number"
        elif code == kernels.TOO_FEW:
            reason, where = f"{column + 1} columns, but {self._source} {width}", None
        else:
            reason, where = f"more than {width} columns, but {self._source} {width}", None
        return DataError(reason, file=rows.file, line=line, column=where)


def to_float32(value: float) -> float:
    """The nearest 32-bit float, infinity where there is none."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value))


def sniff(head: bytes) -> str:
    """The delimiter of a first line: that of `,;\\t|` which it has most of."""
    return chr(max(DELIMITERS, key=lambda byte: head.count(bytes([byte]))))


def count_columns(head: bytes, delimiter: str) -> int:
    """Columns of a line."""
    return head.count(delimiter.encode()) + 1


def write_csv(
    file: IO[bytes],
    features: NDArray[np.float32],
    labels: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
) -> None:
    """Write rows, labels first, then weights, in the fewest digits that give the same floats again.

    labels: (n,) or (n, w). Raises ClientError for other sizes.
    """
    leading = [column.reshape(len(column), -1) for column in (labels, weights) if column is not None]
    if features.ndim != 2 or any(len(column) != len(features) for column in leading):
        raise ClientError(
            f"features of shape {features.shape} are not allowed beside labels or weights of other lengths"
        )
    for row in range(len(features)):
        fields = [digits(value) for column in leading for value in column[row]]
        fields += [digits(value) for value in features[row]]
        file.write((",".join(fields) + "\n").encode())


def digits(value: Any) -> str:
    """The fewest digits that give the same number again; an integer without a point."""
    short = isinstance(value, np.floating) and value.dtype == np.float32
    return (str(value) if short else repr(float(value))).removesuffix(".0")
