"""Text files in pieces: plain, packed, pipes, long lines, and what is wrong with them."""

from __future__ import annotations

import contextlib
import gzip
import os
import threading
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import words_of_lines
from tests.algorithms.blazingtext.naive import tokens_of
from wildsage.algorithms.blazingtext import corpus, text_files
from wildsage.algorithms.blazingtext.text_files import Text
from wildsage.contract.channels import Channel, InputMode
from wildsage.contract.errors import ClientError, DataError

LINE = b"__label__a some words of it\n"


def channel(folder: Path, files: dict[str, bytes], **settings: Any) -> Channel:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Channel("train", folder, **settings)


def encoded(texts: list[Text], threads: int = 2, **options: Any) -> corpus.Corpus:
    return corpus.encode(texts, threads, Event(), **options)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "HEAD", 16)
    monkeypatch.setattr(corpus, "PART", 64)
    monkeypatch.setattr(corpus, "SMALL_PART", 64)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([b"a", b" ", b"\n", b"bc ", b"a-long-word-of-it", b"\r\n", b"\t"]), max_size=120),
    st.booleans(),
    st.integers(1, 3),
    st.booleans(),
)
@pytest.mark.usefixtures("small_steps")
def test_pieces_make_no_difference(
    tmp_path: Path, pieces: list[bytes], packed: bool, threads: int, labelled: bool
) -> None:
    data = b"x\n" + b"".join(pieces)
    made = channel(tmp_path, {"a": gzip.compress(data) if packed else data})
    read = encoded(text_files.read(made, labelled=labelled), threads, labelled=labelled)
    words = [word for line in tokens_of(data) for word in line]
    if labelled:
        assert words_of_lines(read) == tokens_of(data)
    else:  # a long line may be in several parts
        assert [word for line in words_of_lines(read) for word in line] == words
    assert read.counts.names(np.arange(len(read.counts))) == list(dict.fromkeys(words))
    assert read.size == len(data)


@pytest.mark.usefixtures("small_steps")
def test_manifests_are_read_in_pieces_and_name_their_line(tmp_path: Path) -> None:
    rows = [b'{"source": "word%d", "label": [%d, 2]}' % (k, k) for k in range(50)]
    made = encoded(text_files.read(channel(tmp_path, {"m": b"\n".join(rows)}, content_type="application/jsonlines")))
    assert len(made.parts) > 5
    assert words_of_lines(made) == [[b"__label__%d" % k, b"__label__2", b"word%d" % k, b"</s>"] for k in range(50)]
    rows[40] = b'{"source": 1}'
    with pytest.raises(DataError, match="m, line 41: "):
        encoded(text_files.read(channel(tmp_path, {"m": b"\n".join(rows)}, content_type="application/jsonlines")))


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_once(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART", 1000)
    monkeypatch.setattr(corpus, "SMALL_PART", 1000)
    data, pipe = LINE * 5000, tmp_path / "train_0"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(data) if packed else data,))
    writer.start()
    made = encoded(text_files.read(Channel("train", tmp_path / "train", input_mode=InputMode.PIPE)))
    writer.join()
    assert made.tokens == 6 * 5000
    assert made.size == len(data)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), ("text".encode("utf-16"), "UTF-16")])
def test_a_pipe_of_no_use_is_closed(tmp_path: Path, data: bytes, reason: str) -> None:
    pipe = tmp_path / "train_0"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    with pytest.raises(ClientError, match=reason):
        text_files.read(Channel("train", tmp_path / "train", input_mode=InputMode.PIPE))
    writer.join()
    open_files = Path("/proc/self/fd")  # where there is one
    assert not open_files.is_dir() or str(pipe) not in map(os.path.realpath, open_files.iterdir())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [10, 200_000])
def test_zero_bytes_are_named(tmp_path: Path, size: int, packed: bool) -> None:
    data = LINE * size + b"two\0words\n"
    made = channel(tmp_path, {"a.txt": gzip.compress(data) if packed else data})
    with pytest.raises(DataError, match=rf"a\.txt, line {size + 1}, byte {size * len(LINE) + 3}: a zero byte"):
        encoded(text_files.read(made))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_other_widths_of_characters_are_named(tmp_path: Path, encoding: str) -> None:
    made = channel(tmp_path, {"a.txt": "__label__a text\n".encode(encoding)})
    with pytest.raises(DataError, match=r"a\.txt, line 1.*UTF-16"):
        encoded(text_files.read(made))


@pytest.mark.parametrize("bad", [b"\xff", b"caf\xe9", b"\xc3", b"\xa9", b"\xed\xa0\x80", b"__label__\xe9"])
@pytest.mark.usefixtures("small_steps")
def test_what_is_not_utf_8_is_named(tmp_path: Path, bad: bytes) -> None:
    files = {"a": LINE * 9, "b": LINE * 30 + b"\nsome " + bad + b" word\n" + LINE * 9 + bad + b"\n"}
    with pytest.raises(DataError, match=r"/b, line 32: b'.*' is not UTF-8: save the text as UTF-8"):
        encoded(text_files.read(channel(tmp_path, files)))


