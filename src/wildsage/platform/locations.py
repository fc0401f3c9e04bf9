"""Where a URI leads: a path of this machine, a bucket that is a folder below the home, or any URL that fsspec knows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote

from wildsage.contract.errors import ClientError, InternalServerError, nearest
from wildsage.contract.files import new_file
from wildsage.platform.files import CHUNK_BYTES, copy_file, disk_errors

TRANSFERS = 8  # at once


@dataclass(frozen=True)
class Location:
    """Where a URI leads: `path` on this machine, or `url` for fsspec. prefix: an S3 prefix may end inside a name."""

    uri: str
    path: Path | None = None
    url: str = ""
    prefix: bool = False


def resolve(uri: str, home: Path) -> Location:
    """Find where a path or URI leads. s3://bucket/key is the folder <home>/buckets/<bucket> if that exists.

    Raises ClientError for an empty URI, one without a bucket, or a key that climbs out of its bucket.
    """
    scheme, separator, rest = uri.partition("://")
    if not uri.strip() or "\0" in uri or (separator and not rest):
        raise ClientError(f"{uri!r} is not a location: a path, file://…, s3://bucket/key or another URL")
    if not separator or not scheme.replace("+", "").replace("-", "").isalnum():
        return Location(uri, _absolute(uri))
    if scheme == "file":
        # As in local mode of the SDK, what follows the slashes is the path, so that file://data is relative.
        plain, unquoted = _absolute(rest), unquote(rest)
        return Location(uri, plain if os.path.exists(plain) or "\0" in unquoted else _absolute(unquoted))
    if scheme != "s3":
        return Location(uri, url=uri)
    bucket, _, key = rest.partition("/")
    if not bucket or bucket in (".", ".."):
        raise ClientError(f"{uri} names no bucket: s3://bucket/key")
    folder = home / "buckets" / bucket
    if not folder.is_dir():
        return Location(uri, url=uri, prefix=True)
    if ".." in key.split("/"):
        raise ClientError(f'{uri}: ".." is not allowed in a key')
    return Location(uri, (folder / key.lstrip("/")).absolute(), prefix=True)


def _absolute(path: str) -> Path:
    """~ is the home folder; unlike Path.expanduser, a ~name that is no user is left as it is."""
    return Path(os.path.expanduser(path)).absolute()


def join(uri: str, *parts: str) -> str:
    """Add parts to a path or URI with one slash between each two, however many were there."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def missing(path: Path) -> ClientError:
    """The error for a path that does not exist, with the nearest name in the deepest folder of it that does."""
    child, parent = path, path.parent
    while not os.path.exists(parent) and parent != parent.parent:
        child, parent = parent, parent.parent
    with contextlib.suppress(OSError):
        if parent.is_dir():
            hint = _neighbour(child.name, [entry.name for entry in parent.iterdir()])
            where = "" if child == path else f': {parent} has no "{child.name}"'
            return ClientError(f"{path} does not exist{where}{hint}")
    return ClientError(f"{path} does not exist: {parent} is not a folder that can be read")


def _neighbour(name: str, there: Iterable[str]) -> str:
    """The hint at the nearest of the names that are there, "" if none is near.

    Names are held together without their endings first: in "a.csv" and "b.csv" the ending alone is alike.
    """

    def stem(text: str) -> str:
        return text.partition(".")[0].lower() or text

    alike = SequenceMatcher(b=stem(name))
    near = []
    for each in sorted(there):
        alike.set_seq1(stem(each))
        if alike.ratio() >= 0.5:
            near.append(each)
    return nearest(name, near)


