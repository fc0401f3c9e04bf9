"""Files of this machine: linked instead of copied, holes kept, folders made whole; and what a failing disk means."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from wildsage.contract.errors import ClientError, InternalServerError
from wildsage.contract.files import beside_name, new_file
from wildsage.platform import locks

CHUNK_BYTES = 1 << 20  # the unit of reading and writing
LOCK = ".lock"  # of a folder whose entries come and go


@contextlib.contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError into the error of the one who can fix it, with what was being done and where."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InternalServerError(f"no room on the disk while {doing} {path}: {said}") from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError | IsADirectoryError):
            raise ClientError(f"{doing} {path}: {said} ({error.filename or path})") from error
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS):
            raise ClientError(f"{doing} {path}: {said}") from error
        raise InternalServerError(f"{doing} {path}: {said}") from error


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder`, absent or empty, when the block has ended well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = beside_name(folder)
    beside.mkdir()
    try:
        yield beside
        os.rename(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent` that is gone after the block; those of processes that were killed are removed too.

    Its maker holds a lock on it for as long as it lives, which tells the one from the other.
    """
    with contextlib.ExitStack() as holding:
        with disk_errors("making a folder in", parent):
            parent.mkdir(parents=True, exist_ok=True)
            with locks.held(parent / LOCK):
                for stale in parent.glob(".*.scratch"):
                    with contextlib.suppress(OSError), _held(stale):
                        shutil.rmtree(stale, ignore_errors=True)
                scratch = parent / f".{os.urandom(6).hex()}.scratch"
                scratch.mkdir()
                holding.enter_context(_held(scratch))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. Raises BlockingIOError if another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def next_data(descriptor: int, start: int, size: int) -> int:
    """The first place from `start` on that is not in a hole; `start` itself where holes cannot be asked for."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else start  # ENXIO: a hole up to the end
    except AttributeError:
        return start


def link_file(source: Path, target: Path) -> None:
    """Let `target` be the file `source`, without a copy.

    A hard link first: it lasts when the source is deleted while the job runs, and inside a container. A symbolic one
    where that is refused: another disk, or a file of another user.
    """
    real = os.path.realpath(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(real, target)
    except OSError:
        os.symlink(real, target)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file of this machine; holes are not read."""
    with (
        disk_errors("writing", target),
        open(source, "rb", buffering=0) as file,
        new_file(target, durable=True) as copy,
    ):
        size = os.fstat(file.fileno()).st_size
        position = 0
        while (position := next_data(file.fileno(), position, size)) < size:
            data = os.pread(file.fileno(), CHUNK_BYTES, position)
            if not data:
                break
            copy.seek(position)
            copy.write(data)
            position += len(data)
        copy.truncate(size)