def test_halves_of_a_character_do_not_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a, line 1: b'x\\xc3' is not UTF-8"):
        encoded(text_files.read(channel(tmp_path, {"a": b"x\xc3 \xa9\n"})))


def test_characters_of_every_length_are_words(tmp_path: Path) -> None:
    words = ["é", "größer", "日本", "🙂x", "a"]
    made = encoded(text_files.read(channel(tmp_path, {"a": (" ".join(words) + "\n").encode()})))
    assert words_of_lines(made) == [[*(word.encode() for word in words), b"</s>"]]


def test_a_file_that_is_cut_short_meanwhile_is_an_error(tmp_path: Path) -> None:
    made = channel(tmp_path, {"a.txt": LINE * 100_000})
    texts = text_files.read(made)
    os.truncate(tmp_path / "a.txt", 1_000_000)
    with pytest.raises(DataError, match=r"a\.txt, byte 1000000: became shorter while it was read: 1,000,000 bytes"):
        encoded(texts)


def test_a_file_that_grows_meanwhile_is_read_as_it_was(tmp_path: Path) -> None:
    made = channel(tmp_path, {"a.txt": LINE * 5_000})
    texts = text_files.read(made)
    with (tmp_path / "a.txt").open("ab") as file:
        file.write(LINE * 9)
    assert encoded(texts).tokens == 6 * 5_000


def test_a_file_that_goes_meanwhile_is_an_error(tmp_path: Path) -> None:
    texts = text_files.read(channel(tmp_path, {"a.txt": LINE * 5_000}))
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DataError, match=r"a\.txt: cannot be read"):
        encoded(texts)


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.999])
def test_a_packed_file_that_is_cut_is_an_error(tmp_path: Path, keep: float) -> None:
    rng = np.random.default_rng(0)
    packed = gzip.compress(b"".join(b"%d words\n" % k for k in rng.integers(0, 10**6, 50_000)))
    made = channel(tmp_path, {"a.gz": packed[: int(keep * len(packed))]})
    with pytest.raises(DataError, match=r"a\.gz, byte \d+: cannot be read: Compressed file ended"):
        encoded(text_files.read(made))


def test_a_bomb_is_refused_long_before_it_is_unpacked(tmp_path: Path) -> None:
    block = gzip.compress(b"a b c d e f g h\n" * (1 << 16))
    made = channel(tmp_path, {"a.gz": block * 2000})  # 2 GB
    with pytest.raises(ClientError, match=r"a\.gz: after 0\.\d GB of text, its words and their numbers take 0\.\d GB"):
        encoded(text_files.read(made), memory_bytes=100 << 20)


def test_a_vocabulary_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART", 1 << 16)
    data = b"\n".join(b"word%d" % k for k in range(100_000))
    with pytest.raises(ClientError, match="give less text, or text with fewer distinct words"):
        encoded(text_files.read(channel(tmp_path, {"a": data})), memory_bytes=4 << 20)


def test_a_long_line_is_read_whole_where_lines_have_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART", 1 << 12)
    monkeypatch.setattr(corpus, "SMALL_PART", 1 << 12)
    data = b"__label__a" + b" word" * 100_000 + b"\n__label__b end\n"
    made = channel(tmp_path, {"a": data})
    assert [len(line) for line in words_of_lines(encoded(text_files.read(made)))] == [100_002, 3]
    plain = encoded(text_files.read(made, labelled=False), labelled=False)
    assert plain.tokens == 100_005
    assert len(plain.parts) > 50, "in parts, so that it takes no more memory than other text"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3), st.integers(0, 10**6))
def test_a_flipped_or_cut_packed_file_is_text_or_a_data_error(
    tmp_path: Path, flips: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(gzip.compress(LINE * 50))
    for place, bits in flips:
        data[place % len(data)] ^= bits
    made = channel(tmp_path, {"a.gz": bytes(data[: cut % (2 * len(data)) + 1])})
    with contextlib.suppress(ClientError):
        assert encoded(text_files.read(made)).tokens > 0


@pytest.mark.parametrize("packed", [False, True])
def test_words_of_two_files_are_on_two_lines(packed: bool, tmp_path: Path, small_steps: None) -> None:
    contents = {"1": b"a b", "2": b"c\n", "3": b"long" * 40 + b" x" * 200 + b"  ", "4": b"y"}
    made = encoded(
        text_files.read(
            channel(tmp_path, {name: gzip.compress(text) if packed else text for name, text in contents.items()}),
            labelled=False,
        ),
        labelled=False,
    )
    words = [word for line in words_of_lines(made) for word in line]
    assert words == [b"a", b"b", b"</s>", b"c", b"</s>", b"long" * 40, *[b"x"] * 200, b"</s>", b"y"]


def test_small_files_take_little_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "HEAD", 64)
    texts = text_files.read(channel(tmp_path, {"1": LINE, "2": LINE * 20}))
    assert len(texts[1].head) <= 3
    for text in texts:
        (piece,) = text.pieces(1 << 24, cut_lines=False)
        assert len(piece.buffer) < piece.size + 1000
    for part in encoded(texts).parts:
        assert part.tokens.base is None
        assert part.starts.base is None
