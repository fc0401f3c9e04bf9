"""What random cut forest keeps between batches: the samples of its trees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.randomcutforest.forest import Forest
from wildsage.algorithms.randomcutforest.model import RandomCutForestModel, level
from wildsage.algorithms.randomcutforest.shingles import Shingler
from wildsage.algorithms.streaming import State
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.randomcutforest.hyperparameters import RandomCutForestHyperparameters
    from wildsage.algorithms.streaming import Workers
    from wildsage.data.batch import Batch

FIRST_PIECE = 16  # rows of a stream, after which constant columns are looked for
RANK_BITS = 40  # rows of one worker are numbered below that of the next


class ForestState(State):
    """A sample of the rows for each tree; its size does not grow with the data.

    seen: rows so far (shingles, where there are any). scores: where the score of each row goes before it is learnt;
    then the trees are kept up with the samples, else they are only grown in the end.
    """

    def __init__(
        self,
        parameters: RandomCutForestHyperparameters,
        feature_dim: int,
        workers: Workers,
        *,
        rank: int = 0,
        scores: ScoreFile | None = None,
    ) -> None:
        self.parameters, self.feature_dim, self.workers, self.rank, self.scores = (
            parameters, feature_dim, workers, rank, scores,
        )  # fmt: skip
        self.seen = 0
        self.shingler = Shingler(parameters.shingle_size, feature_dim)
        self.forest = Forest(
            parameters.num_trees,
            parameters.num_samples_per_tree,
            feature_dim * parameters.shingle_size,
            seed=parameters.seed,
            decay=parameters.time_decay,
        )

    def go_on_from(self, model: RandomCutForestModel) -> None:
        """Begin with the samples of a model of the same shape."""
        self.seen = model.seen
        self.forest.points[...], self.forest.keys[...] = model.forest.points, model.forest.keys
        self.forest.filled[...] = model.forest.filled

    def update(self, batch: Batch) -> None:
        """Offer the rows to the samples, and score them before that if scores are wanted."""
        rows = batch.features
        if self.parameters.shingle_size > 1:
            rows = self.shingler.take(batch.dense())
        number = (self.rank << RANK_BITS) + self.seen
        if self.scores is None:
            if len(rows):
                self.forest.sample(rows, number, self.seen, self.workers)
        else:
            self.scores.add(np.zeros(len(batch) - len(rows)))  # the first rows of a series have no whole shingle yet
            self.scores.add(self._stream(rows, number))
        self.seen += len(rows)

    def _stream(self, rows: NDArray[np.float32] | SparseRows, number: int) -> NDArray[np.float64]:
        scores, begin = np.zeros(len(rows)), 0
        while begin < len(rows):
            # What is constant is looked up anew now and then, above all in the first rows.
            end = min(len(rows), begin + max(FIRST_PIECE, self.seen + begin))
            part = rows.part(begin, end) if isinstance(rows, SparseRows) else rows[begin:end]
            asked = self._levelled(part) if self.seen + begin else None
            scores[begin:end] = self.forest.stream(part, number + begin, self.seen + begin, self.workers, asked)
            begin = end
        return scores

    def _levelled(self, rows: NDArray[np.float32] | SparseRows) -> NDArray[np.float32] | None:
        """Rows with the floor of constant columns, None if there are none."""
        if not self.parameters.scale_floor:
            return None
        self.forest.grow(self.workers)
        columns, values = self.forest.constants()
        if not len(columns):
            return None
        asked = rows.dense() if isinstance(rows, SparseRows) else rows.copy()
        level(asked, columns, values, self.parameters.scale_floor)
        return asked

    def merge(self, other: Self) -> None:
        """Take in another's samples: those of all rows are those of the least keys among both.

        Where the rows of the two are numbered apart, as those of workers and of parts of a file are, that is what one
        state would have kept of all of them, to the bit. The clocks of time_decay are taken to run side by side.
        """
        self.forest.merge(other.forest)
        self.seen += other.seen

    def arrays(self) -> dict[str, NDArray[Any]]:
        written = 0 if self.scores is None else self.scores.flush()
        return {
            "points": self.forest.points,
            "keys": self.forest.keys,
            "filled": self.forest.filled,
            "tail": self.shingler.tail,
            "counts": np.array([self.seen, written], np.int64),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        forest = self.forest
        fresh = Forest(forest.count, forest.samples, forest.dim, seed=forest.seed, decay=forest.decay)
        fresh.points[...], fresh.keys[...], fresh.filled[...] = (arrays[name] for name in ("points", "keys", "filled"))
        tail, (seen, written) = arrays["tail"], arrays["counts"].tolist()
        if tail.shape[1:] != (self.feature_dim,) or len(tail) >= self.parameters.shingle_size or seen < 0:
            raise ValueError("the last rows are of another shape")
        if self.scores is not None:
            self.scores.cut_to(written)
        self.forest, self.shingler.tail, self.seen = fresh, tail.astype(np.float32), seen

    def finalise(self, feature_names: tuple[str, ...] | None = None) -> RandomCutForestModel:
        """The forest of the samples, with trees grown anew: equal samples give equal models."""
        forest = Forest(
            self.forest.count, self.forest.samples, self.forest.dim, seed=self.forest.seed, decay=self.forest.decay
        )
        forest.points, forest.keys, forest.filled = self.forest.points, self.forest.keys, self.forest.filled
        forest.grow(self.workers)
        parameters = self.parameters
        return RandomCutForestModel(
            forest,
            shingle_size=parameters.shingle_size,
            scale_floor=float(parameters.scale_floor),
            seen=self.seen,
            feature_names=feature_names,
        )


class ScoreFile:
    """Scores in the order of rows, one a line, under another name until they are all there."""

    def __init__(self, path: Path) -> None:
        self.path, self.beside = path, path.with_name(f".{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self.beside.exists():
            os.replace(path, self.beside)
        self._file = open(self.beside, "r+b" if self.beside.exists() else "w+b")  # noqa: SIM115 (it lives as long)
        self._fresh = True

    def add(self, scores: NDArray[np.float64]) -> None:
        if self._fresh:  # no checkpoint has said what of an earlier run counts
            self.cut_to(0)
        self._file.write("".join(f"{score:.6g}\n" for score in scores.tolist()).encode())

    def flush(self) -> int:
        """Make what was added last; returns how many bytes that are."""
        self._file.flush()
        return 0 if self._fresh else self._file.tell()

    def cut_to(self, size: int) -> None:
        """Go back to the first bytes. Raises ValueError if there are fewer."""
        if self._file.seek(0, os.SEEK_END) < size:
            raise ValueError(f"{self.beside.name} is shorter than it was")
        self._file.truncate(size)
        self._file.seek(size)
        self._fresh = False

    def finish(self) -> None:
        """Give the file its name."""
        self._file.flush()
        os.replace(self.beside, self.path)

    def close(self) -> None:
        self._file.close()
