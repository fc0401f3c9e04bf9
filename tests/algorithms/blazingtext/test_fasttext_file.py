"""The .bin format: round trips, holes, and every way to be no such file."""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.blazingtext import fasttext_file
from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile, FastTextSettings
from wildsage.contract.errors import DataError, InternalServerError

WORDS = st.lists(st.binary(min_size=1, max_size=12).filter(lambda word: b"\0" not in word), max_size=8)


def make(
    words: list[bytes],
    labels: list[bytes],
    settings: FastTextSettings,
    bucket_ids: np.ndarray,
    seed: int = 0,
) -> FastTextFile:
    rng = np.random.default_rng(seed)

    def rows(n: int) -> np.ndarray:
        return rng.normal(size=(n, settings.dim)).astype(np.float32)

    counts = rng.integers(1, 1000, len(words) + len(labels))
    packed = fasttext_file.pack_entries(words, counts[: len(words)], label=False)
    packed += fasttext_file.pack_entries(labels, counts[len(words) :], label=True)
    lengths = [len(word) + fasttext_file.ENTRY.size for word in [*words, *labels]]
    return FastTextFile(
        settings=settings,
        tokens=int(counts.sum()),
        entries=np.frombuffer(packed, np.uint8),
        places=np.cumsum([0, *lengths[:-1]]),
        counts=counts,
        word_rows=rows(len(words)),
        bucket_ids=bucket_ids,
        bucket_rows=rows(bucket_ids.size),
        output=rows(len(labels)),
    )


def small() -> FastTextFile:
    settings = FastTextSettings(dim=3, word_ngrams=2, bucket=5)
    return make([b"</s>", b"good", b"bad"], [b"__label__1", b"__label__0"], settings, np.array([1, 4]))


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    fasttext_file.write(tmp_path / "model.bin", small())
    return (tmp_path / "model.bin").read_bytes()


def read(folder: Path, data: bytes) -> FastTextFile:
    path = folder / "some.bin"
    path.write_bytes(data)
    return fasttext_file.read(path)


@given(
    WORDS,
    st.lists(st.binary(min_size=1, max_size=12).filter(lambda word: b"\0" not in word), min_size=1, max_size=4),
    st.integers(1, 9),
    st.sets(st.integers(0, 5999), max_size=40),
    st.integers(0, 2**31 - 1),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    words: list[bytes],
    labels: list[bytes],
    dim: int,
    ids: set[int],
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("round")
    settings = FastTextSettings(dim, 1, 2, 3, 4, 2, 3, 3, 6000, 0, 0, seed, 0.25)
    model = make(words, labels, settings, np.array(sorted(ids), np.int64), seed)
    fasttext_file.write(folder / "model.bin", model)
    found = fasttext_file.read(folder / "model.bin")
    assert found.settings == settings
    assert found.tokens == model.tokens
    assert found.entries.tobytes() == model.entries.tobytes()
    np.testing.assert_array_equal(found.places, model.places)
    np.testing.assert_array_equal(found.counts, model.counts)
    np.testing.assert_array_equal(found.word_rows, model.word_rows)
    dense = np.zeros((6000, dim), np.float32)
    dense[model.bucket_ids] = model.bucket_rows
    np.testing.assert_array_equal(found.bucket_rows, dense)
    np.testing.assert_array_equal(found.output, model.output)
    assert found.labels() == [label.decode("utf-8", "replace") for label in labels]
    fasttext_file.write(folder / "again.bin", found)
    assert (folder / "again.bin").read_bytes() == (folder / "model.bin").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["again.bin", "model.bin"]


def test_bytes_are_those_of_the_package(tmp_path: Path, written: bytes) -> None:
    fasttext = pytest.importorskip("fasttext", reason="the fasttext package is not installed")
    path = tmp_path / "model.bin"
    fasttext.load_model(str(path)).save_model(str(tmp_path / "theirs.bin"))
    theirs = (tmp_path / "theirs.bin").read_bytes()
    flag = len(written) - 2 * 3 * 4 - fasttext_file.SHAPE.size  # never set by the package when it only loads
    assert theirs[:flag] + theirs[flag + 1 :] == written[:flag] + written[flag + 1 :]


def blocks(path: Path) -> int:
    return os.stat(path).st_blocks * 512


def test_untouched_buckets_take_no_disk(tmp_path: Path) -> None:
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 1 << 20)
    if blocks(tmp_path / "hole"):
        pytest.skip("this file system has no holes")
    settings = FastTextSettings(dim=100, word_ngrams=2, bucket=2_000_000)
    model = make([b"</s>"], [b"__label__a"], settings, np.array([7, 8, 1_000_000, 1_999_999]))
    fasttext_file.write(tmp_path / "model.bin", model)
    assert (tmp_path / "model.bin").stat().st_size > 800_000_000
    assert blocks(tmp_path / "model.bin") < 1 << 17
    found = fasttext_file.read(tmp_path / "model.bin")
    np.testing.assert_array_equal(found.bucket_rows[model.bucket_ids], model.bucket_rows)
    assert not found.bucket_rows[9:1_000_000:997].any()


