"""model.tar.gz, packed and unpacked: fast where a model is mostly holes, and suspicious of what others packed."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import stat
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wildsage.contract import machine
from wildsage.contract.errors import ClientError, InternalServerError
from wildsage.platform.files import CHUNK_BYTES, disk_errors, new_file, new_folder, next_data, write_all
from wildsage.platform.locations import missing

logger = logging.getLogger(__name__)

PAGE_BYTES = 4096  # the smallest hole that file systems keep
FAST_BYTES = 8 << 20  # files from this size on are compressed at level 1: level 6 takes twice as long for a tenth less
SAMPLE_BYTES = 1 << 16
FREE_RESERVE_BYTES = 64 << 20  # of the disk, left alone by unpack
HEADER_BYTES = 1 << 18  # a member's extended header; a path has 4,096 bytes at most

_ZERO_CHUNK = bytes(CHUNK_BYTES)
_ZERO_PAGE = bytes(PAGE_BYTES)


def pack(folder: Path, destination: Path) -> None:
    """Write a folder's files as a tar.gz, in order of name, complete or not at all.

    The tar stream is cut into pieces of 1 MiB, each a gzip member of its own (RFC 1952 lets members follow each other),
    compressed by as many threads as there are cores. Holes of a sparse file are not read: a member of zeros is known.
    Links that stay inside the folder stay links, others become what they point at; pipes and sockets are left out.
    Raises ClientError for a link that leads nowhere or to a folder outside, InternalServerError if the disk is full.
    """
    members = list(members_of(folder))
    with disk_errors("writing", destination), new_file(destination) as file:
        for member in _compressed(members):
            write_all(file, member)


def members_of(folder: Path) -> Iterator[tuple[tarfile.TarInfo, Path]]:
    """Header and source of each file below a folder, parents first, in order of name."""
    with disk_errors("reading", folder):
        root = folder.resolve(strict=True)
        names = sorted(os.listdir(root))
    stack = [root / name for name in reversed(names)]
    while stack:
        path = stack.pop()
        with disk_errors("reading", path):
            found = os.lstat(path)
            source = path
            if stat.S_ISLNK(found.st_mode) and not _stays_inside(path, root):
                source = Path(os.path.realpath(path))
                if not source.exists():
                    raise ClientError(f"{path} is a link to {os.readlink(path)}, which does not exist")
                if source.is_dir():
                    raise ClientError(f"{path} is a link to the folder {source}, outside of {folder}; copy it instead")
                found = os.stat(source)
            header = tarfile.TarInfo(str(path.relative_to(root)))
            header.mode, header.mtime = stat.S_IMODE(found.st_mode) & 0o777, int(found.st_mtime)
            if stat.S_ISREG(found.st_mode):
                header.size = found.st_size
            elif stat.S_ISDIR(found.st_mode):
                header.type = tarfile.DIRTYPE
                stack += [path / name for name in sorted(os.listdir(path), reverse=True)]
            elif stat.S_ISLNK(found.st_mode):
                header.type, header.linkname = tarfile.SYMTYPE, os.readlink(path)
            else:
                logger.warning("%s is left out of the archive: it is not a file, folder or link", path)
                continue
        yield header, source


def _stays_inside(link: Path, root: Path) -> bool:
    """Whether a link is relative and its target lies below root and exists."""
    target = Path(os.path.realpath(link))
    return not os.path.isabs(os.readlink(link)) and target.is_relative_to(root) and target.exists()


def _compressed(members: list[tuple[tarfile.TarInfo, Path]]) -> Iterator[bytes]:
    """The gzip members of a tar archive, in order, compressed some way ahead of the reader."""
    workers = machine.cores()
    zeros = _gzip(_ZERO_CHUNK, 9)
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for piece in _pieces(members):
                if piece is None:
                    done: Future[bytes] = Future()
                    done.set_result(zeros)
                    waiting.append(done)
                else:
                    waiting.append(pool.submit(piece))
                while len(waiting) > 2 * workers + 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _pieces(members: list[tuple[tarfile.TarInfo, Path]]) -> Iterator[Callable[[], bytes] | None]:
    """The tar stream as pieces to compress; None is a chunk of zeros. Small files and headers share a piece."""
    pending = bytearray()

    def flush() -> Callable[[], bytes]:
        data = bytes(pending)
        pending.clear()
        return lambda: _gzip(data, 6)

    for header, source in members:
        pending += header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if header.isreg() and header.size < CHUNK_BYTES:
            with disk_errors("reading", source):
                data = source.read_bytes()
            _check_size(source, header.size, len(data))
            pending += data
        elif header.isreg():
            yield flush()
            yield from _file_pieces(source, header.size)
        pending += bytes(-header.size % tarfile.BLOCKSIZE)
        if len(pending) >= CHUNK_BYTES:
            yield flush()
    pending += bytes(2 * tarfile.BLOCKSIZE)
    yield flush()


def _file_pieces(source: Path, size: int) -> Iterator[Callable[[], bytes] | None]:
    """The chunks of a large file. Those that lie in a hole are None without being read."""
    level = 1 if size >= FAST_BYTES else 6
    with disk_errors("reading", source):
        descriptor = _Descriptor(source)
        _check_size(source, size, os.fstat(descriptor.number).st_size)
        upcoming = 0  # where the next data begins, as far as is known
        for start in range(0, size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, size - start)
            if upcoming < start or start == 0:
                upcoming = next_data(descriptor.number, start, size)
            if upcoming >= start + length and length == CHUNK_BYTES:
                yield None
            else:
                yield _FilePiece(descriptor, source, start, length, level)


class _Descriptor:
    """An open file that closes when the last piece that reads it is gone."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@dataclass(frozen=True)
