"""Paths and URLs of requests, checked and made to mean the same to everyone."""

from __future__ import annotations

import os
from pathlib import Path

from wildsage.contract.errors import ClientError
from wildsage.platform.locations import missing, open_filesystem, resolve


def absolute(uri: str, home: Path) -> str:
    """A path, or file://, as an absolute path: the caller's folder means nothing to a job. Other URLs as they are.

    Raises ClientError for what is no location.
    """
    location = resolve(uri, home)
    return str(location.path) if location.path is not None and not uri.startswith("s3://") else uri


def local_path(uri: str, home: Path) -> Path | None:
    """The path on this machine that the URI leads to; None for another store. Raises ClientError as `absolute`."""
    return resolve(uri, home).path


def check_source(uri: str, home: Path) -> None:
    """Raise ClientError for an input on this machine that is not there, or a store that cannot be reached from it.

    What is in another store is looked at when the job starts.
    """
    location = resolve(uri, home)
    path = location.path
    if path is None:
        open_filesystem(location, home)
        return
    if path.exists():
        return
    if location.prefix and path.parent.is_dir() and any(p.name.startswith(path.name) for p in path.parent.iterdir()):
        return
    raise missing(path)


def check_destination(uri: str, home: Path) -> None:
    """Raise ClientError for a folder that cannot be written to: better now than after the training."""
    location = resolve(uri, home)
    if location.path is None:
        open_filesystem(location, home)
        return
    there = next(path for path in (location.path, *location.path.parents) if path.exists())
    if not there.is_dir():
        raise ClientError(f"{uri} cannot be a folder: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ClientError(f"{uri} cannot be written to: no permission in {there}")
