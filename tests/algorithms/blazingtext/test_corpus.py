"""Text to numbers, against a few lines of Python."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import words_of_lines
from tests.algorithms.blazingtext.naive import tokens_of, unquoted
from wildsage.algorithms.blazingtext import corpus, text_files
from wildsage.contract.channels import Channel, InputMode
from wildsage.contract.errors import ClientError, DataError

# Bytes that matter, in shapes that hypothesis alone would hardly find.
PIECES = [b" ", b"\n", b"\t", b"\r\n", b"\v", b"\f", b'"', b'""', b"__label__", b"__label__1", b"</s>", b"a"]
PIECES += [b"word", b"eightyes", b"ninebytes", b"seventeen-letters", "é".encode(), b"</s", b"__labe"]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200).map(str.encode),
)


def encoded(*contents: bytes, threads: int = 1) -> corpus.Corpus:
    return corpus.encode([corpus.Text.of(Path(f"{k}.txt"), text) for k, text in enumerate(contents)], threads, Event())


@given(TEXT)
def test_tokens_are_fasttexts(data: bytes) -> None:
    plain = b"\n".join(unquoted(line) for line in data.split(b"\n"))
    made = encoded(data)
    assert words_of_lines(made) == tokens_of(plain)
    counted = dict(zip(made.counts.names(np.arange(len(made.counts))), made.counts.counts.tolist(), strict=True))
    words = [word for line in tokens_of(plain) for word in line]
    assert counted == {word: words.count(word) for word in words}
    assert list(counted) == list(dict.fromkeys(words))  # numbered by first sight


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 300_001])
def test_parts_make_no_difference(size: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "SMALL_PART", 1000)
    rng = np.random.default_rng(size)
    data = rng.choice(np.frombuffer(b"abcdefgh    \n", np.uint8), size).tobytes()
    assert words_of_lines(encoded(data, threads=threads)) == tokens_of(data)


def test_arrays_grow_with_what_they_hold() -> None:
    for data in (b"\n" * 50_000, b"a " * 50_000, b" ".join(b"%d" % k for k in range(50_000)), b"x" * 100_000):
        assert words_of_lines(encoded(data)) == tokens_of(data)


def test_files_follow_each_other_and_keep_their_lines() -> None:
    made = encoded(b"a b\nc", b"d\n", b"a\n\n")
    assert words_of_lines(made) == [[b"a", b"b", b"</s>"], [b"c"], [b"d", b"</s>"], [b"a", b"</s>"], [b"</s>"]]
    assert [part.file.name for part in made.parts] == ["0.txt", "1.txt", "2.txt"]
    assert made.tokens == 9


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('__label__1 "a b"', [b"__label__1", b"a", b"b"]),
        ('  __label__1 __label__2\t"a b" \r', [b"__label__1", b"__label__2", b"a", b"b"]),
        ('"a b" __label__1', [b"a", b"b", b"__label__1"]),
        ('"__label__1 a b"', [b"__label__1", b"a", b"b"]),
        ('__label__1 "say ""yes"" now"', [b"__label__1", b"say", b'"yes"', b"now"]),
        ('__label__1 " a "', [b"__label__1", b'"', b"a", b'"']),  # words of their own, as in tokenised text
        ('__label__1 "a" and "b"', [b"__label__1", b'"a"', b"and", b'"b"']),
        ('__label__1 "a', [b"__label__1", b'"a']),
        ('__label__1 ""', [b"__label__1", b'""']),
    ],
)
def test_quotes_around_a_text_go(line: str, expected: list[bytes]) -> None:
    assert words_of_lines(encoded(line.encode())) == [expected]


def test_a_stop_is_obeyed() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(corpus.StoppedEarlyError):
        corpus.encode([corpus.Text.of(Path("a"), b"a b\n")], 2, stop)


def channel(folder: Path, files: dict[str, bytes], **settings: Any) -> Channel:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Channel("train", folder, **settings)


def test_files_are_read_in_order_packed_or_not(tmp_path: Path) -> None:
    long = b"__label__b second line\n" * 10
    files = {"b": long, "a.gz": gzip.compress(b"__label__a first\n"), "c": b"", ".hidden": b"no"}
    texts = text_files.read(channel(tmp_path, files))
    assert [text.head for text in texts] == [b"__label__a first\n", long]
    assert corpus.encode(texts, 2, Event()).tokens == 3 + 40


def test_text_is_unquoted_in_memory_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "HEAD", 64)
    data = b'__label__1 "mapped text"\n' * 8
    made = corpus.encode(text_files.read(channel(tmp_path, {"a": data})), 1, Event())
    assert words_of_lines(made) == [[b"__label__1", b"mapped", b"text", b"</s>"]] * 8
    assert made.unquoted == 8
    assert (tmp_path / "a").read_bytes() == data


@pytest.mark.parametrize("content_type", [None, "application/jsonlines", "application/jsonlines; charset=utf-8"])
def test_augmented_manifests_become_lines(tmp_path: Path, content_type: str | None) -> None:
    rows = b'{"source": "a \\u00e9\\nb", "label": 1}\n\n{"label": [3, -1], "source": "c", "label-metadata": {"x": 1}}\n'
    made = corpus.encode(text_files.read(channel(tmp_path, {"m": rows}, content_type=content_type)), 1, Event())
    assert words_of_lines(made) == [
        [b"__label__1", b"a", "é".encode(), b"b", b"</s>"],
        [b"</s>"],
        [b"__label__3", b"__label__-1", b"c", b"</s>"],
    ]


@pytest.mark.parametrize(
    "bad", [b"{", b'{"source": 1, "label": 1}', b'{"source": "a"}', b'{"source": "a", "label": "x"}']
)
def test_a_wrong_manifest_names_its_line(tmp_path: Path, bad: bytes) -> None:
    rows = b'{"source": "a", "label": 1}\n' + bad + b"\n"
    with pytest.raises(DataError, match=r"m, line 2: .*\"label\": 1"):
        corpus.encode(text_files.read(channel(tmp_path, {"m": rows})), 1, Event())


@given(st.binary(max_size=200))
def test_any_manifest_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    made = channel(folder, {"m": b'{"source": "a", "label": 1}\n' + data}, content_type="application/jsonlines")
    with contextlib.suppress(DataError):
        corpus.encode(text_files.read(made), 1, Event())


def test_a_pipe_is_read(tmp_path: Path) -> None:
    (tmp_path / "train_0").write_bytes(b'{"source": "a b", "label": 1}\n')
    made = Channel("train", tmp_path / "train", "application/jsonlines", InputMode.PIPE)
    assert corpus.encode(text_files.read(made), 1, Event()).tokens == 4


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "channel train: no file in"),
        ({"a": b"", "b": b""}, "channel train: empty \\(a, b\\)"),
        ({"a.gz": gzip.compress(b"text" * 100)[:-20]}, "a.gz: cannot be read"),
        ({"a.gz": b"\x1f\x8b nonsense"}, "a.gz: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        text_files.read(channel(tmp_path, files))


@pytest.mark.parametrize("head", [10, 1 << 16])
def test_a_byte_order_mark_is_no_part_of_the_first_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: int
) -> None:
    monkeypatch.setattr(text_files, "HEAD", head)
    (tmp_path / "a.txt").write_text("__label__a nice\n__label__b bad\n" * 10, "utf-8-sig")
    made = corpus.encode(text_files.read(Channel("train", tmp_path)), 1, Event())
    assert words_of_lines(made)[0] == [b"__label__a", b"nice", b"</s>"]
    assert (tmp_path / "a.txt").read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeff__label__a nice\n".encode(encoding))
    with pytest.raises(DataError, match=r"a\.txt, line 1: the text is UTF-16; save it as UTF-8"):
        text_files.read(Channel("train", tmp_path))
