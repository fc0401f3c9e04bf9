"""Epochs on the GPU, in the place of the CPU's: all else about a job stays as it is.

Rows go to the GPU before the first epoch and come back after each, for validation, checkpoints and the model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from wildsage.algorithms.blazingtext import word_vectors
from wildsage.algorithms.blazingtext.cuda import words
from wildsage.algorithms.blazingtext.cuda.device import in_flight
from wildsage.algorithms.blazingtext.cuda.draws import Workspace
from wildsage.algorithms.blazingtext.kernels.random import GROUP, Chances
from wildsage.algorithms.blazingtext.kernels.word_vectors import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BATCH = 256  # words that a block draws at a time
BATCH_TARGETS = 1 << 16  # output rows of them, at most
# Multiplications of each block between two looks at the stop flag: about a second, and 100 million words of all blocks.
LAUNCH = 1 << 30


def on_device(arrays: Any) -> Any:
    """A named tuple, with its arrays on the device. An empty one becomes a single zero: the device has none."""
    return type(arrays)(
        *(
            cuda.to_device(value if value.size else np.zeros(1, value.dtype)) if isinstance(value, np.ndarray) else value
            for value in arrays
        )
    )


class WordTraining(word_vectors.Training):
    """Epochs of word vectors. A part is what one block trains: there are as many as sentences in flight."""

    batch_words = BATCH
    batch_targets = BATCH_TARGETS
    chunk_work = LAUNCH

    def shares(self, words: int) -> int:
        return 1 if self.parameters.deterministic else in_flight(words)

    def _prepare(self) -> None:
        self._device: tuple[Any, ...] | None = None

    def _upload(self) -> tuple[Any, ...]:
        """All that the kernel takes, on the device."""
        parameters, blocks, room = self.parameters, len(self.parts), 2 * self.batch
        composed, window = self.subwords.there, parameters.window_size
        sizes = np.array([part.size for part in self.parts], np.int64)
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        stream = np.concatenate(self.parts)
        text = words.Text(
            stream, begins, np.concatenate(self.positions), np.zeros(blocks, np.int64), np.concatenate(self.random)
        )
        ring = (2 * window + 1) * words.LANES * words.columns_of(self.width)
        extra = room if composed else 1
        shapes = {
            "words": room, "lefts": room, "rights": room, "firsts": room + 1, "targets": room * self.groups * GROUP,
            "patterns": room * self.groups, "slots": room, "kept": 1 if composed else ring, "rows": extra,
            "distinct": extra, "local": extra * self.width, "composed": extra * self.width,
        }  # fmt: skip
        floats = ("kept", "local", "composed")
        work = Workspace(**{
            name: cuda.device_array((blocks, size), np.float32 if name in floats else np.int32)
            for name, size in shapes.items()
        })  # fmt: skip
        work.firsts.copy_to_device(np.zeros((blocks, room + 1), np.int32))
        kernel = words.make_kernel(self.width, window, cbow=parameters.mode == "cbow", composed=composed)
        return kernel, on_device(text), on_device(self.chances), on_device(self._rows(self.table)), work

    def _run(self, sums: list[NDArray[np.float64]], tell: Callable[[], None]) -> None:
        if self._device is None:
            self._device = self._upload()
        kernel, text, chances, rows, work = self._device
        blocks, sizes = len(self.parts), np.array([part.size for part in self.parts], np.int64)
        steps = words.Steps(
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
            kernel[blocks, words.LANES](text, chances, rows, work, steps, device_sums)
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