def test_a_dense_model_is_saved_with_holes_too(tmp_path: Path) -> None:
    settings = FastTextSettings(dim=100, word_ngrams=2, bucket=50_000)
    model = make([b"</s>"], [b"__label__a"], settings, np.array([7, 40_000]))
    dense = np.zeros((settings.bucket, 100), np.float32)
    dense[model.bucket_ids] = model.bucket_rows
    fasttext_file.write(tmp_path / "sparse.bin", model)
    fasttext_file.write(tmp_path / "dense.bin", dataclasses.replace(model, bucket_ids=None, bucket_rows=dense))
    assert (tmp_path / "dense.bin").read_bytes() == (tmp_path / "sparse.bin").read_bytes()
    assert blocks(tmp_path / "dense.bin") <= max(1 << 17, blocks(tmp_path / "sparse.bin") * 2)


def test_every_cut_is_a_data_error(tmp_path: Path, written: bytes) -> None:
    for length in range(len(written)):
        with pytest.raises(DataError, match=r"some\.bin, byte") as caught:
            read(tmp_path, written[:length])
        assert caught.value.byte == length or "fit" in caught.value.reason
    with pytest.raises(DataError, match="2 more bytes follow"):
        read(tmp_path, written + b"ab")


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_model_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, signed: bool
) -> None:
    head = struct.pack("<ii", fasttext_file.MAGIC, 12) if signed else b""
    with pytest.raises(DataError):
        read(tmp_path_factory.getbasetemp(), head + data)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_flipped_file_is_a_model_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    fasttext_file.write(folder / "flip.bin", small())
    data = bytearray((folder / "flip.bin").read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    error, found = None, None
    try:
        found = read(folder, bytes(data))
    except DataError as raised:
        error = raised
    assert found is None or found.output.shape == (2, 3)
    assert error is None or error.byte is not None


def patched(data: bytes, place: int, form: str, value: float) -> bytes:
    packed = struct.pack(form, value)
    return data[:place] + packed + data[place + len(packed) :]


@pytest.mark.parametrize(
    ("place", "form", "value", "reason"),
    [
        (0, "<i", 1, "not a model of fastText"),
        (4, "<i", 13, "version 13"),
        (4, "<i", 10, "version 10"),
        (8, "<i", 0, "dim = 0"),
        (8, "<i", 4, r"input rows are 8 x 3, where the dictionary asks for 8 x 4"),
        (28, "<i", 2000, "word_ngrams = 2000"),
        (32, "<i", 5, "loss = 5 is not allowed: 1 to 4"),
        (36, "<i", 2, "only a supervised model"),
        (40, "<i", 0, "bucket = 0"),
        (40, "<i", -1, "bucket = -1"),
        (40, "<i", 2**31 - 1, r"8 x 3, where the dictionary asks for 2147483650 x 3"),
        (48, "<i", 2000, "maxn = 2000"),
        (64, "<i", 2**31 - 1, "cannot be"),
        (68, "<i", 5, "cannot be"),
        (72, "<i", 0, "cannot be"),
        (84, "<q", 0, "quantised"),
    ],
)
def test_a_wrong_header_is_named(
    tmp_path: Path, written: bytes, place: int, form: str, value: int, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        read(tmp_path, patched(written, place, form, value))


def test_sizes_are_checked_before_they_are_believed(tmp_path: Path, written: bytes) -> None:
    data = patched(patched(written, 64, "<i", 2**31 - 1), 68, "<i", 2**31 - 3)
    with pytest.raises(DataError, match="do not fit into"):
        read(tmp_path, data)


def test_a_quantised_model_says_so(tmp_path: Path, written: bytes) -> None:
    entries = small().entries.size
    with pytest.raises(DataError, match=r"quantised.*not supported yet"):
        read(tmp_path, patched(written, fasttext_file.ENTRIES_START + entries, "<b", 1))


def test_labels_before_words_are_refused(tmp_path: Path, written: bytes) -> None:
    with pytest.raises(DataError, match="wrong kind"):
        read(tmp_path, patched(written, fasttext_file.ENTRIES_START + len(b"</s>") + 9, "<b", 1))


def test_a_missing_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        fasttext_file.read(tmp_path / "none.bin")
    with pytest.raises(DataError, match="cut off"):
        read(tmp_path, b"")
    assert not fasttext_file.has_magic(tmp_path / "none.bin")
    assert not fasttext_file.has_magic(tmp_path / "some.bin")


def test_the_machine_is_blamed_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(InternalServerError, match="cannot be written"):
        fasttext_file.write(tmp_path / "no" / "model.bin", small())
