"""Lock files: one for each record, held by whoever starts, finishes, restarts or removes what stands behind it.

A lock is held on an open file, so that it ends with its holder, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wildsage.contract.errors import InternalServerError

_LOOK_S = 0.01


@contextmanager
def held(path: Path, *, wait_s: float | None = None) -> Iterator[bool]:
    """Hold the lock file `path`; yields whether it is held. wait_s: None waits as long as it takes, 0 not at all."""
    descriptor = _take(path, wait_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            # Explicitly: a process that another thread forked meanwhile shares the lock until it is given up.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _take(path: Path, wait_s: float | None) -> int | None:
    deadline = None if wait_s is None else time.monotonic() + wait_s
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if deadline is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(_LOOK_S)
            continue
        except OSError as error:
            os.close(descriptor)
            raise InternalServerError(f"{path}: this file system has no file locks ({error.strerror})") from error
        # The file may have been removed, or made anew, between our open and our lock: then we hold nothing.
        if _same_file(descriptor, path):
            return descriptor
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def discard(path: Path) -> None:
    """Remove a lock file; only its holder may."""
    path.unlink(missing_ok=True)
