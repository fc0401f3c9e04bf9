"""What a format is to the machinery that reads: how rows are found among bytes, and how they become numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from wildsage.data.kernels.lines import find_lines
from wildsage.kernels.vector import aligned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.data.batch import SparseRows

Missing = Literal["refuse", "nan"]
MARGIN = 64  # bytes behind the last one that a kernel may look at


@dataclass(frozen=True)
class Shape:
    """What a row of a channel is made of."""

    features: int | None  # None: only known when all rows are (libsvm)
    labels: int
    weighted: bool = False
    sparse: bool = False
    feature_names: tuple[str, ...] | None = None
    source: str = "the channel has"  # what says how many features there are, for messages

    @property
    def leading(self) -> int:
        """Numbers of a row that are no features."""
        return self.labels + int(self.weighted)


@dataclass(frozen=True)
class Rows:
    """Some whole rows among bytes: `count` of them from data[begin:end] on."""

    data: NDArray[np.uint8]
    begin: int
    end: int
    count: int
    file: str
    number: int  # of the line or record at `begin`, from 1
    offset: int  # of data[0] in the file


@dataclass
class Slab:
    """Rows in memory that is used again: dense features, or parts of sparse ones, of any lengths."""

    leading: NDArray[np.float32]  # (R, labels + weight)
    files: NDArray[np.int32]
    numbers: NDArray[np.int64]
    features: NDArray[np.float32] | None  # (R, d); None where rows are sparse
    parts: list[tuple[int, SparseRows]] = field(default_factory=list)  # first row, rows
    filled: int = 0
    pending: int = 0  # pieces that are still being read
    sealed: bool = False
    error: tuple[int, BaseException] | None = None  # with the row at which it is to be raised

    @staticmethod
    def empty(rows: int, shape: Shape) -> Slab:
        width = shape.features or 0
        # At a cache line: stores of a vector that lie across two take twice as long.
        dense = None if shape.sparse else aligned(rows * width, zero=False).reshape(rows, width)
        return Slab(
            np.empty((rows, shape.leading), np.float32), np.empty(rows, np.int32), np.empty(rows, np.int64), dense
        )

    def fail(self, row: int, error: BaseException) -> None:
        if self.error is None or row < self.error[0]:
            self.error = (row, error)

    def clear(self) -> None:
        self.parts, self.filled, self.pending, self.sealed, self.error = [], 0, 0, False, None


class Format(Protocol):
    """A way to write rows as bytes. One object serves all threads; what each needs of its own, scratch makes."""

    unit: str  # what is counted in messages: "line" or "record"
    line_ends: bool  # whether the last row of a file may lack a newline
    shape: Shape

    def scratch(self) -> Any:
        """Memory for one thread."""

    def find(self, data: NDArray[np.uint8], begin: int, limit: int, end: int, wanted: int) -> tuple[int, int, int]:
        """Up to `wanted` whole rows that begin before `limit` and end before `end`: (rows, behind them, their numbers).

        Raises Broken where what follows is no row.
        """

    def parse(self, rows: Rows, slab: Slab, first: int, scratch: Any) -> None:
        """Fill the slab from its row `first` on. Raises DataError with the place of what is wrong."""


class Broken(Exception):  # noqa: N818 (it is turned into a DataError by who knows the file)
    """The frame of a row is broken: reason, and where in the data."""

    def __init__(self, reason: str, at: int, rows: int) -> None:
        super().__init__(reason)
        self.reason, self.at, self.rows = reason, at, rows


def find_text_rows(data: NDArray[np.uint8], begin: int, limit: int, end: int, wanted: int) -> tuple[int, int, int]:
    """Format.find where each row is a line and empty lines are none."""
    found = np.zeros(3, np.int64)
    find_lines(data, begin, limit, end, wanted, found)
    return int(found[0]), int(found[1]), int(found[2])
