"""What happens to a row before it is indexed or looked up: fewer dimensions, unit length, padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from wildsage.algorithms.knn.kernels.reduction import LANES, project, to_unit_length, transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.streaming import Workers

TILE = 32  # columns that `project` makes at once


@dataclass(frozen=True)
class Preparation:
    """dim: features that come in. width: columns that go out, padded with zeros. kind: "sign", "fjlt" or None.

    signs: packed bits; of sign (target * dim,), column after column, of fjlt (dim,); 1 means +1. chosen: int32
    (target,), the entries of the transform that fjlt keeps.
    """

    dim: int
    width: int
    unit_length: bool = False
    kind: str | None = None
    target: int = 0
    signs: NDArray[np.uint8] | None = None
    chosen: NDArray[np.int32] | None = None

    @classmethod
    def draw(cls, dim: int, kind: str | None, target: int | None, multiple: int, unit_length: bool, seed: int) -> Self:
        """A reduction of so many features to `target`, drawn by the seed; what is left is a multiple of `multiple`."""
        if kind is None or target is None:
            return cls(dim, -(-dim // multiple) * multiple, unit_length)
        wanted = -(-target // multiple) * multiple
        # More columns instead of zeros, as the service does it; a transform has no more than its length.
        target = wanted if kind == "sign" else min(wanted, power_of_two(dim))
        bits = np.random.PCG64([seed, 1])  # raw numbers are the same in each version of NumPy
        count = -(-(dim * target if kind == "sign" else dim) // 64)
        signs = bits.random_raw(count).view(np.uint8)[: -(-(dim * target if kind == "sign" else dim) // 8)].copy()
        chosen = None
        if kind == "fjlt":
            keys = bits.random_raw(power_of_two(dim))
            chosen = np.sort(np.argsort(keys, kind="stable")[:target]).astype(np.int32)
        return cls(dim, wanted, unit_length, kind, target, signs, chosen)

    def __post_init__(self) -> None:
        table = np.zeros(0, np.float32)
        if self.kind == "sign" and self.signs is not None:
            table = np.zeros((self.dim, -(-self.target // TILE) * TILE), np.float32)
            bits = np.unpackbits(self.signs, count=self.dim * self.target).reshape(self.target, self.dim)
            table[:, : self.target] = (2.0 * bits - 1).T
        elif self.signs is not None:
            table = np.unpackbits(self.signs, count=self.dim) * np.float32(2) - np.float32(1)
        object.__setattr__(self, "_table", table.reshape(-1))

    _table: NDArray[np.float32] = None  # type: ignore[assignment]  # made of the signs

    @property
    def is_idle(self) -> bool:
        """Whether rows come out as they went in."""
        return self.kind is None and not self.unit_length and self.dim == self.width

    def apply(self, rows: NDArray[np.float32], out: NDArray[np.float32], workers: Workers) -> None:
        """Write what becomes of rows, float32 (n, dim), into out, float32 (n, width), all in C order."""
        if self.is_idle:
            out[:] = rows
            return
        flat, into = np.ascontiguousarray(rows, np.float32).reshape(-1), out.reshape(-1)
        made = self.dim if self.kind is None else self.target

        def part(_: int, begin: int, end: int) -> None:
            if self.kind == "sign":
                scratch = np.empty(TILE, np.float32)
                padded = self._table.size // self.dim
                project(flat, self.dim, self._table, padded, self.target, begin, end, into, self.width, scratch)
            elif self.kind == "fjlt":
                length = power_of_two(self.dim)
                scratch = np.empty(length * LANES, np.float32)
                transform(flat, self.dim, self._table, length, self.chosen, begin, end, into, self.width, scratch)
            else:
                out[begin:end, :made] = rows[begin:end]
            if made < self.width:
                out[begin:end, made:] = 0
            if self.unit_length:
                to_unit_length(into, self.width, begin, end)

        workers.split(len(rows), part)


def power_of_two(dim: int) -> int:
    """The least power of two that is `dim` or more."""
    return 1 << max(0, dim - 1).bit_length()
