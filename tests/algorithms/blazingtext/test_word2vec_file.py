"""word2vec's formats and safetensors: round trips, numbers to the bit, and every way to be no such file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.algorithms.blazingtext import word2vec_file
from wildsage.algorithms.blazingtext.kernels.numerals import LONGEST_NUMBER, read_number, write_lines, write_number
from wildsage.algorithms.blazingtext.word2vec_file import Vectors
from wildsage.contract.errors import AlgorithmError, DataError

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
WORDS = st.lists(st.binary(min_size=1, max_size=9).filter(lambda word: not set(word) & set(b"\0 \t\n\r")), max_size=9)


def written(value: float) -> bytes:
    out = np.empty(LONGEST_NUMBER, np.uint8)
    return out[: write_number(np.float32(value), out, 0)].tobytes()


def parsed(text: bytes) -> tuple[float, int]:
    return read_number(np.frombuffer(text, np.uint8), 0, len(text))


@given(FLOATS)
def test_a_number_is_read_back_as_itself(value: float) -> None:
    text = written(value)
    assert len(text) < LONGEST_NUMBER
    assert np.float32(float(text)) == np.float32(value)
    number, end = parsed(text)
    assert np.float32(number) == np.float32(value)
    assert end == len(text)


def test_lines_of_the_longest_numbers_stay_within_their_room() -> None:
    rows = np.full((3, 50), -1.2345678e-5, np.float32)
    room = 3 + 3 * (LONGEST_NUMBER * 50 + 1)
    out = np.full(room + 1000, 7, np.uint8)
    end = write_lines(np.frombuffer(b"abc", np.uint8), np.arange(4), rows, out)
    assert end <= room
    assert (out[room:] == 7).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, b"0"),
        (-0.0, b"0"),
        (1, b"1"),
        (-1.5, b"-1.5"),
        (0.1, b"0.100000001"),
        (123456784, b"123456784"),
        (1e9, b"1e+09"),
        (1e-5, b"9.99999975e-06"),
        (-1.2345678e-5, b"-0.0000123456784"),
        (0.00012345, b"0.000123449994"),
        (9.9999999e8, b"1e+09"),
        (1e-45, b"1.40129846e-45"),
        (3.4028235e38, b"3.40282347e+38"),
        (1000, b"1000"),
    ],
)
def test_numbers_as_they_are_written(value: float, text: bytes) -> None:
    assert written(value) == text


@given(st.from_regex(r"[+-]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_any_decimal_is_read(text: str) -> None:
    number, end = parsed(text.encode())
    assert end == len(text)
    expected = float(text)
    if abs(expected) > 1e-290:
        assert number == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("text", [b"", b"-", b".", b"e5", b"nan", b"inf", b"1e", b"1e+", b"--1", b"x"])
def test_what_is_no_number(text: bytes) -> None:
    assert parsed(text)[1] == -1


def vectors(words: list[bytes], dim: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(len(words), dim)).astype(np.float32)
    return Vectors(words, rows)


def source(given: Vectors):  # type: ignore[no-untyped-def]
    return lambda begin, end: given.rows[begin:end]


@given(WORDS, st.integers(1, 20), st.integers(0, 99), st.sampled_from([".txt", ".bin", ".safetensors"]))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, words: list[bytes], dim: int, seed: int, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round{ending}"
    given = vectors(words, dim, seed)
    if ending == ".txt":
        word2vec_file.write_text(path, words, dim, source(given))
    elif ending == ".bin":
        word2vec_file.write_binary(path, words, dim, source(given))
    else:
        word2vec_file.write_safetensors(path, words, dim, source(given), np.arange(len(words)))
    assert word2vec_file.is_vectors(path)
    found = word2vec_file.read(path)
    assert found.words == words
    np.testing.assert_array_equal(found.rows, given.rows)
    assert (found.counts is None) == (ending != ".safetensors")


def test_a_large_file_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word2vec_file, "CHUNK_BYTES", 64)
    given = vectors([b"w%d" % i for i in range(50)], 3)
    for name, write in (("v.txt", word2vec_file.write_text), ("v.bin", word2vec_file.write_binary)):
        write(tmp_path / name, given.words, 3, source(given))
        found = word2vec_file.read(tmp_path / name)
        assert found.words == given.words
        np.testing.assert_array_equal(found.rows, given.rows)


def read(folder: Path, data: bytes, name: str = "some.txt") -> Vectors:
    (folder / name).write_bytes(data)
    return word2vec_file.read(folder / name)


def test_text_as_others_write_it(tmp_path: Path) -> None:
    found = read(tmp_path, b"2 3\r\ngood 1 2.5 -3e-1 \r\n\nbad\t.5\t+1\t0\t\n\n")
    assert found.words == [b"good", b"bad"]
    np.testing.assert_array_equal(found.rows, np.float32([[1, 2.5, -0.3], [0.5, 1, 0]]))


def test_glove_s_text_has_no_first_line_and_blanks_in_words(tmp_path: Path) -> None:
    found = read(tmp_path, b"the 1 2 3\n. . . 4 5 6\nat 3 7 8 9")
    assert found.words == [b"the", b". . .", b"at 3"]
    np.testing.assert_array_equal(found.rows, np.float32([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))


def test_word2vec_s_binary_with_and_without_newlines(tmp_path: Path) -> None:
    row = struct.pack("<2f", 1.5, -2)
    for between in (b"", b"\n"):
        found = read(tmp_path, b"2 2\n" + b"a " + row + between + b"b " + row + between, "some.bin")
        assert found.words == [b"a", b"b"]
        np.testing.assert_array_equal(found.rows, np.float32([[1.5, -2]] * 2))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"some\.txt, line 1: not word vectors"),
        (b"just words\n", r"line 1: not word vectors"),
        (b"2 0\na\nb\n", r"line 1: vectors of 0 columns are not allowed"),
        (b"2 3\na 1.5 2.5 3.5\n", r"line 3: the file is cut off: 1 vectors of 2"),
        (b"2 3\na 1 2 3\n", r"line 1: 2 vectors of 3 columns do not fit into 12 bytes"),
        (b"2 3\na 1 2 3\nb 1 2", r"line 3, column \d+: the line has too few numbers: 3 are wanted"),
        (b"2 4\na 1 two 3 4\nb 1 2 3 4\n", r"line 2, column \d: a number is wanted here"),
        (b"2 4\na 0.x 2 3 4\nb 1 2 3 4\n", r"line 2, column \d: a number is wanted here"),
        (b"2 3\na 1 2 3\nb 1 two 3\n", r"line 3, column 5: a number is wanted here"),
        (b"2 3\na 1 2 3\nb 1 nan 3\n", r"line 3, column 5: a number is wanted here"),
        (b"2 3\na 1 2 3\nb 1 1e99 3\n", r"line 3, column 5: a number is wanted here"),
        (b"1 3\na 1 2 3\nb 1 2 3\n", r"line 3, column 1: more lines than the first one says"),
        (b"1 3\n 1 2 3\n", r"line 2, column 1: a word is wanted"),
        (b"1 3\na\0b 1 2 3\n", r"line 2, column 2: a word with a zero byte"),
        (b"9999999 3\na 1 2 3\n", r"line 1: 9999999 vectors of 3 columns do not fit into 18 bytes"),
        (b"2 2\na " + struct.pack("<2f", 1, 2) + b"b " + bytes(7), r"byte 23: the file is cut off"),
        (b"1 2\na " + struct.pack("<2f", 1, np.nan), r"byte 4: the vector of word 1 is not finite"),
        (b"1 2\na " + struct.pack("<2f", 1, 2) + b"more", r"byte 14: more bytes follow"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(tmp_path, data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"2 3\n", b"1 1\na ", b"3 2\na 1 2\n"]))
def test_any_bytes_are_vectors_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        found = read(folder, head + data)
    except DataError:
        return
    assert found.rows.shape[0] == len(found.words)
    assert np.isfinite(found.rows).all()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_flipped_safetensors_is_vectors_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    given = vectors([b"a", b"bc"], 2)
    word2vec_file.write_safetensors(folder / "flip.safetensors", given.words, 2, source(given), np.arange(2))
    data = bytearray((folder / "flip.safetensors").read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    try:
        found = read(folder, bytes(data), "flipped.safetensors")
    except DataError:
        return
    assert found.rows.shape[0] == len(found.words)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3),
    st.integers(0, 10**6),
    st.sampled_from([".txt", ".bin", ".safetensors"]),
)
def test_a_flipped_or_cut_file_is_vectors_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"whole{ending}"
    given = vectors([b"king", b"queen", b"of", b"it"], 5)
    if ending == ".txt":
        word2vec_file.write_text(path, given.words, 5, source(given))
    elif ending == ".bin":
        word2vec_file.write_binary(path, given.words, 5, source(given))
    else:
        word2vec_file.write_safetensors(path, given.words, 5, source(given), np.arange(4))
    data = bytearray(path.read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    try:
        found = read(path.parent, bytes(data[: cut % (2 * len(data))]), f"damaged{ending}")
    except DataError:
        return
    assert found.rows.shape[0] == len(found.words)
    assert np.isfinite(found.rows).all()


def test_safetensors_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    from safetensors.numpy import save

    rows = np.ones((2, 3), np.float32)
    for tensors, reason in (
        ({"weight": rows}, "holds weight, not vectors and words"),
        ({"vectors": rows[0], "words": np.frombuffer(b"a", np.uint8)}, r"must be floats \(V, dim\)"),
        ({"vectors": rows, "words": np.ones(2, np.int64)}, "words must be bytes"),
        ({"vectors": rows, "words": np.frombuffer(b"a", np.uint8)}, "2 vectors, but 1 words"),
        ({"vectors": rows * np.nan, "words": np.frombuffer(b"a\nb", np.uint8)}, "not all finite"),
        ({"vectors": rows, "words": np.frombuffer(b"a\nb", np.uint8), "counts": rows}, "counts must be an integer"),
    ):
        with pytest.raises(DataError, match=reason):
            read(tmp_path, save(tensors), "some.safetensors")
    with pytest.raises(DataError, match="not a file of safetensors"):
        word2vec_file.read(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="No such file"):
        word2vec_file.read(tmp_path / "none.txt")


def test_a_newline_in_a_word_has_no_place_in_safetensors(tmp_path: Path) -> None:
    given = vectors([b"a\nb"], 2)
    with pytest.raises(AlgorithmError, match="newline"):
        word2vec_file.write_safetensors(tmp_path / "v.safetensors", given.words, 2, source(given), np.ones(1, np.int64))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", [b"", b"1 2\n"])
def test_a_byte_order_mark_is_passed_over(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "v.vec"
    path.write_bytes(b"\xef\xbb\xbf" + head + b"a 1 2\n")
    found = word2vec_file.read(path)
    assert found.words == [b"a"]
    assert found.rows.tolist() == [[1, 2]]
