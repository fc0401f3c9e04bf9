"""Word vectors that a classifier's words start from: channel `pretrained_vectors`."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
WORD_BYTES = 100  # of memory, a word's name in a list
HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class PretrainedVectors:
    """Vectors of some words of a vocabulary: of words[numbers[k]], rows[k], float32 (n, dim)."""

    numbers: NDArray[np.int64]
    rows: NDArray[np.float32]


def find(channel: Channel) -> Path:
    """The channel's one file. Raises ClientError if there are others."""
    files = channel.files()
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
    return len(first.split()) - 1 if newline and path.suffix != word2vec_file.SAFETENSORS else None


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

    It may be of word2vec's formats, fastText's .bin with word vectors, or safetensors; and packed by gzip.
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


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head[:2] != GZIP_MAGIC:
            return head
        with gzip.open(path) as packed:
            return packed.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", file=path) from error


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The file, or, if it is gzip, an unpacked copy for the time being: its readers map it."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    if not packed:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        name = path.stem if path.suffix == ".gz" else path.name
        target = Path(folder) / os.path.basename(name)
        try:
            with gzip.open(path) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"cannot be unpacked: {error}", file=path) from error
        yield target
