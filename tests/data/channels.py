"""Channels of the tests: files in a folder, and what is read from them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wildsage.contract.channels import Channel, InputMode
from wildsage.data.batch import Batch
from wildsage.data.readers import open_channel

CSV, LIBSVM, RECORDIO = "text/csv", "text/libsvm", "application/x-recordio-protobuf"
JSON_LINES, PARQUET = "application/jsonlines", "application/x-parquet"


def put(folder: Path, files: Mapping[str, bytes], content_type: str = CSV, **more: Any) -> Channel:
    """A channel "train" of these files."""
    place = folder / "train"
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return Channel("train", place, content_type, **more)


def batches(channel: Channel, **options: Any) -> list[Batch]:
    """An epoch, with batches of seven rows unless said otherwise."""
    return [batch.copy() for batch in open_channel(channel, **{"batch_rows": 7, **options})]


def whole(channel: Channel, **options: Any) -> Batch:
    """An epoch as one batch."""
    return Batch.joined(batches(channel, **options))


def csv_of(rows: NDArray[Any]) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


def numbers(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@contextmanager
def pipes(folder: Path, epochs: list[bytes], content_type: str = CSV, **more: Any) -> Iterator[Channel]:
    """A channel in Pipe mode, whose pipes appear one after the other, each when the one before has been read."""

    def feed() -> None:
        for epoch, content in enumerate(epochs):
            path = folder / f"train_{epoch}"
            os.mkfifo(path)
            try:
                with path.open("wb", buffering=0) as pipe:
                    for begin in range(0, len(content), 1000):
                        pipe.write(content[begin : begin + 1000])
            except BrokenPipeError:
                pass

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    yield Channel("train", folder / "train", content_type, InputMode.PIPE, **more)
    feeder.join(20)
    assert not feeder.is_alive()
