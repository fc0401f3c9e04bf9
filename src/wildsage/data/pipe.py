"""A named pipe, one an epoch: train_0, train_1, …; that of the next epoch may appear late."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_S = 0.1  # between two looks at whether to stop


class Pipe:
    """The bytes that come through a named pipe. Whoever reads waits for its writer, unless `stopped` says so."""

    def __init__(self, path: Path, channel: str, stopped: Callable[[], bool]) -> None:
        self.name = path.name
        self._path, self._channel, self._stopped = path, channel, stopped
        self._descriptor: int | None = None

    def read_into(self, view: memoryview) -> int:
        descriptor = self._open()
        while descriptor is not None and not self._stopped():
            # Nothing is reported before the first writer has come, which a read alone could not tell from the end.
            events = self._poll.poll(WAIT_S * 1000)
            if not events:
                continue
            try:
                return os.readv(descriptor, [view])
            except BlockingIOError:
                continue
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror}", file=self.name) from error
        return 0

    def _open(self) -> int | None:
        while self._descriptor is None and not self._stopped():
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                select.select([], [], [], WAIT_S)
            except OSError as error:
                raise DataError(f"cannot be opened: {error.strerror}", file=self.name) from error
            else:
                self._poll = select.poll()
                self._poll.register(self._descriptor, select.POLLIN)
        return self._descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