def open_filesystem(location: Location, home: Path) -> tuple[Any, str]:
    """The fsspec file system of a remote location and the path in it. Raises ClientError if it cannot be had."""
    import fsspec
    from fsspec.registry import known_implementations

    scheme = location.url.partition("://")[0]
    try:
        filesystem, path = fsspec.core.url_to_fs(location.url)
    except ImportError as error:
        package = "s3fs" if scheme == "s3" else str(error)
        bucket = location.url.removeprefix("s3://").partition("/")[0]
        instead = f", or make the folder {home / 'buckets' / bucket} to keep it here" if scheme == "s3" else ""
        how = f"it needs the package {package}: pip install {package}" if scheme == "s3" else package
        raise ClientError(f"{location.uri} cannot be reached: {how}{instead}") from error
    except ValueError as error:
        hint = nearest(scheme, known_implementations)
        raise ClientError(f'{location.uri}: "{scheme}" is not a kind of storage that fsspec knows{hint}') from error
    return filesystem, str(path)


@contextlib.contextmanager
def remote_errors(doing: str, uri: str) -> Iterator[None]:
    """Turn what a remote file system raises, which may be anything, into our own errors."""
    try:
        yield
    except (ClientError, InternalServerError):
        raise
    except FileNotFoundError as error:
        raise ClientError(f"{doing} {uri}: it does not exist") from error
    except PermissionError as error:
        raise ClientError(f"{doing} {uri}: no permission ({error})") from error
    except Exception as error:  # each file system has a family of its own
        raise InternalServerError(f"{doing} {uri}: {type(error).__name__}: {error}") from error


def in_parallel(function: Callable[[Any], object], items: list[Any]) -> None:
    """Call for each item, several at once; the first error stops those that have not begun."""
    with ThreadPoolExecutor(TRANSFERS) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()


def remote_files(filesystem: Any, root: str, location: Location) -> dict[str, str]:
    """Paths of a remote prefix and their names below it. Raises ClientError if there are none."""
    with remote_errors("looking at", location.uri):
        if filesystem.isfile(root):
            return {root: PurePosixPath(root).name}
        base, found = root, sorted(filesystem.find(root))
        if not found and location.prefix:
            base = root.rpartition("/")[0]
            starts = sorted(filesystem.glob(root + "*"))
            found = sorted({path for start in starts for path in (filesystem.find(start) or [start])})
        files = {path: path.removeprefix(base).lstrip("/") for path in found}
    files = {
        path: name
        for path, name in files.items()
        if not any(part.startswith(".") for part in name.split("/")) and not path.endswith("/")
    }
    if not files:
        raise ClientError(f"there are no files at {location.uri}")
    return files


def download(filesystem: Any, targets: dict[str, Path], uri: str) -> None:
    """Download files, several at once; each appears when it is whole."""

    def fetch(item: tuple[str, Path]) -> None:
        path, target = item
        with (
            disk_errors("downloading to", target),
            new_file(target, durable=True) as file,
            remote_errors("downloading", uri),
            filesystem.open(path, "rb") as source,
        ):
            while data := source.read(4 * CHUNK_BYTES):
                _write_locally(file, data, target)  # an error of this disk, not of the storage

    in_parallel(fetch, list(targets.items()))


def _write_locally(file: IO[bytes], data: bytes, target: Path) -> None:
    with disk_errors("downloading to", target):
        file.write(data)


def upload(source: Path, uri: str, home: Path) -> None:
    """Copy a file to a URI, or all files of a folder to names below it; each appears there when it is whole.

    Holes stay holes on this machine. Raises ClientError if the source is missing or the place is not allowed,
    InternalServerError if a disk is full or the storage fails.
    """
    if not os.path.exists(source):
        raise missing(source)
    location = resolve(uri, home)
    if source.is_dir():
        found = ((Path(place) / name) for place, _, names in os.walk(source) for name in sorted(names))
        files = [(path, str(path.relative_to(source))) for path in found if path.is_file()]
    else:
        files = [(source, "")]
    if location.path is not None:
        root = location.path
        for path, name in files:
            copy_file(path, root / name if name else root)
        return
    filesystem, base = open_filesystem(location, home)

    def send(item: tuple[Path, str]) -> None:
        path, name = item
        target = join(base, name) if name else base
        with remote_errors("uploading to", uri):
            if not filesystem.async_impl:  # an object store has no folders to make
                filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(path), target)

    in_parallel(send, files)
