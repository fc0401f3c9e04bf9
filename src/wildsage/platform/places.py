"""Where data is: paths of this machine, s3:// of its own buckets, and URLs of any store that fsspec knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from wildsage.contract.errors import ClientError, DataError, nearest


@dataclass(frozen=True)
class Item:
    """A file of an input. key: its place below the input's prefix; for a single file its name."""

    uri: str
    key: str


def absolute(uri: str) -> str:
    """A path without a scheme made absolute, as the caller's folder means nothing to a job; others as they are."""
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def local_path(uri: str, home: Path) -> Path | None:
    """The path on this machine: of a plain path, of file://, and of s3:// where the bucket is one of `home`'s."""
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme == "s3":
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        folder = home / "buckets" / bucket
        if bucket and folder.is_dir():
            return _below(folder, key, uri)
    return None


def check_source(uri: str, home: Path) -> None:
    """Raise ClientError for an input on this machine that is not there. Other stores are asked when the job starts."""
    path = local_path(uri, home)
    if path is None or path.exists() or _starting_with(path):
        return
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    where = "" if path.parent.is_dir() else f" (there is no folder {_first_missing(path)})"
    raise ClientError(f"{uri} does not exist{where}{nearest(path.name, siblings)}")


def listed(uri: str, data_type: str, home: Path) -> list[Item]:
    """The files of an input, in order. Raises ClientError for a manifest that is not one."""
    if data_type == "ManifestFile":
        return [Item(entry.uri, entry.key) for entry in _manifest(uri, home)]
    path = local_path(uri, home)
    if path is None:
        return _listed_remotely(uri)
    if path.is_file():
        return [Item(str(path), path.name)]
    if path.is_dir():
        return _below_folder(path, path)
    # A prefix that ends inside a name: keys are told from the folder that it begins in.
    found = [_below_folder(p, path.parent) if p.is_dir() else [Item(str(p), p.name)] for p in _starting_with(path)]
    return [item for items in found for item in items]


@contextmanager
def opened(uri: str, home: Path) -> Iterator[IO[bytes]]:
    """The file at a URI, to read its bytes. Raises ClientError if it cannot be."""
    path = local_path(uri, home)
    try:
        if path is not None:
            file: Any = path.open("rb")
        else:
            import fsspec

            file = fsspec.open(uri, "rb").open()
    except (OSError, ValueError, ImportError) as error:
        raise ClientError(f"{uri} cannot be read: {error}") from error
    with file:
        yield file


def _below(folder: Path, key: str, uri: str) -> Path:
    if ".." in key.split("/"):
        raise ClientError(f"{uri} is not allowed: a key without ..")
    return folder / key


def _below_folder(folder: Path, base: Path) -> list[Item]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    shown = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    return [Item(str(path), path.relative_to(base).as_posix()) for path in sorted(shown)]


def _starting_with(path: Path) -> list[Path]:
    """What S3 would find: everything beside the path whose name starts with its name."""
    if not path.name or not path.parent.is_dir():
        return []
    return sorted(entry for entry in path.parent.iterdir() if entry.name.startswith(path.name))


def _first_missing(path: Path) -> Path:
    return next(folder for folder in reversed(path.parents) if not folder.is_dir())


def _manifest(uri: str, home: Path) -> list[Item]:
    with opened(uri, home) as file:
        text = file.read()
    wanted = 'a JSON list: {"prefix": …} first, then keys below it'
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}; {wanted}", file=uri) from error
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise DataError(f"this is not a manifest: {wanted}", file=uri)
    prefix, keys = entries[0].get("prefix"), entries[1:]
    if not isinstance(prefix, str) or not all(isinstance(key, str) for key in keys):
        raise DataError(f"this is not a manifest: {wanted}", file=uri)
    items = [Item(absolute(prefix + key), key.lstrip("/")) for key in keys]
    for item in items:
        check_source(item.uri, home)
        if ".." in item.key.split("/"):
            raise DataError(f'the key "{item.key}" is not allowed: one without ..', file=uri)
    return items


def _listed_remotely(uri: str) -> list[Item]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(uri)
        if system.isfile(path):
            return [Item(uri, path.rpartition("/")[2])]
        folder = path.rstrip("/") if system.isdir(path) else path.rpartition("/")[0]
        found = [name for name in sorted(system.find(folder)) if name.startswith(path.rstrip("/"))]
    except (OSError, ValueError, ImportError) as error:
        raise ClientError(f"{uri} cannot be read: {error}") from error
    return [Item(system.unstrip_protocol(name), name[len(folder) :].lstrip("/")) for name in found]
