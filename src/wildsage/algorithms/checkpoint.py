"""A job's state on disk, whole or not at all."""

from __future__ import annotations

import json
import lzma
import os
import struct
import time
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.channels import InputMode
from wildsage.contract.files import is_beside_name, new_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.context import Reporter, TrainingContext
    from wildsage.contract.channels import Channel

CHECKPOINT_SHARE = 0.1  # of the time, at most, goes into checkpoints
CHECKPOINT_FORMAT = 1
# What damage makes zipfile and NumPy raise, found by damaging; RuntimeError for "encrypted" and unknown versions.
DAMAGED = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SyntaxError, MemoryError,
    zipfile.BadZipFile, zlib.error, struct.error, lzma.LZMAError, tokenize.TokenError,
)  # fmt: skip
WHOLE_BYTES = 64 << 20  # of a channel that is looked at whole, in some 30 ms; of more, pieces of each file
PIECE_BYTES, PIECES = 1 << 16, 16
WRITE_SPEED = 3e8  # bytes/s, what the first checkpoint is taken to be written at


class Checkpoint:
    """A job's state on disk: facts that JSON can hold, and arrays.

    fingerprint: what the state depends on; a checkpoint with another one is not this job's. size_bytes: about its size.
    """

    def __init__(self, path: Path, fingerprint: str, report: Reporter, size_bytes: int = 0) -> None:
        self.path, self.fingerprint, self.report = path, fingerprint, report
        self._written, self._cost = time.perf_counter(), size_bytes / WRITE_SPEED

    @property
    def is_due(self) -> bool:
        """Whether one more keeps to CHECKPOINT_SHARE."""
        return (time.perf_counter() - self._written) * CHECKPOINT_SHARE >= self._cost

    def write(self, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write it, whole or not at all."""
        begun = time.perf_counter()
        facts = {"format": CHECKPOINT_FORMAT, "fingerprint": self.fingerprint, **facts}
        with new_file(self.path) as file:
            np.savez(file, allow_pickle=False, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        self._written = time.perf_counter()
        self._cost = self._written - begun

    def resume(self, take: Callable[[dict[str, Any], Mapping[str, NDArray[Any]]], None]) -> bool:
        """Hand facts and arrays to `take`, if there is a checkpoint of this job. Tells the user if it cannot be used.

        `take` may raise what a damaged file makes it raise; what it changed by then must do no harm.
        """
        for left in self.path.parent.glob(f".{self.path.name}.*"):
            if is_beside_name(left.name):  # its writer was killed
                left.unlink(missing_ok=True)
        if not self.path.exists():
            return False
        try:
            # Opened here, since NumPy leaves open what it cannot read.
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                facts = json.loads(stored["facts"].tobytes())
                if facts["format"] != CHECKPOINT_FORMAT or facts["fingerprint"] != self.fingerprint:
                    self.report.say("the checkpoint is of another job (data or hyperparameters differ): starting anew")
                    return False
                take(facts, stored)
        except DAMAGED as error:
            self.report.say(f"the checkpoint cannot be read ({error}): starting anew")
            return False
        return True


def fingerprint(
    context: TrainingContext[Any],
    *arrays: NDArray[Any],
    channels: Collection[str] = ("train",),
    without: Collection[str] = (),
) -> str:
    """What a state depends on: hyperparameters, data, the worker's rank, and arrays, as of a model to go on from.

    channels: those whose data it depends on, where the job has them. without: hyperparameters that it does not depend
    on. A pipe's data is not known before it is read.
    """
    given = context.hyperparameters.model_dump(mode="json", exclude=set(without))
    # A default may mean another thing than the same value that was asked for.
    asked = sorted(context.hyperparameters.model_fields_set - set(without))
    data = [[name, _mark(context.channels[name])] for name in channels if name in context.channels]
    marks = [zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data) for array in arrays]
    return json.dumps([given, asked, data, context.rank, context.world_size, marks])


def _mark(channel: Channel) -> list[Any]:
    """A channel's type, and names, sizes and checksums of its files; one laid out anew has other times and links."""
    facts: list[Any] = [channel.content_type, channel.input_mode, channel.distribution]
    if channel.input_mode is InputMode.PIPE:
        return facts
    files = channel.files()
    whole = sum(path.stat().st_size for path in files) <= WHOLE_BYTES
    return [*facts, [[str(path.relative_to(channel.path)), *_checksum(path, whole=whole)] for path in files]]


def _checksum(path: Path, *, whole: bool) -> tuple[int, int]:
    """A file's size, and a checksum of it, or of pieces from its begin to its end."""
    found = 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        last = max(0, size - PIECE_BYTES)
        begins = range(0, size, PIECE_BYTES) if whole else sorted({last * k // (PIECES - 1) for k in range(PIECES)})
        for begin in begins:
            file.seek(begin)
            found = zlib.crc32(file.read(PIECE_BYTES), found)
    return size, found