class _FilePiece:
    """Reads and compresses one chunk of a file; called in a thread of the pool."""

    descriptor: _Descriptor
    source: Path
    start: int
    length: int
    level: int

    def __call__(self) -> bytes:
        with disk_errors("reading", self.source):
            data = os.pread(self.descriptor.number, self.length, self.start)
        _check_size(self.source, self.length, len(data))
        return _gzip(data, self.level)


def _check_size(source: Path, expected: int, found: int) -> None:
    if expected != found:
        raise InternalServerError(f"{source} changed while it was read: {found} bytes instead of {expected}")


def _gzip(data: bytes, level: int) -> bytes:
    """One gzip member. At level 1 a sample decides whether matches other than runs are worth looking for.

    In dense vectors (float32) they are not: with runs only, 125 MB/s instead of 41 for the same size. Where zeros
    prevail both take the same time, but runs are then unpacked three times as slowly: each byte waits for the one
    before it.
    """
    strategy = zlib.Z_DEFAULT_STRATEGY
    if level == 1:
        middle = max(0, len(data) - SAMPLE_BYTES) // 2
        sample = data[middle : middle + SAMPLE_BYTES]
        runs, matches = (len(_deflate(sample, 1, kind)) for kind in (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY))
        if len(sample) / 2 < runs <= matches * 1.02:
            strategy = zlib.Z_RLE
    return _deflate(data, level, strategy)


