"""A random cut forest as slow and plain as can be: trees of objects, boxes found anew each time they are asked for.

With the same random numbers it cuts as ours does. Rows whose values are small multiples of a power of two have exact
sums, so that the two agree on each comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BITS = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mixed(seed: int, number: int) -> int:
    z = (seed + number * GAMMA) & BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
    return z ^ (z >> 31)


def uniform(hashed: int) -> float:
    return ((hashed >> 12) + 0.5) * 2.0**-52


def key_of(seed: int, number: int, time: float, decay: float) -> float:
    return math.log(-math.log1p(-uniform(mixed(seed, number)))) - decay * time


@dataclass
class Node:
    rows: dict[int, np.ndarray] = field(default_factory=dict)  # of a leaf: slot to row, all equal
    axis: int = 0
    cut: float = 0.0
    sides: list[Node] = field(default_factory=list)

    def all_rows(self) -> dict[int, np.ndarray]:
        if not self.sides:
            return self.rows
        return {**self.sides[0].all_rows(), **self.sides[1].all_rows()}

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array(list(self.all_rows().values()), np.float64)
        return rows.min(axis=0), rows.max(axis=0)

    def gaps(self, row: np.ndarray) -> np.ndarray:
        low, high = self.box()
        return np.maximum(0, np.maximum(low - row, row - high))

    def span(self) -> float:
        low, high = self.box()
        return float((high - low).sum())

    def side_of(self, row: np.ndarray) -> int:
        return int(row[self.axis] > self.cut)


class NaiveTree:
    def __init__(self, state: int) -> None:
        self.state = state
        self.root: Node | None = None

    def draw(self) -> np.float32:
        self.state = (self.state + GAMMA) & BITS
        return np.float32(uniform(mixed(self.state, 0)))

    def insert(self, slot: int, row: np.ndarray) -> None:
        if self.root is None:
            self.root = Node({slot: row})
        else:
            self.root = self._inserted(self.root, slot, row)

    def _inserted(self, node: Node, slot: int, row: np.ndarray) -> Node:
        gaps = node.gaps(row)
        gap = np.float32(gaps.sum())
        if not node.sides and gap == 0:
            node.rows[slot] = row
            return node
        if gap > 0 and (self.draw() * (gap + np.float32(node.span())) <= gap or not node.sides):
            left = self.draw() * gap
            low, high = node.box()
            for axis in np.flatnonzero(gaps):
                begin, end = (row[axis], low[axis]) if row[axis] < low[axis] else (high[axis], row[axis])
                cut = np.float32(np.float32(begin) + min(left, np.float32(end - begin)))
                cut = np.float32(begin) if cut >= end else cut
                left = np.float32(left - np.float32(end - begin))
                if left <= 0:
                    break
            leaf = Node({slot: row})
            return Node({}, int(axis), float(cut), [node, leaf] if row[axis] > cut else [leaf, node])
        side = node.side_of(row)
        node.sides[side] = self._inserted(node.sides[side], slot, row)
        return node

    def remove(self, slot: int) -> None:
        assert self.root is not None
        self.root = self._removed(self.root, slot)

    def _removed(self, node: Node, slot: int) -> Node | None:
        if not node.sides:
            del node.rows[slot]
            return node if node.rows else None
        for side in (0, 1):
            if slot in node.sides[side].all_rows():
                left = self._removed(node.sides[side], slot)
                if left is None:
                    return node.sides[1 - side]
                node.sides[side] = left
        return node

    def shares(self, row: np.ndarray) -> np.ndarray:
        """What each feature adds to the score; the score is their sum."""
        total = np.zeros(len(row))
        if self.root is None:
            return total
        every = len(self.root.all_rows())
        node, depth, chance = self.root, 0, 1.0
        while True:
            gaps = node.gaps(row)
            apart = gaps.sum() / (gaps.sum() + node.span()) if gaps.any() else 0.0
            if apart:
                total += chance * apart / (depth + 1) * gaps / gaps.sum()
            chance *= 1 - apart
            if not node.sides:
                if not gaps.any():
                    mass = len(node.rows)
                    total += chance * (1 - 0.5 * mass / every) / (depth + math.log2(mass + 1)) / len(row)
                return total * math.log2(every + 1)
            node, depth = node.sides[node.side_of(row)], depth + 1

    def most_alike(self, row: np.ndarray) -> float:
        """The least distance in the features that are known, over the leaves that cuts along these lead to."""
        known = ~np.isnan(row)

        def least(node: Node) -> float:
            if not node.sides:
                leaf = next(iter(node.rows.values()))
                return float(np.abs(leaf - row)[known].sum())
            if known[node.axis]:
                return least(node.sides[node.side_of(row)])
            return min(map(least, node.sides))

        assert self.root is not None
        return least(self.root)


class NaiveForest:
    def __init__(self, samples: int, seeds: Any, states: Any, decay: float) -> None:
        self.samples, self.seeds, self.decay = samples, [int(seed) for seed in seeds], decay
        self.trees = [NaiveTree(int(state)) for state in states]
        self.keys: list[list[float]] = [[] for _ in self.trees]
        self.rows: list[list[np.ndarray]] = [[] for _ in self.trees]

    def shares(self, row: np.ndarray) -> np.ndarray:
        return np.mean([tree.shares(row) for tree in self.trees], axis=0)

    def learn(self, row: np.ndarray, number: int, time: float) -> None:
        for tree, seed, keys, rows in zip(self.trees, self.seeds, self.keys, self.rows, strict=True):
            key = key_of(seed, number, time, self.decay)
            if len(keys) < self.samples:
                keys.append(key)
                rows.append(row)
                tree.insert(len(keys) - 1, row)
            elif key < max(keys):
                slot = keys.index(max(keys))
                tree.remove(slot)
                tree.insert(slot, row)
                keys[slot], rows[slot] = key, row
