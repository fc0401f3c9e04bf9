"""Models as artifacts: packed to any location, unpacked once. Also the one place to import all of artifacts from.

Nothing heavy is imported: this runs between fit() and the first line of training.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from wildsage.contract.errors import ClientError, WildsageError
from wildsage.engines.processes import boot
from wildsage.platform import locks, runs
from wildsage.platform.archives import Limits, is_archive, members_of, pack, unpack
from wildsage.platform.channels import place_channel
from wildsage.platform.files import LOCK, disk_errors, link_file, scratch_folder
from wildsage.platform.locations import (
    Location,
    download,
    join,
    missing,
    open_filesystem,
    remote_errors,
    remote_files,
    resolve,
    upload,
)
from wildsage.platform.names import FOLDERS

__all__ = [
    "Limits",
    "Location",
    "join",
    "open_model",
    "pack",
    "place_channel",
    "publish",
    "remember",
    "resolve",
    "still_open",
    "unpack",
    "upload",
]

logger = logging.getLogger(__name__)

KEPT_BYTES = 4 << 30  # unpacked models on the disk, with those that are in use
KEPT_S = 3600.0  # since it was last opened: longer than from there to the process that has it open


def publish(folder: Path, uri: str, home: Path) -> None:
    """Pack a folder to a location of any kind, whole or not at all."""
    location = resolve(uri, home)
    if location.path is not None:
        pack(folder, location.path)
        return
    with scratch_folder(home / "tmp") as scratch:
        archive = scratch / "model.tar.gz"
        pack(folder, archive)
        upload(archive, uri, home)


def open_model(uri: str, home: Path) -> Path:
    """The folder with a model's files: of an archive, a plain folder, or a single file such as a fastText .bin.

    A folder of this machine is returned itself. All else is kept below <home>/models, under a key that changes with
    the archive, so that it is unpacked or downloaded once.
    Raises ClientError if there is nothing at the URI, or nothing in it, or the archive is broken or hostile.
    """
    location = resolve(uri, home)
    if location.path is None:
        return _open_remote(location, home)
    path = location.path
    if os.path.isdir(path):
        with disk_errors("reading", path):
            if not any(path.iterdir()):
                raise ClientError(f"{path} has no model: the folder is empty")
        return path
    if not os.path.exists(path):
        raise missing(path)

    def fill(folder: Path) -> None:
        if is_archive(path):
            unpack(path, folder)
        else:
            folder.mkdir()
            link_file(path, folder / path.name)

    return _cached(_local_key(path), uri, home, fill)


def still_open(link: Path) -> Path | None:
    """The unpacked model that a run has linked, if it can still be trusted; None otherwise."""
    folder = link.resolve()
    return folder if folder.is_dir() and _is_valid(folder.parent) else None


def remember(uri: str, folder: Path, home: Path) -> None:
    """Note that `folder` holds what the archive at `uri` would unpack to, so that open_model() need not.

    The files are hard-linked; where that cannot be done nothing happens, and the first open_model() unpacks.
    """
    location = resolve(uri, home)
    key = _local_key(location.path) if location.path is not None else _remote_key(*open_filesystem(location, home))

    def fill(beside: Path) -> None:
        beside.mkdir()
        for header, source in members_of(folder):
            target = beside / header.name
            if header.isdir():
                target.mkdir()
            elif header.issym():
                target.symlink_to(header.linkname)
            else:
                os.link(source, target)

    try:
        _cached(key, uri, home, fill)
    except WildsageError as error:  # another disk, or one without hard links
        logger.debug("%s is not linked into the cache: %s", folder, error)


def _cached(key: str, uri: str, home: Path, fill: Callable[[Path], None]) -> Path:
    """The folder <home>/models/<key>/files; `fill` makes it, given a path that does not exist yet.

    An entry counts only for the start of the machine that made it: its files are not forced to the disk, which would
    cost more than unpacking, so that after a power cut they might be empty.
    """
    models = home / "models"
    entry = models / key
    with disk_errors("making", models):
        models.mkdir(parents=True, exist_ok=True)
        with locks.held(models / LOCK):
            if _is_valid(entry):
                os.utime(entry)
                return entry / "files"
    with scratch_folder(models) as scratch, disk_errors("making", entry):
        fill(scratch / "files")
        if not any((scratch / "files").iterdir()):
            raise ClientError(f"{uri} has no model: it is empty")
        (scratch / "origin.json").write_text(json.dumps({"uri": uri, "boot": boot()}), "utf-8")
        with locks.held(models / LOCK):
            if not _is_valid(entry):  # else another process was faster
                shutil.rmtree(entry, ignore_errors=True)
                os.rename(scratch, entry)
            os.utime(entry)
            with suppress(OSError):  # what is not dropped now is dropped another time
                _make_room(home)
    return entry / "files"


def _make_room(home: Path) -> None:
    """Drop unpacked models beyond KEPT_BYTES, longest unused first, and those that nobody can ask for any more: their
    archive is gone, or the machine was started anew. Under the lock.

    What an endpoint or a transform job has linked stays, and so does what was opened within KEPT_S: its opener may be
    about to link or load it. All can be had again from its archive.
    """
    links = (link for kind in FOLDERS.values() for link in (home / kind).glob(f"*/{runs.MODEL_LINK}"))
    in_use = {link.resolve().parent.name for link in links}
    kept = 0
    for entry in sorted((home / "models").glob("[!.]*"), key=_last_opened, reverse=True):
        kept += sum(file.lstat().st_blocks * 512 for file in entry.rglob("*"))
        if entry.name in in_use or time.time() - _last_opened(entry) < KEPT_S:
            continue
        if kept > KEPT_BYTES or not _is_valid(entry) or _is_orphan(entry, home):
            shutil.rmtree(entry, ignore_errors=True)


def _last_opened(entry: Path) -> float:
    return entry.stat().st_mtime


def _is_orphan(entry: Path, home: Path) -> bool:
    """Whether the archive was on this machine and is there no more."""
    try:
        path = resolve(json.loads((entry / "origin.json").read_text("utf-8"))["uri"], home).path
    except (OSError, ValueError, KeyError, TypeError, WildsageError):
        return False
    return path is not None and not path.exists()


def _is_valid(entry: Path) -> bool:
    try:
        return bool(json.loads((entry / "origin.json").read_text("utf-8"))["boot"] == boot())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()[:32]


def _local_key(path: Path) -> str:
    with disk_errors("reading", path):
        found = os.stat(path)
        return _key(os.path.realpath(path), found.st_size, found.st_mtime_ns, found.st_ino)


def _remote_key(filesystem: Any, path: str) -> str:
    with remote_errors("looking at", path):
        facts = filesystem.info(path)
        tag = facts.get("ETag") or filesystem.checksum(path)
        return _key(filesystem.unstrip_protocol(path), facts.get("size"), tag)


def _open_remote(location: Location, home: Path) -> Path:
    filesystem, root = open_filesystem(location, home)
    files = remote_files(filesystem, root, location)
    single = list(files) == [root]
    key = _remote_key(filesystem, root) if single else _key(*(_remote_key(filesystem, path) for path in files))

    def fill(folder: Path) -> None:
        if not single:
            download(filesystem, {path: folder / name for path, name in files.items()}, location.uri)
            return
        with scratch_folder(home / "tmp") as scratch:
            file = scratch / PurePosixPath(root).name
            download(filesystem, {root: file}, location.uri)
            if is_archive(file):
                unpack(file, folder)
            else:
                folder.mkdir()
                os.rename(file, folder / file.name)

    return _cached(key, location.uri, home, fill)
