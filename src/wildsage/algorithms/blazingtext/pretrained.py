"""Word vectors that a classifier's words start from: channel `pretrained_vectors`."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext import fasttext_file, word2vec_file
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wildsage.contract.channels import Channel

CHANNEL = "pretrained_vectors"
GZIP_MAGIC, GZIP_RATIO = b"\x1f\x8b", 3
TAR_MAGIC = (slice(257, 262), b"ustar")
OF_A_JOB = ("vectors.bin", "vectors.txt")  # what a job for word vectors leaves, with equal rows
WORD_BYTES = 100  # of memory, a word's name in a list
HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class PretrainedVectors:
    """Vectors of some words of a vocabulary: of words[numbers[k]], rows[k], float32 (n, dim)."""

    numbers: NDArray[np.int64]
    rows: NDArray[np.float32]


def find(channel: Channel) -> Path:
    """The channel's one file, or a job's vectors.bin among others. Raises ClientError if it is not known which."""
    files = channel.files()
    for name in OF_A_JOB:
        of_a_job = [file for file in files if file.name == name]
        if len(of_a_job) == 1:
            return of_a_job[0]
    if len(files) != 1:
        named = ", ".join(file.name for file in files[:3]) + (", …" if len(files) > 3 else "")
        raise ClientError(
            f"channel {channel.name}: one file of word vectors is wanted, and there are: {named or 'none'}"
        )
    return files[0]


def check(channel: Channel, dim: int) -> None:
    """Raise DataError if the file's first bytes say that its vectors are not `dim` wide."""
    path = find(channel)
    found = columns(path)
    if found is not None and found != dim:
        raise DataError(f"its vectors have {found} columns, so vector_dim must be {found}, not {dim}", file=path)


def columns(path: Path) -> int | None:
    """How wide the vectors of a file are, by its first bytes; None if these do not say."""
    head = _head(path)
    if head[:4] == fasttext_file.MAGIC.to_bytes(4, "little"):
        readable = int.from_bytes(head[4:8], "little") in (fasttext_file.OLDEST_VERSION, fasttext_file.VERSION)
        return (int.from_bytes(head[8:12], "little") or None) if readable else None
    header = word2vec_file.HEADER.match(head)
    if header is not None:
        return int(header[2])
    first, newline, _ = head.partition(b"\n")  # GloVe's files have no header
    _, *numbers = first.split() or [b""]
    if not newline or path.suffix == word2vec_file.SAFETENSORS or not all(map(_is_number, numbers)):
        return None
    return len(numbers)


def memory(channel: Channel) -> int:
    """About how many bytes reading the channel takes at once, at most."""
    total = 0
    for path in channel.files():
        try:
            size, head = path.stat().st_size, _head(path)
            with path.open("rb") as file:
                size *= GZIP_RATIO if file.read(2) == GZIP_MAGIC else 1
        except (OSError, DataError):
            continue  # reading it tells what is wrong
        header = word2vec_file.HEADER.match(head)
        if header is not None:
            size = min(size, int(header[1]) * (4 * int(header[2]) + WORD_BYTES))
        total += size
    return total


def read(channel: Channel, words: list[bytes], dim: int) -> PretrainedVectors:
    """Read the vectors of those words from the channel's file.

    It may be of word2vec's formats, fastText's .bin with word vectors, or safetensors, each packed by gzip or not; or
    the model.tar.gz of a job for word vectors.
    Raises DataError with line or byte where the file is damaged, or with the width that its vectors have.
    """
    path = find(channel)
    with _unpacked(path) as unpacked:
        try:
            model = WordVectors.read(unpacked)
        except DataError as error:
            if unpacked == path:
                raise
            raise DataError(
                f"unpacked, {error.reason}", file=path, line=error.line, column=error.column, byte=error.byte
            ) from error
        if model.dim != dim:
            raise DataError(f"its vectors have {model.dim} columns, so vector_dim must be {model.dim}", file=path)
        places = {word: number for number, word in enumerate(model.words)}
        pairs = [(ours, places[word]) for ours, word in enumerate(words) if word in places]
        table = np.array(pairs, np.int64).reshape(-1, 2)
        rows = np.array(model.at(table[:, 1]), np.float32)  # a copy: the file goes
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        word = words[int(table[bad[0], 0])].decode("utf-8", "replace")
        raise DataError(f"the vector of {word!r} is not finite", file=path)
    return PretrainedVectors(table[:, 0], rows)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _head(path: Path) -> bytes:
    """The first bytes of the vectors, unpacked."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head[:2] != GZIP_MAGIC:
            return head
        with _packed(path) as (source, _):
            return source.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"cannot be read: {error}", file=path) from error


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The file, or, if it is packed, an unpacked copy for the time being: its readers map it."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    if not packed:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _packed(path) as (source, name):
                target = Path(folder) / name
                with target.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DataError(f"cannot be unpacked: {error}", file=path) from error
        yield target


@contextmanager
def _packed(path: Path) -> Iterator[tuple[gzip.GzipFile | IO[bytes], str]]:
    """The bytes of a gzip file, and a name for them; of a job's model.tar.gz those of its vectors.

    Raises DataError for an archive without them, and what gzip and tarfile raise.
    """
    with gzip.open(path) as source:
        head = source.read(512)
        source.seek(0)
        place, magic = TAR_MAGIC
        if head[place] != magic:
            yield source, os.path.basename(path.stem if path.suffix == ".gz" else path.name)
            return
        with tarfile.open(fileobj=source, mode="r:") as archive:
            members = {os.path.basename(member.name): member for member in archive if member.isfile()}
            name = next((name for name in OF_A_JOB if name in members), None)
            opened = archive.extractfile(members[name]) if name is not None else None
            if name is None or opened is None:
                held = ", ".join(sorted(members)[:3]) or "nothing"
                raise DataError(f"an archive without {' or '.join(OF_A_JOB)}: it holds {held}", file=path)
            with opened:
                yield opened, name
