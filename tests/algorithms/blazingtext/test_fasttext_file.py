"""The .bin and .ftz formats: round trips, holes, and every way to be no such file."""

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
from wildsage.algorithms.blazingtext.fasttext_file import (
    CENTROIDS,
    SKIP_GRAM,
    FastTextFile,
    FastTextSettings,
    QuantisedRows,
    dense,
)
from wildsage.contract.errors import AlgorithmError, DataError, InternalServerError

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
        output=rows(len(labels) if settings.model == fasttext_file.SUPERVISED else len(words)),
    )


def quantised(rows: int, dim: int, dsub: int, seed: int, *, norms: bool) -> QuantisedRows:
    rng = np.random.default_rng(seed)
    return QuantisedRows(
        dim,
        dsub,
        rng.integers(0, 256, (rows, -(-dim // dsub))).astype(np.uint8),
        rng.normal(size=CENTROIDS * dim).astype(np.float32),
        rng.integers(0, 256, rows if norms else 0).astype(np.uint8),
        rng.normal(size=CENTROIDS if norms else 0).astype(np.float32),
    )


def small_quantised(*, pruned: bool = True, norms: bool = True, qout: bool = True) -> FastTextFile:
    model = small()
    kept = 2 if pruned else 5
    rows = quantised(3 + kept, 3, 2, 1, norms=norms)
    return dataclasses.replace(
        model,
        word_rows=rows[:3],
        bucket_rows=rows[3:],
        bucket_ids=np.array([4, 1]) if pruned else None,
        output=quantised(2, 3, 2, 2, norms=norms) if qout else model.output,
        pruned=pruned,
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
    assert found is None or found.output.shape in ((2, 3), (0, 3), (3, 3))
    assert error is None or error.byte is not None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3), st.integers(0, 10**6))
def test_a_flipped_or_cut_quantised_file_is_a_model_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    fasttext_file.write(folder / "flip.ftz", small_quantised())
    data = bytearray((folder / "flip.ftz").read_bytes())
    for place, bits in flips:
        # Most bytes are centroids, which may be anything.
        data[place % (fasttext_file.ENTRIES_START + 150 if place % 2 else len(data))] ^= bits
    error, found = None, None
    try:
        found = read(folder, bytes(data[: len(data) if cut % 2 else cut % len(data)]))
    except DataError as raised:
        error = raised
    assert found is None or dense(found.word_rows).shape[1] == 3
    assert error is None or error.byte is not None


@pytest.mark.parametrize("pruned", [True, False])
@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("qout", [True, False])
def test_a_quantised_model_is_read_as_it_was_written(tmp_path: Path, pruned: bool, norms: bool, qout: bool) -> None:
    model = small_quantised(pruned=pruned, norms=norms, qout=qout)
    fasttext_file.write(tmp_path / "model.ftz", model)
    found = fasttext_file.read(tmp_path / "model.ftz")
    assert found.quantised
    assert found.pruned == pruned
    assert (found.bucket_ids is None) == (not pruned)
    assert found.bucket_ids is None or found.bucket_ids.tolist() == [4, 1]
    for name in ("word_rows", "bucket_rows", "output"):
        np.testing.assert_array_equal(dense(getattr(found, name)), dense(getattr(model, name)))
    fasttext_file.write(tmp_path / "again.ftz", found)
    assert (tmp_path / "again.ftz").read_bytes() == (tmp_path / "model.ftz").read_bytes()


def test_every_cut_of_a_quantised_model_is_a_data_error(tmp_path: Path) -> None:
    fasttext_file.write(tmp_path / "model.ftz", small_quantised())
    data = (tmp_path / "model.ftz").read_bytes()
    for length in [*range(300), *range(300, len(data), 97), *range(len(data) - 60, len(data))]:
        with pytest.raises(DataError, match=r"some\.bin, byte"):
            read(tmp_path, data[:length])
    with pytest.raises(DataError, match="1 more bytes follow"):
        read(tmp_path, data + b"a")


def test_what_a_quantised_model_gets_wrong_is_named(tmp_path: Path) -> None:
    model = small_quantised()
    fasttext_file.write(tmp_path / "model.ftz", model)
    data = (tmp_path / "model.ftz").read_bytes()
    kept = fasttext_file.ENTRIES_START + model.entries.size
    rows = kept + 16
    quantiser = rows + fasttext_file.QUANTISED.size + 5 * 2
    for place, form, value, reason in (
        (84, "<q", 6, "6 buckets cannot have been kept of 5"),
        (84, "<q", -2, "-2 buckets cannot"),
        (kept, "<i", 5, "bucket 5 of 5 cannot have row 0 of 2"),
        (kept, "<i", -1, "bucket -1 of 5"),
        (kept, "<i", 1, "do not each have a row"),
        (kept + 4, "<i", 1, "do not each have a row"),
        (rows, "<b", 0, "pruned, but its rows are not quantised"),
        (rows + 1, "<b", 2, "is 0 or 1, not 2"),
        (rows + 2, "<q", 6, "rows are 6 x 3"),
        (rows + 18, "<i", -1, "-1 bytes of codes"),
        (quantiser + 8, "<i", 3, "does not divide 3 columns"),
        (quantiser + 8, "<i", 0, "does not divide 3 columns"),
        (quantiser, "<i", 4, "does not divide 3 columns"),
    ):
        with pytest.raises(DataError, match=reason):
            read(tmp_path, patched(data, place, form, value))


def test_a_pruned_model_of_floats_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AlgorithmError, match="must be quantised"):
        fasttext_file.write(tmp_path / "model.bin", dataclasses.replace(small(), pruned=True))
    assert not list(tmp_path.iterdir())


def test_quantised_rows_by_hand() -> None:
    rows = quantised(4, 5, 2, 3, norms=True)
    expected = np.empty((4, 5), np.float32)
    for i in range(4):
        for part, (begin, end) in enumerate([(0, 2), (2, 4), (4, 5)]):
            first = 256 * begin + int(rows.codes[i, part]) * (end - begin)
            expected[i, begin:end] = rows.centroids[first : first + end - begin] * rows.norms[rows.norm_codes[i]]
    np.testing.assert_allclose(rows.decode(), expected, rtol=1e-6)
    np.testing.assert_array_equal(rows[1:3].decode(), rows.decode()[1:3])


@pytest.mark.parametrize("outputs", [True, False])
def test_word_vectors_are_read_as_they_were_written(tmp_path: Path, outputs: bool) -> None:
    settings = FastTextSettings(dim=3, model=SKIP_GRAM, loss=2, minn=1, maxn=2, bucket=5)
    model = make([b"</s>", b"good", b"bad"], [], settings, np.array([1, 4]))
    if not outputs:
        model = dataclasses.replace(model, output=model.output[:0])
    fasttext_file.write(tmp_path / "vectors.bin", model)
    found = fasttext_file.read(tmp_path / "vectors.bin")
    assert not found.supervised
    assert found.labels() == []
    assert found.words() == [b"</s>", b"good", b"bad"]
    assert found.output.shape == ((3, 3) if outputs else (0, 3))
    fasttext_file.write(tmp_path / "again.bin", found)
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "vectors.bin").read_bytes()


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
        (36, "<i", 2, "output rows are 2 x 3, where the dictionary asks for 3 x 3"),
        (36, "<i", 4, "model = 4 is not allowed: 1 to 3"),
        (40, "<i", 0, "bucket = 0"),
        (40, "<i", -1, "bucket = -1"),
        (40, "<i", 2**31 - 1, r"8 x 3, where the dictionary asks for 2147483650 x 3"),
        (48, "<i", 2000, "maxn = 2000"),
        (64, "<i", 2**31 - 1, "cannot be"),
        (68, "<i", 5, "cannot be"),
        (72, "<i", 0, "cannot be"),
        (84, "<q", 0, "pruned, but its rows are not quantised"),
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
