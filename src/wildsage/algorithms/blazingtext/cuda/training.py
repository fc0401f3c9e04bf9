"""Epochs on the GPU, in the place of the CPU's: all else about a job stays as it is.

Rows go to the GPU before the first epoch and come back after each, for validation, checkpoints and the model.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import cuda

from wildsage.algorithms.blazingtext import epochs, word_epochs
from wildsage.algorithms.blazingtext.cuda import lines as line_kernels
from wildsage.algorithms.blazingtext.cuda import words as word_kernels
from wildsage.algorithms.blazingtext.cuda.device import check_room, resident
from wildsage.algorithms.blazingtext.cuda.draws import Workspace
from wildsage.algorithms.blazingtext.cuda.lanes import LANES, WARPS, columns_of
from wildsage.algorithms.blazingtext.cuda.shares import (
    LINES_AT_ONCE,
    WORDS_AT_ONCE,
    held_by_lines,
    held_by_words,
    shares,
)
from wildsage.algorithms.blazingtext.kernels.predict import NEGATIVE, SOFTMAX
from wildsage.algorithms.blazingtext.kernels.random import GROUP
from wildsage.algorithms.blazingtext.kernels.supervised import Lines
from wildsage.algorithms.blazingtext.losses import NEGATIVE_POWER
from wildsage.kernels.vector import padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.features import Numbering
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters

WORDS_EACH = 20_000  # of a corpus, for each sentence in flight
LINES_EACH = 500  # of a corpus, for each line in flight
BATCH = 256  # words that a block draws at a time
BATCH_TARGETS = 1 << 16  # output rows of them, at most
# Multiplications of each block between two looks at the stop flag: about a second, and 100 million words of all blocks.
LAUNCH = 1 << 30


def on_device(arrays: Any) -> Any:
    """A named tuple, with its arrays on the device. An empty one becomes a single zero: the device has none."""
    return type(arrays)(
        *(
            cuda.to_device(value if value.size else np.zeros(1, value.dtype))
            if isinstance(value, np.ndarray)
            else value
            for value in arrays
        )
    )


class WordTraining(word_epochs.Training):
    """Epochs of word vectors. A part is what one block trains: there are as many as sentences in flight."""

    batch_words = BATCH
    batch_targets = BATCH_TARGETS
    chunk_work = LAUNCH
    keeps_copies = False

    def shares(self, words: int) -> int:
        if self.parameters.deterministic:
            return 1
        room = resident(1, word_kernels.shared_bytes(self.width, self.parameters.window_size))
        return max(1, min(room, words // WORDS_EACH))

    def _prepare(self) -> None:
        self._device: tuple[Any, ...] | None = None

    def _upload(self) -> tuple[Any, ...]:
        """All that the kernel takes, on the device."""
        parameters, blocks, room = self.parameters, len(self.parts), 2 * self.batch
        composed, window = self.subwords.there, parameters.window_size
        sizes = np.array([part.size for part in self.parts], np.int64)
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        stream = np.concatenate(self.parts)
        text = word_kernels.Text(
            stream, begins, np.concatenate(self.positions), np.zeros(blocks, np.int64), np.concatenate(self.random)
        )
        ring = (2 * window + 1) * LANES * columns_of(self.width)
        extra = room if composed else 1
        shapes = {
            "words": room, "lefts": room, "rights": room, "firsts": room + 1, "targets": room * self.groups * GROUP,
            "patterns": room * self.groups, "slots": room, "kept": 1 if composed else ring, "rows": extra,
            "distinct": extra, "local": extra * self.width, "composed": extra * self.width,
        }  # fmt: skip
        check_room(4 * blocks * sum(shapes.values()) + stream.nbytes + self.table.nbytes)
        floats = ("kept", "local", "composed")
        work = Workspace(**{
            name: cuda.device_array((blocks, size), np.float32 if name in floats else np.int32)
            for name, size in shapes.items()
        })  # fmt: skip
        firsts: Any = work.firsts
        firsts.copy_to_device(np.zeros((blocks, room + 1), np.int32))
        counts = self.vocabulary.word_counts
        weights = counts.astype(np.float64) ** word_epochs.NEGATIVE_POWER
        held = held_by_words(counts, weights, self.chances, self.subwords, self.batch)
        taken = shares(*held, blocks - 1, WORDS_AT_ONCE / parameters.learning_rate)
        kernel = word_kernels.make_kernel(self.width, window, cbow=parameters.mode == "cbow", composed=composed)
        rows = self._rows(self.table)
        return kernel, on_device(text), on_device(self.chances), on_device(rows), on_device(taken), work

    def _run(self, sums: list[NDArray[np.float64]], tell: Callable[[], None]) -> None:
        if self._device is None:
            self._device = self._upload()
        kernel, text, chances, rows, taken, work = self._device
        blocks, sizes = len(self.parts), np.array([part.size for part in self.parts], np.int64)
        steps = word_kernels.Steps(
            float(self.parameters.learning_rate), self.position.epoch, self.parameters.epochs,
            0.0 if self.parameters.cbow_mean_gradient else 1.0,
        )  # fmt: skip
        text.positions.copy_to_device(np.concatenate(self.positions))
        found = np.zeros((blocks, 2))
        device_sums = cuda.to_device(found)
        while not self.epoch_is_done and not self.stop.is_set() and math.isfinite(found[:, 0].sum()):
            # Counted from the beginning, so that a resumed job has the same ones.
            ends = np.minimum((np.concatenate(self.positions) // self.chunk + 1) * self.chunk, sizes)
            text.ends.copy_to_device(ends)
            kernel[blocks, LANES](text, chances, rows, taken, work, steps, device_sums)
            positions = text.positions.copy_to_host()
            found = device_sums.copy_to_host()
            for k in range(blocks):
                self.positions[k][0] = positions[k]
                sums[k][:] = found[k]
            tell()
        inputs = self.input_rows * self.width
        self.table[:inputs], self.table[inputs:] = rows.inputs.copy_to_host(), rows.outputs.copy_to_host()
        for state, value in zip(self.random, text.random.copy_to_host(), strict=True):
            state[0] = value


def cut(whole: Lines, count: int) -> list[Lines]:
    """Lines in so many parts of about as many tokens each. They have one table of entries, and one of labels."""
    wanted = whole.tokens[-1] * np.arange(1, count) // count
    bounds = [0, *np.searchsorted(whole.tokens, wanted).tolist(), whole.starts.size - 1]
    return [
        Lines(
            whole.rows, whole.weights, whole.starts[begin : end + 1], whole.inverses[begin:end], whole.labels,
            whole.label_starts[begin : end + 1], whole.tokens[begin : end + 1] - whole.tokens[begin],
        )
        for begin, end in pairwise(bounds)
    ]  # fmt: skip


class LineTraining(epochs.Training):
    """Epochs of a classifier. A part is what one block trains: there are as many as lines in flight."""

    def __init__(
        self, parameters: BlazingTextHyperparameters, numbering: Numbering, parts: list[Lines], *more: Any
    ) -> None:
        """As epochs.Training; the lines come as one part."""
        entries = int(parts[0].starts[-1])  # behind them the arrays are empty
        whole = parts[0]._replace(rows=parts[0].rows[:entries], weights=parts[0].weights[:entries])
        self._whole: Lines | None = whole
        self._device: tuple[Any, ...] | None = None
        lines, blocks = whole.starts.size - 1, 1
        if not parameters.deterministic:
            room = resident(WARPS, line_kernels.shared_bytes(padded(parameters.vector_dim)))
            blocks = max(1, min(room, lines // LINES_EACH))
        super().__init__(parameters, numbering, cut(whole, blocks), *more)

    def _upload(self) -> tuple[Any, ...]:
        """All that the kernel takes, on the device."""
        blocks, loss = len(self.parts), self.loss
        sizes = np.array([part.starts.size - 1 for part in self.parts], np.int64)
        places = line_kernels.Places(
            np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
            np.zeros(blocks, np.int64),
            np.zeros(blocks, np.int64),
            np.concatenate(self.random),
            np.zeros((blocks, self.classes if loss.kind == SOFTMAX else 1), np.float32),
            np.zeros((blocks, 1 + loss.negatives if loss.kind == NEGATIVE else 1), np.int64),
        )
        kernel = line_kernels.make_kernel(self.width, loss.kind)
        whole, counts = cast(Lines, self._whole), self.label_counts
        check_room(sum(array.nbytes for array in (*whole, self.table, self.output)) + places.scores.nbytes)
        weights = counts.astype(np.float64) ** NEGATIVE_POWER
        held = held_by_lines(whole, self.table.size // self.width, counts, weights, loss)
        taken = shares(*held, blocks - 1, LINES_AT_ONCE / self.parameters.learning_rate)
        arrays = on_device(whole), on_device(loss), cuda.to_device(self.table), cuda.to_device(self.output)
        self._whole = None
        return kernel, *arrays, on_device(taken), on_device(places)

    def _run(self, sums: list[NDArray[np.float64]], tell: Callable[[], None]) -> None:
        if self._device is None:
            self._device = self._upload()
        kernel, lines, loss, table, output, taken, places = self._device
        sizes = np.array([part.starts.size - 1 for part in self.parts], np.int64)
        entries = int(self.parts[-1].starts[-1]) / max(1, int(sizes.sum()))
        step = max(1, int(LAUNCH // (self.width * (entries + 2 * self.classes))))
        steps = line_kernels.Steps(float(self.parameters.learning_rate), self.position.epoch, self.parameters.epochs)
        found = np.zeros((len(self.parts), 2))
        device_sums = cuda.to_device(found)
        while not self.epoch_is_done and not self.stop.is_set() and math.isfinite(found[:, 0].sum()):
            done = np.array(self.position.lines, np.int64)
            ends = np.minimum(done + step, sizes)
            places.lines.copy_to_device(done)
            places.ends.copy_to_device(ends)
            kernel[len(self.parts), LANES * WARPS](lines, loss, table, output, taken, places, steps, device_sums)
            found = device_sums.copy_to_host()
            for k, total in enumerate(found):
                sums[k][:] = total
            self.position.lines = ends.tolist()
            tell()
        table.copy_to_host(self.table)
        output.copy_to_host(self.output)
        for state, value in zip(self.random, places.random.copy_to_host(), strict=True):
            state[0] = value
