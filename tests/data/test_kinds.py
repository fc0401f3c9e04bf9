"""What a channel without a content type is."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract import content_types
from wildsage.contract.channels import Channel, InputMode
from wildsage.data.kinds import kind_of, kind_of_bytes
from wildsage.data.readers import OPENERS, open_channel
from wildsage.sdk import records

TABLE = np.array([[1, 2.5, 3], [4, 5, 6.5]], np.float32)


def write(path: Path, kind: str) -> None:
    if kind == content_types.PARQUET:
        columns = {f"c{k}": TABLE[:, k] for k in range(3)}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    elif kind == content_types.RECORDIO_PROTOBUF:
        with path.open("wb") as file:
            records.write_numpy_to_dense_tensor(file, TABLE[:, 1:], TABLE[:, 0])
    elif kind == content_types.LIBSVM:
        path.write_text("1 0:2.5 1:3\n4 0:5 1:6.5\n")
    elif kind == content_types.JSON_LINES:
        path.write_text('{"features": [2.5, 3], "label": 1}\n{"features": [5, 6.5], "label": 4}\n')
    else:
        path.write_text("1,2.5,3\n4,5,6.5\n")


@pytest.mark.parametrize("kind", [*OPENERS, content_types.PARQUET])
@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_every_kind_are_known_by_their_first_bytes(tmp_path: Path, kind: str, packed: bool) -> None:
    (tmp_path / "train").mkdir()
    write(tmp_path / "train" / "rows", kind)
    if packed and kind != content_types.PARQUET:
        (tmp_path / "train" / "rows").write_bytes(gzip.compress((tmp_path / "train" / "rows").read_bytes()))
    channel = Channel("train", tmp_path / "train")
    assert kind_of(channel) == kind
    (batch,) = [each.copy() for each in open_channel(channel, batch_rows=10)]
    assert batch.dense().tolist() == TABLE[:, 1:].tolist()


def test_what_is_declared_counts_and_pipes_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "rows", content_types.RECORDIO_PROTOBUF)
    assert kind_of(Channel("train", tmp_path, "text/csv;label_size=0")) == "text/csv;label_size=0"
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "rows")
    assert kind_of(Channel("train", tmp_path / "pipes")) == content_types.CSV  # and does not wait for a writer
    assert kind_of(Channel("train", tmp_path, input_mode=InputMode.PIPE)) == content_types.CSV


@given(st.binary(min_size=1))
def test_any_bytes_are_of_some_kind(head: bytes) -> None:
    if head.strip():
        assert kind_of_bytes(head) in {*OPENERS, content_types.PARQUET}
