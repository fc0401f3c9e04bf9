"""libsvm: label[:weight] index:value index:value …, indices from 0, zeros left out; reader and writer."""

from __future__ import annotations

import math
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import shown
from wildsage.data.batch import SparseRows
from wildsage.data.csv import digits, to_float32
from wildsage.data.formats import Missing, Rows, Shape, Slab, find_text_rows
from wildsage.data.kernels import libsvm as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

LATE = 4096
LONGEST_SHOWN = 40


class Libsvm:
    """Lines of libsvm, whose rows are sparse. shape.features None: as many as the largest index asks for."""

    unit = "line"
    line_ends = True

    def __init__(self, shape: Shape, *, missing: Missing = "refuse") -> None:
        self.shape = shape
        self._missing = missing == "nan"

    def scratch(self) -> Any:
        return np.empty((LATE, 4), np.int64), (np.zeros(1), np.zeros(1, np.int64)), np.zeros(8, np.int64)

    def find(self, data: NDArray[np.uint8], begin: int, limit: int, end: int, wanted: int) -> tuple[int, int, int]:
        return find_text_rows(data, begin, limit, end, wanted)

    def parse(self, rows: Rows, slab: Slab, first: int, scratch: Any) -> None:
        late, words, state = scratch
        width = -1 if self.shape.features is None else self.shape.features
        room = (rows.end - rows.begin) // 4 + 16  # "0:1 "
        columns, values = np.empty(room, np.int32), np.empty(room, np.float32)
        starts = np.zeros(rows.count + 1, np.int64)
        state[:] = 0
        state[0], state[1] = rows.number, rows.begin
        if rows.offset + rows.begin == 0 and rows.data[:3].tobytes() == b"\xef\xbb\xbf":
            state[1] = 3
        while True:
            code = kernels.parse_lines(
                rows.data, int(state[1]), rows.count, slab.leading, slab.numbers, starts, columns, values, width,
                self.shape.labels > 0, self.shape.weighted, first, self._missing, late, words, state,
            )  # fmt: skip
            if state[4]:
                self._read_late(rows, slab, late[: state[4]], values)
            if code == kernels.DONE:
                break
            if code != kernels.FULL:
                raise self._error(rows, code, int(state[0]), int(state[3]))
            if state[4] == 0 or int(state[2]) == 0:  # it is the room that is too small, or one row that is too long
                columns, values = _twice(columns), _twice(values)
                late = np.empty((2 * len(late), 4), np.int64)
        filled = int(starts[-1])
        widest = int(state[5]) if width < 0 else width
        slab.parts.append((first, SparseRows(starts, columns[:filled].copy(), values[:filled].copy(), widest)))

    def _read_late(self, rows: Rows, slab: Slab, late: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        leading = slab.leading.reshape(-1)
        for kind, place, begin, end in late.tolist():
            single = to_float32(float(rows.data[begin:end].tobytes()))
            if math.isinf(single):
                if not self._missing or kind == kernels.LEADING:
                    text = shown(rows.data[begin:end].tobytes().decode("ascii"))
                    line = rows.number + int((rows.data[rows.begin : begin] == 10).sum())
                    reason = f"{text} is too large for a 32-bit float: up to 3.4e38"
                    raise DataError(reason, file=rows.file, line=line)
                single = math.nan
            if kind == kernels.LEADING:
                leading[place] = single
            else:
                values[place] = single

    def _error(self, rows: Rows, code: int, line: int, at: int) -> DataError:
        content = rows.data[at : min(rows.end, at + 4 * LONGEST_SHOWN)].tobytes()
        word = (content.split(b"\n")[0].split() or [b""])[0].decode("utf-8", "replace")
        text = shown(word[:LONGEST_SHOWN] + ("…" if len(word) > LONGEST_SHOWN else ""))
        before = rows.data[rows.begin : at].tobytes()
        column = len(before) - before.rfind(b"\n")
        if code == kernels.NO_INDEX:
            reason = f"{text} is not allowed: INDEX:VALUE, such as 3:0.5"
        elif code == kernels.INDEX:
            most = kernels.LARGEST_INDEX if self.shape.features is None else self.shape.features - 1
            reason = f"the index of {text} is not allowed: 0 to {most}"
        elif code == kernels.NOT_FINITE:
            reason = f"{text} is not allowed: a finite number"
        elif code == kernels.WEIGHT:
            reason = f"{text} has a weight, but the channel's first line has none"
        elif code == kernels.NO_WEIGHT:
            reason = f"{text} has no weight, but the channel's first line has one: LABEL:WEIGHT"
        else:
            reason = f"{text} is not a number" if word else "the line has no label"
        return DataError(reason, file=rows.file, line=line, column=column)


def _twice(array: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, np.empty_like(array)])


def write_libsvm(
    file: IO[bytes],
    features: NDArray[np.float32] | SparseRows,
    labels: NDArray[Any],
    weights: NDArray[Any] | None = None,
) -> None:
    """Write rows, zeros left out, in digits that give the same floats again. Raises ClientError for other sizes."""
    if labels.shape != (len(features),) or (weights is not None and weights.shape != labels.shape):
        raise ClientError(f"labels and weights are to be ({len(features)},), one a row")
    for row in range(len(features)):
        if isinstance(features, SparseRows):
            part = slice(int(features.starts[row]), int(features.starts[row + 1]))
            columns, values = features.columns[part], features.values[part]
        else:
            columns = np.flatnonzero(features[row]).astype(np.int32)
            values = features[row][columns]
        words = [digits(labels[row]) + (f":{digits(weights[row])}" if weights is not None else "")]
        words += [f"{column}:{digits(value)}" for column, value in zip(columns.tolist(), values, strict=True)]
        file.write((" ".join(words) + "\n").encode())
