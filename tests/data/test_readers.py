"""Channels as streams of batches: modes, gzip, epochs, shares, shuffling, stopping."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.channels import CSV, JSON_LINES, LIBSVM, RECORDIO, batches, csv_of, numbers, pipes, put, whole
from tests.waiting import until
from wildsage.contract.channels import Channel, Distribution, InputMode
from wildsage.contract.errors import ClientError, DataError
from wildsage.data import prefetch, readers
from wildsage.data.batch import SparseRows
from wildsage.data.jsonlines import write_json_lines
from wildsage.data.libsvm import write_libsvm
from wildsage.data.readers import open_channel, read_body
from wildsage.data.record import frame
from wildsage.data.recordio import write_numpy_to_dense_tensor

ROWS = numbers(300, 5)
LABELS = np.arange(300, dtype=np.float32)


def written(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == CSV:
        file.write(csv_of(np.column_stack([LABELS, ROWS])))
    elif kind == LIBSVM:
        write_libsvm(file, ROWS, LABELS)
    elif kind == JSON_LINES:
        write_json_lines(file, ROWS, LABELS)
    else:
        write_numpy_to_dense_tensor(file, ROWS, LABELS)
    return file.getvalue()


def check(batch: Any, times: int = 1) -> None:
    np.testing.assert_array_equal(batch.dense(), np.concatenate([ROWS] * times))
    np.testing.assert_array_equal(batch.labels, np.concatenate([LABELS] * times))


KINDS = [CSV, LIBSVM, JSON_LINES, RECORDIO]


@pytest.mark.parametrize("kind", KINDS)
def test_gzip_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    content = written(kind)
    half = content.index(b"\n", len(content) // 2) + 1 if kind != RECORDIO else len(content) // 2
    members = gzip.compress(content[:half]) + gzip.compress(content[half:]) + b"\0\0\0"
    channel = put(tmp_path, {"a": members, "b.gz": content, "c": gzip.compress(content)}, kind)
    check(whole(channel, threads=2), 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_each_epoch_is_a_pipe(tmp_path: Path, kind: str, packed: bool) -> None:
    content = gzip.compress(written(kind)) if packed else written(kind)
    with pipes(tmp_path, [content] * 3, kind) as channel:
        stream = open_channel(channel, batch_rows=100, threads=2)
        assert stream.label_width == 1
        for epoch in range(3):
            assert stream.epoch == epoch
            found = [batch.copy() for batch in stream]
            check(found[0].joined(found))
            assert stream.rows == 300


def test_a_pipe_that_is_left_early(tmp_path: Path) -> None:
    with pipes(tmp_path, [written(CSV) * 100] * 2) as channel:
        stream = open_channel(channel, batch_rows=10)
        for _ in range(2):
            assert len(next(iter(stream))) == 10


def test_files_wrapped_in_records(tmp_path: Path) -> None:
    content = written(CSV)
    frames = frame(content) + frame(b"") + frame(content.rstrip(b"\n")) + frame(content)
    with pipes(tmp_path, [frames], CSV, record_wrapper="RecordIO") as channel:
        check(whole(channel), 3)
    (tmp_path / "other").mkdir()
    with (
        pipes(tmp_path / "other", [frame(content)[:-9]], CSV, record_wrapper="RecordIO") as channel,
        pytest.raises(DataError, match=r"cut off"),
    ):
        whole(channel)


def test_a_stop_ends_the_wait_for_a_pipe(tmp_path: Path) -> None:
    stop = threading.Event()
    os.mkfifo(tmp_path / "train_0")
    found: list[BaseException | int] = []

    def read() -> None:
        try:
            channel = Channel("train", tmp_path / "train", CSV, InputMode.PIPE)
            found.append(len(list(open_channel(channel, batch_rows=5, stop=stop))))
        except ClientError as error:
            found.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    stop.set()
    reader.join(20)
    assert found


def test_a_stop_ends_the_batches(tmp_path: Path) -> None:
    stop = threading.Event()
    stream = open_channel(put(tmp_path, {"a": written(CSV)}), batch_rows=5, stop=stop)
    seen = 0
    for _ in stream:
        seen += 1
        stop.set()
    assert (seen, stream.rows) == (1, None)


def test_leaving_early_ends_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "PIECE", 100)
    before = threading.active_count()
    stream = open_channel(put(tmp_path, {"a": written(CSV) * 10}), batch_rows=3, threads=3)
    for _ in range(3):
        assert len(next(iter(stream))) == 3
    until(lambda: threading.active_count() == before)
    check_all = [len(batch) for batch in stream]
    assert sum(check_all) == 3000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_a_replicated_channel_is_dealt_out(
    tmp_path: Path, kind: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "PIECE", piece)
    channel = put(tmp_path, {"a": written(kind)}, kind)
    shares = [batches(channel, rank=rank, world_size=3, batch_rows=16, threads=2) for rank in range(3)]
    dealt = [shares[number % 3][number // 3] for number in range(19)]
    check(dealt[0].joined(dealt))
    assert [len(share) for share in shares] == [7, 6, 6]
    sharded = put(tmp_path, {}, kind, distribution=Distribution.SHARDED_BY_S3_KEY)
    check(whole(sharded, rank=1, world_size=3))


@pytest.mark.parametrize("kind", KINDS)
def test_shuffling_keeps_the_rows_and_follows_its_seed(tmp_path: Path, kind: str) -> None:
    content = written(kind)
    channel = put(tmp_path, {"a": content, "b": content}, kind)

    def epochs(seed: int) -> list[list[float]]:
        stream = open_channel(channel, batch_rows=16, shuffle=True, shuffle_rows=100, seed=seed, threads=2)
        found = []
        for _ in range(2):
            parts = [batch.copy() for batch in stream]
            assert [len(part) for part in parts] == [16] * 37 + [8]
            together = parts[0].joined(parts)
            assert together.labels is not None
            np.testing.assert_array_equal(together.dense(), ROWS[together.labels.astype(int)])
            places = together.origin.numbers
            np.testing.assert_array_equal(places, together.labels + 1)
            found.append(together.labels.tolist())
        return found

    first, second = epochs(7)
    assert first != second
    assert sorted(first) == sorted(second) == sorted([*LABELS.tolist()] * 2)
    assert epochs(7) == [first, second]
    assert epochs(8) != [first, second]


def test_what_there_is_nothing_of(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"^channel train: no file in"):
        open_channel(put(tmp_path, {}), batch_rows=5)
    for kind in KINDS:
        channel = put(tmp_path, {"a": b"", "b": b"\n" if kind != RECORDIO else b""}, kind)
        with pytest.raises(ClientError, match=r"^channel train is empty: train/a, train/b"):
            whole(channel, label_width=0)
        assert len(read_body(b"", kind)) == 0


def test_wrong_settings(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a": written(CSV)})
    with pytest.raises(ClientError, match=r'content type "text/cvs" is not allowed: .*did you mean "text/csv"'):
        open_channel(channel, "text/cvs", batch_rows=5)
    with pytest.raises(ClientError, match=r"batch_rows = 0 is not allowed"):
        open_channel(channel, batch_rows=0)
    with pytest.raises(ClientError, match=r"label_size"):
        open_channel(channel, "text/csv;label_size=x", batch_rows=5)
    for name in ("csv", "text/csv; charset=utf-8", "application/csv"):
        check(whole(channel, content_type=name))


def test_damaged_gzip(tmp_path: Path) -> None:
    content = gzip.compress(written(CSV))
    with pytest.raises(DataError, match=r"^train/a: the gzip file ends before its time"):
        whole(put(tmp_path, {"a": content[:-20]}))
    with pytest.raises(DataError, match=r"^train/a: the gzip file is damaged"):
        whole(put(tmp_path, {"a": content[:100] + b"xxxxxxxxxxxxxxxxxxxx" + content[120:]}))
    with pytest.raises(DataError, match=r"UTF-16"):
        whole(put(tmp_path, {"a": "1,2\n".encode("utf-16")}))


def test_batches_larger_than_the_data_and_of_one_row(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a": written(CSV)})
    assert [len(batch) for batch in batches(channel, batch_rows=1000)] == [300]
    assert [len(batch) for batch in batches(channel, batch_rows=1)] == [1] * 300


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    channel = put(tmp_path, {"a": written(CSV), "b": written(CSV)})
    stream = open_channel(channel, batch_rows=100)
    check(type(b := next(iter(stream))) and b.joined([*(x.copy() for x in stream)][:3]))
    (tmp_path / "train" / "b").unlink()
    check(b.joined([batch.copy() for batch in stream]))


@given(st.integers(1, 20), st.integers(0, 6), st.randoms(use_true_random=False))
def test_sparse_rows_are_as_dense_ones(rows: int, columns: int, random: Any) -> None:
    array = np.array([[random.choice([0, 0, 1, 2.5]) for _ in range(columns)] for _ in range(rows)], np.float32)
    array = array.reshape(rows, columns)
    numbers_, places = np.nonzero(array)
    starts = np.searchsorted(numbers_, np.arange(rows + 1))
    sparse = SparseRows(starts, places.astype(np.int32), array[numbers_, places], columns)
    np.testing.assert_array_equal(sparse.dense(), array)
    order = np.array([random.randrange(rows) for _ in range(7)])
    np.testing.assert_array_equal(sparse.take(order).dense(), array[order])
    middle = rows // 2
    parts = [sparse.part(0, middle), sparse.part(middle, rows)]
    np.testing.assert_array_equal(SparseRows.joined(parts, columns).dense(), array)
    out = np.ones_like(array)
    assert sparse.dense(out) is out
    np.testing.assert_array_equal(out, array)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_piece_of_more_slabs_than_there_are(
    tmp_path: Path, kind: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SLAB_BYTES", 1)
    channel = put(tmp_path, {"a": written(kind), "b": gzip.compress(written(kind))}, kind)
    found = batches(channel, threads=threads, batch_rows=4)
    assert len(found) == 150
    check(found[0].joined(found), 2)


def test_a_lack_of_memory_is_raised_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(readers.Csv, "scratch", short)
    (tmp_path / "a.csv").write_bytes(csv_of(np.column_stack([LABELS, ROWS])))
    with pytest.raises(MemoryError, match="no room"):
        list(open_channel(Channel("train", tmp_path, CSV), batch_rows=10, threads=2))