def _deflate(data: bytes, level: int, strategy: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, 31, 9, strategy)  # 31: gzip header and check sum
    return compressor.compress(data) + compressor.flush()


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold. total_bytes counts holes too; what is written must fit the free disk anyway."""

    total_bytes: int = 1 << 40
    members: int = 1_000_000


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> None:
    """Unpack a .tar.gz or .tar into `folder`, which must be absent or empty; all of it or nothing.

    Runs of zeros become holes. Owners, times and special mode bits are not taken over.
    Raises ClientError if the archive is broken, reaches outside of the folder (by path or link), holds devices or
    pipes, or is larger than the limits; InternalServerError if the disk is full.
    """
    limits = limits or Limits()
    if not archive.is_file():
        raise missing(archive)
    with disk_errors("unpacking to", folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise ClientError(f"{folder} is not empty, so that {archive} cannot be unpacked there")
        with new_folder(folder) as beside:
            free = shutil.disk_usage(beside).free - FREE_RESERVE_BYTES
            with open(archive, "rb", buffering=0) as file:
                _Unpacking(archive, beside, limits, free).run(file)


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, plain or gzipped, by its name or its first block."""
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return True
    with disk_errors("reading", path), open(path, "rb") as file:
        head = file.read(1 << 14)
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, tarfile.BLOCKSIZE)
        except zlib.error:
            return False
    return head[257:262] == b"ustar"


class BrokenArchive(Exception):  # noqa: N818 - internal: becomes a ClientError with the archive's name
    pass


