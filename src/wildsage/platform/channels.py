"""Training data into the folder of its channel: linked where it lies on this machine, else downloaded."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from wildsage.contract.errors import ClientError, DataError, InternalServerError, nearest
from wildsage.contract.files import new_file
from wildsage.platform.archives import BrokenArchive, Gunzip
from wildsage.platform.files import CHUNK_BYTES, disk_errors, link_file, scratch_folder
from wildsage.platform.locations import Location, download, in_parallel, missing, open_filesystem, remote_files, resolve


def place_channel(
    uri: str, folder: Path, home: Path, *, s3_data_type: str = "S3Prefix", compression: str = "None"
) -> list[Path]:
    """Put a channel's files into `folder`, with the layout they have below the prefix; return them in order of name.

    Files of this machine are hard-linked, or else linked symbolically; others are downloaded, several at once.
    Hidden files below a folder are left out. compression "Gzip" stores them uncompressed, without the .gz.
    An augmented manifest is placed as it is.
    Raises ClientError for a missing path (with the nearest name), nothing below it, or a manifest that is not one.
    """
    if compression not in ("None", "Gzip"):
        raise ClientError(
            f"compression {compression!r} is not allowed: None or Gzip{nearest(compression, ['None', 'Gzip'])}"
        )
    location = resolve(uri, home)
    if s3_data_type == "S3Prefix":
        placed = _place_prefix(location, folder, home)
    elif s3_data_type == "ManifestFile":
        placed = _place_manifest(location, folder, home)
    elif s3_data_type == "AugmentedManifestFile":
        name = PurePosixPath(location.path or location.url).name
        placed = _place_files([(location, name)], folder, home)
    else:
        kinds = ["S3Prefix", "ManifestFile", "AugmentedManifestFile"]
        raise ClientError(
            f"S3DataType {s3_data_type!r} is not allowed: {', '.join(kinds)}{nearest(s3_data_type, kinds)}"
        )
    if compression == "Gzip":
        placed = [_gunzip(path) for path in placed]
    return sorted(placed)


def _place_prefix(location: Location, folder: Path, home: Path) -> list[Path]:
    if location.path is None:
        filesystem, root = open_filesystem(location, home)
        targets = {path: folder / name for path, name in remote_files(filesystem, root, location).items()}
        download(filesystem, targets, location.uri)
        return list(targets.values())
    placed = []
    with disk_errors("placing files in", folder):
        for source, name in _local_files(location):
            link_file(source, folder / name)
            placed.append(folder / name)
    return placed


def _local_files(location: Location) -> list[tuple[Path, str]]:
    """Files and their names below the channel: of a folder, one file, or all whose path begins with an S3 prefix."""
    root = location.path
    if root is None:
        raise InternalServerError(f"{location.uri} is not on this machine")
    if root.is_file() and not location.uri.endswith("/"):
        return [(root, root.name)]
    if root.is_dir():
        starts = [(root, root)]
    elif location.prefix and root.parent.is_dir():
        starts = [(found, root.parent) for found in sorted(root.parent.iterdir()) if found.name.startswith(root.name)]
    else:
        starts = []
    if not starts:
        raise missing(root)
    found = []
    for start, base in starts:
        if start.is_file():
            found.append((start, str(start.relative_to(base))))
            continue
        for place, folders, names in os.walk(start, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if _is_loop(Path(place), start):
                folders.clear()
                continue
            paths = (Path(place) / name for name in sorted(names) if not name.startswith("."))
            found += [(path, str(path.relative_to(base))) for path in paths if path.is_file()]
    if not found:
        raise ClientError(f"{root} has no files (hidden ones do not count)")
    return found


def _is_loop(place: Path, start: Path) -> bool:
    """Whether a folder is one of its own parents, by way of a link."""
    if place == start or not place.is_symlink():
        return False
    return Path(os.path.realpath(place.parent)).is_relative_to(os.path.realpath(place))


def _place_manifest(location: Location, folder: Path, home: Path) -> list[Path]:
    """A manifest: [{"prefix": "s3://bucket/data/"}, "part-0.csv", …]; each file keeps its name after the prefix."""
    with _fetched(location, home) as path:
        try:
            entries = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"it is not a manifest: {error}", file=location.uri) from error
    shape = 'a manifest is a JSON list: [{"prefix": "s3://bucket/data/"}, "part-0.csv", …]'
    if not isinstance(entries, list) or not entries:
        raise DataError(shape, file=location.uri)
    prefix = entries[0].get("prefix") if isinstance(entries[0], dict) else None
    if not isinstance(prefix, str):
        raise DataError(f"its first entry has no prefix; {shape}", file=location.uri)
    files = []
    for number, key in enumerate(entries[1:], 1):
        if not isinstance(key, str) or not key.strip("/") or ".." in key.split("/") or "\0" in key:
            raise DataError(f"entry {number} is not a key below the prefix: {key!r}", file=location.uri)
        files.append((resolve(prefix + key, home), key.lstrip("/")))
    if not files:
        raise DataError("it names no files", file=location.uri)
    return _place_files(files, folder, home)


def _place_files(files: list[tuple[Location, str]], folder: Path, home: Path) -> list[Path]:
    """Put single files, here or remote, into the folder under the given names."""

    def place(item: tuple[Location, str]) -> None:
        location, name = item
        target = folder / name
        if location.path is None:
            filesystem, path = open_filesystem(location, home)
            download(filesystem, {path: target}, location.uri)
        elif not os.path.exists(location.path):
            raise missing(location.path)
        elif not os.path.isfile(location.path):
            raise ClientError(f"{location.path} is not a file")
        else:
            with disk_errors("placing", target):
                link_file(location.path, target)

    in_parallel(place, files)
    return [folder / name for _, name in files]


@contextlib.contextmanager
def _fetched(location: Location, home: Path) -> Iterator[Path]:
    """A location's one file on this machine, for as long as the block lasts."""
    if location.path is None:
        with scratch_folder(home / "tmp") as scratch:
            filesystem, path = open_filesystem(location, home)
            download(filesystem, {path: scratch / "file"}, location.uri)
            yield scratch / "file"
        return
    if not os.path.exists(location.path):
        raise missing(location.path)
    if not os.path.isfile(location.path):
        raise ClientError(f"{location.path} is not a file")
    with disk_errors("reading", location.path):
        yield location.path


def _gunzip(path: Path) -> Path:
    """Replace a gzipped file by what it holds, without .gz in its name; return the new path."""
    target = path.with_name(path.name.removesuffix(".gz") or path.name)
    with disk_errors("uncompressing", path), open(path, "rb", buffering=0) as file:
        if file.read(2) != b"\x1f\x8b":
            raise DataError("it is not a gzip file, though the channel's compression is Gzip", file=path)
        file.seek(0)
        stream = Gunzip(file)
        with new_file(target, durable=True) as plain:
            try:
                while data := stream.read(CHUNK_BYTES):
                    plain.write(data)
            except BrokenArchive as error:
                raise DataError(str(error), file=path) from error
        if target != path:
            path.unlink()
    return target
