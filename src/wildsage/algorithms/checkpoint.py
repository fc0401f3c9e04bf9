"""A job's state on disk, whole or not at all."""

from __future__ import annotations

import json
import lzma
import struct
import time
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.files import is_beside_name, new_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.context import Reporter

CHECKPOINT_SHARE = 0.1  # of the time, at most, goes into checkpoints
CHECKPOINT_FORMAT = 1
# What damage makes zipfile and NumPy raise, found by damaging; RuntimeError for "encrypted" and unknown versions.
DAMAGED = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SyntaxError, MemoryError,
    zipfile.BadZipFile, zlib.error, struct.error, lzma.LZMAError, tokenize.TokenError,
)  # fmt: skip
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