class Gunzip(io.RawIOBase):
    """The bytes of a gzip file of any number of members; read(n) may return less than n. Not seekable."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._input = b""
        self._inflate = zlib.decompressobj(31)
        self._began = False  # whether the current member has had any input

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            raise io.UnsupportedOperation("read it piece by piece")
        while True:
            if not self._input:
                self._input = self._file.read(CHUNK_BYTES)
            if self._inflate.eof:
                # gzip itself ignores padding and garbage that follow the last member.
                if not self._input.startswith(b"\x1f\x8b"):
                    more = self._input[:1] == b"\x1f" and len(self._input) == 1 and self._file.read(CHUNK_BYTES)
                    if not more:
                        return b""
                    self._input += more
                    continue
                self._inflate, self._began = zlib.decompressobj(31), False
            if not self._input:
                raise BrokenArchive("it ends in the middle" if self._began else "it is empty")
            self._began = True
            try:
                data = self._inflate.decompress(self._input, size)
            except zlib.error as error:
                raise BrokenArchive(f"its compression is damaged ({error})") from error
            self._input = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if data:
                return data


class _Header(tarfile.TarInfo):
    """A member's header that does not let tarfile pass over damage, nor read a huge extended header into memory."""

    _EXTENSIONS = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tar)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise  # the end
        except tarfile.HeaderError as error:
            first = "it is not a tar archive"
            raise BrokenArchive(first if tar.offset == 0 else f"a member's header is damaged ({error})") from error

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:  # the entry point that tarfile lets one override
        if self.size < 0 or (self.type in self._EXTENSIONS and self.size > HEADER_BYTES):
            raise BrokenArchive(f"a member's header has an impossible size of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return member


class _Unpacking:
    """One archive on its way into a fresh folder of ours."""

    def __init__(self, archive: Path, root: Path, limits: Limits, free_bytes: int) -> None:
        self.archive, self.root, self.limits, self.free_bytes = archive, root, limits, free_bytes
        self.total_bytes = 0
        self.links: list[tuple[Path, str]] = []

    def run(self, file: IO[bytes]) -> None:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = Gunzip(file) if compressed else file
        try:
            with tarfile.open(
                fileobj=stream,
                mode="r|",
                bufsize=CHUNK_BYTES,
                tarinfo=_Header,
                encoding="utf-8",
                errors="surrogateescape",
            ) as tar:
                count = 0
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it would remember them all
                    count += 1
                    if count > self.limits.members:
                        raise BrokenArchive(f"it has more than {self.limits.members} members")
                    self._take(tar, member)
            while data := stream.read(CHUNK_BYTES):  # to the last check sum
                self._count(len(data))
        except BrokenArchive as error:
            raise ClientError(f"{self.archive} cannot be unpacked: {error}") from error
        except (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError, KeyError) as error:
            raise ClientError(
                f"{self.archive} cannot be unpacked: it is not a tar archive, or damaged ({error})"
            ) from error
        self._make_links()

    def _refuse(self, member: tarfile.TarInfo, reason: str) -> ClientError:
        return ClientError(f"{self.archive} is refused: its member {member.name!r} {reason}")

    def _count(self, size: int) -> None:
        self.total_bytes += size
        if self.total_bytes > self.limits.total_bytes:
            raise BrokenArchive(f"it holds more than {self.limits.total_bytes} bytes")

    def _place(self, member: tarfile.TarInfo, name: str, what: str) -> Path:
        """Where a member's path leads below our folder."""
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise self._refuse(member, f"has {what} that leads out of the archive")
        return self.root.joinpath(*(part for part in parts if part not in ("", ".")))

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._place(member, member.name, "a path")
        if member.isdir():
            self._make_folder(member, path)
            return
        if path == self.root:
            raise self._refuse(member, "has no name")
        self._make_folder(member, path.parent)
        if path.is_dir():
            raise self._refuse(member, "is there twice, as a folder and as something else")
        if member.isreg():
            self._count(member.size)
            # The last of a name wins, as with tar. No link exists yet, so nothing is written through one.
            path.unlink(missing_ok=True)
            self._write_file(tar, member, path)
        elif member.issym():
            self.links.append((path, member.linkname))
        elif member.islnk():
            target = self._place(member, member.linkname, "a link")
            if not target.is_file():
                raise self._refuse(member, f"links to {member.linkname!r}, which is not a file before it")
            if target != path:
                path.unlink(missing_ok=True)
                os.link(target, path)
        else:
            raise self._refuse(member, "is a device or a pipe")

    def _make_folder(self, member: tarfile.TarInfo, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self._refuse(member, "lies below something that is not a folder") from error

    def _write_file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = tar.extractfile(member)
        if source is None:
            raise self._refuse(member, "cannot be read")
        with open(path, "xb", buffering=0) as file:
            position = 0
            while position < member.size:
                data = source.read(min(CHUNK_BYTES, member.size - position))
                if not data:
                    raise BrokenArchive(f"it ends in the middle of {member.name!r}")
                self._write_data(file.fileno(), data, position)
                position += len(data)
            os.ftruncate(file.fileno(), member.size)  # a hole at the end
            os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)

    def _write_data(self, descriptor: int, data: bytes, position: int) -> None:
        """Write what is not zero. Position counts from a page's start unless the reader returned odd pieces."""
        for start, end in _data_runs(data):
            self.free_bytes -= end - start
            if self.free_bytes < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = memoryview(data)[start:end]
            while view:
                written = os.pwrite(descriptor, view, position + start)
                view, start = view[written:], start + written

    def _make_links(self) -> None:
        """Make the symbolic links last, and look where each truly leads: lexically harmless ones can add up."""
        for path, target in self.links:
            if os.path.isabs(target):
                raise ClientError(f"{self.archive} is refused: {path.name!r} is a link to {target}, outside of it")
            if path.is_dir() and not path.is_symlink():
                raise ClientError(f"{self.archive} is refused: {path.name!r} is there as a folder and as a link")
            path.unlink(missing_ok=True)
            try:
                path.symlink_to(target)
            except (ValueError, FileNotFoundError) as error:  # a null byte; an empty target
                raise ClientError(f"{self.archive} is refused: {path.name!r} is a link to {target!r}") from error
        root = self.root.resolve()
        for path, target in self.links:
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise ClientError(f"{self.archive} is refused: {path.name!r} is a link to {target}, outside of it")


def _data_runs(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each run of pages in which anything is not zero."""
    size = len(data)
    if data == _ZERO_CHUNK[:size]:
        return
    start = -1
    for page in range(0, size, PAGE_BYTES):
        if data[page : page + PAGE_BYTES] == _ZERO_PAGE[: min(PAGE_BYTES, size - page)]:
            if start >= 0:
                yield start, page
                start = -1
        elif start < 0:
            start = page
    if start >= 0:
        yield start, size
