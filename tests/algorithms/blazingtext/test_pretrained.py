"""Word vectors as a start: every format, what is placed, and what is wrong with a file."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job, reviews
from wildsage.algorithms.blazingtext import BlazingText, epochs, fasttext_file, pretrained, supervised
from wildsage.algorithms.blazingtext.fasttext_file import SKIP_GRAM, FastTextSettings
from wildsage.algorithms.blazingtext.kernels.predict import NEGATIVE
from wildsage.algorithms.blazingtext.word2vec_file import Vectors
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract.channels import Channel
from wildsage.contract.errors import ClientError, DataError

WORDS = ["good", "bad", "only3", "elsewhere", "meh"]
ROWS = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def write(folder: Path, form: str) -> Path:
    """A file of WORDS and ROWS in a folder of its own."""
    folder.mkdir(parents=True)
    if form in ("subwords.bin", "fasttext.bin"):
        subwords = form == "subwords.bin"
        model = WordVectors.from_training(
            words=[word.encode() for word in WORDS],
            word_counts=np.arange(5, 0, -1),
            settings=FastTextSettings(
                dim=8, model=SKIP_GRAM, loss=NEGATIVE, bucket=9 if subwords else 0, minn=3 * subwords, maxn=4 * subwords
            ),
            word_rows=ROWS,
            bucket_ids=np.arange(9 if subwords else 0),
            bucket_rows=np.ones((9 if subwords else 0, 8), np.float32),
            output=ROWS,
        )
        model.save(folder)
        (folder / "vectors.txt").unlink()
        return folder / "vectors.bin"
    vectors = WordVectors.from_vectors(pretrained.word2vec_file.Vectors([word.encode() for word in WORDS], ROWS))
    name = form.removesuffix(".gz")
    path = folder / name
    vectors.export(path)
    if form == "glove.txt":
        path.write_bytes(path.read_bytes().partition(b"\n")[2])
    if form.endswith(".gz"):
        (folder / form).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder / form


def archive(*names: str) -> bytes:
    """A .tar.gz of files that hold what cannot be packed small."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2000
            packed.addfile(member, io.BytesIO(np.random.default_rng(0).bytes(member.size)))
    return written.getvalue()


FORMS = ["v.vec", "glove.txt", "v.vec.gz", "v.bin", "v.bin.gz", "fasttext.bin", "subwords.bin", "v.safetensors"]


@pytest.mark.parametrize("form", FORMS)
def test_words_start_from_their_vectors(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs.Training, "run_epoch", lambda self: setattr(self.position, "lines", [
        part.starts.size - 1 for part in self.parts
    ]))  # fmt: skip
    context = job(tmp_path, {"train": reviews(200), "pretrained_vectors": {}}, listener := Listener(), epochs=1)
    path = write(tmp_path / "made", form)
    path.rename(context.channels["pretrained_vectors"].path / path.name)
    rows = supervised.train(context)
    found = dict(zip(rows.vocabulary.words, rows.word_rows, strict=True))
    expected = dict(zip(WORDS, ROWS, strict=True))
    if form == "subwords.bin":
        model = WordVectors.read(context.channels["pretrained_vectors"].path / path.name)
        expected = dict(zip(WORDS, model.of(WORDS), strict=True))
    for word in ("good", "bad", "only3", "meh"):
        np.testing.assert_allclose(found[word.encode()], expected[word], rtol=1e-6)
    assert b"elsewhere" not in found
    assert 0 < np.abs(found[b"nice"]).max() <= 1 / 8  # at random, as ever
    assert any(line.startswith("pretrained vectors: 4 of ") for line in listener.lines)


@pytest.mark.parametrize("packed", [False, True])
def test_what_a_job_for_word_vectors_leaves_is_taken(tmp_path: Path, packed: bool) -> None:
    made = write(tmp_path / "made", "subwords.bin")
    for name in ("eval.json", "vectors.txt"):  # not looked at, where vectors.bin is
        (made.parent / name).write_text("{}")
    channel = Channel(pretrained.CHANNEL, tmp_path / "channel" if packed else made.parent)
    if packed:
        channel.path.mkdir()
        with tarfile.open(channel.path / "model.tar.gz", "w:gz") as archive:
            archive.add(made.parent, ".")
    pretrained.check(channel, 8)
    with pytest.raises(DataError, match="its vectors have 8 columns"):
        pretrained.check(channel, 9)
    found = pretrained.read(channel, [b"bad", b"nobody"], 8)
    assert found.numbers.tolist() == [0]
    np.testing.assert_array_equal(found.rows[0], WordVectors.read(made).of(["bad"])[0])


def test_they_are_trained_on(tmp_path: Path) -> None:
    """One epoch at a small rate learns from vectors that tell the labels, and next to nothing without."""
    vectors = {"good": [1, 0], "nice": [1, 0], "fine": [1, 0], "bad": [0, 1], "poor": [0, 1], "awful": [0, 1]}
    text = "6 2\n" + "".join(f"{word} {8 * a} {8 * b}\n" for word, (a, b) in vectors.items())
    accuracies = []
    for name, channels in (("with", {"pretrained_vectors": text}), ("without", {})):
        listener = Listener()
        given = {"train": reviews(100), "validation": reviews(300, seed=2), **channels}
        settings = {"vector_dim": 2, "epochs": 1, "learning_rate": 0.05, "word_ngrams": 2}
        supervised.train(job(tmp_path / name, given, listener, **settings))
        accuracies.append(listener.validations()[-1])
    assert accuracies[0] > accuracies[1] + 0.15


@pytest.mark.parametrize(
    ("files", "settings", "reason"),
    [
        ({"v.vec": b"2 3\na 1 2 3\nb 1 2 3\n"}, {}, "v.vec: its vectors have 3 columns, so vector_dim must be 3"),
        ({"v.txt": b"a 1 2 3\nb 1 2 3\n"}, {}, "v.txt: its vectors have 3 columns, so vector_dim must be 3"),
        ({"v.vec.gz": gzip.compress(b"1 3\na 1 2 3\n")}, {}, "v.vec.gz: its vectors have 3 columns"),
        ({"v.vec": b"2 8\na 1 2\n"}, {}, "v.vec"),
        (
            {"v.vec.gz": gzip.compress(b"1 2\na 1 x\n")},
            {"vector_dim": 2},
            "v.vec.gz, line 2, column 5: unpacked, a number",
        ),
        ({"v.vec.gz": gzip.compress(b"1 2\na 1 2\n")[:-9]}, {"vector_dim": 2}, "v.vec.gz: cannot be "),
        (
            {"a.vec": b"1 8\n", "b.vec": b"1 8\n"},
            {},
            r"one file of word vectors is wanted, and there are: a.vec, b.vec",
        ),
        ({"model.bin": b"nonsense"}, {}, "model.bin"),
        ({"v.vec": b""}, {}, "v.vec"),
        ({"text.txt": b"a line of text\nand another\n"}, {}, "text.txt, line 1: not word vectors"),
        ({"model.tar.gz": archive("model.bin")}, {}, r"an archive without vectors.bin or vectors.txt: it holds model"),
        ({"model.tar.gz": archive("vectors.bin")[:-40]}, {}, r"model.tar.gz: cannot be "),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    files: dict[str, bytes], settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ClientError, match=reason):
        supervised.train(job(tmp_path, {"train": reviews(30), "pretrained_vectors": files}, **settings))


def test_folds_are_done_again_with_other_vectors(tmp_path: Path) -> None:
    listeners = []
    for rows in (ROWS, ROWS, ROWS + 1):
        vectors = Vectors([word.encode() for word in WORDS], rows)
        WordVectors.from_vectors(vectors).export(tmp_path / "v.vec")
        channels = {"train": reviews(200), "pretrained_vectors": {"v.vec": (tmp_path / "v.vec").read_bytes()}}
        listeners.append(Listener())
        supervised.train(job(tmp_path / "job", channels, listeners[-1], k_fold=2, epochs=1))
    told = ["2 of 2 folds are done already" in listener.lines for listener in listeners]
    assert told == [False, True, False]


def test_a_classifier_is_no_start(tmp_path: Path) -> None:
    model = BlazingText().train(job(tmp_path / "a", {"train": reviews(30)}))
    (tmp_path / "b" / "pretrained_vectors").mkdir(parents=True)
    model.save(tmp_path / "b" / "pretrained_vectors")
    context = job(tmp_path / "b", {"train": reviews(30), "pretrained_vectors": {}})
    with pytest.raises(DataError, match="a text classifier, not word vectors"):
        supervised.train(context)
    (tmp_path / "b" / "model").mkdir()
    model.save(tmp_path / "b" / "model")
    context = job(tmp_path / "b", {"train": reviews(30), "pretrained_vectors": {}, "model": {}})
    with pytest.raises(ClientError, match="both say where words start"):
        BlazingText().train(context)


def test_memory_is_known_before(tmp_path: Path) -> None:
    plain = BlazingText().estimate_memory(job(tmp_path, {"train": reviews(30)})).peak_bytes
    files = {"v.vec": b"3000000 8\n" + b"x" * 2_000_000_0}
    more = BlazingText().estimate_memory(job(tmp_path, {"train": reviews(30), "pretrained_vectors": files})).peak_bytes
    assert more > plain + 19_000_000


@given(st.one_of(st.binary(max_size=80), st.sampled_from([b"2 8\n", b"1 8\na ", b"\x1f\x8b"]).flatmap(
    lambda head: st.binary(max_size=60).map(lambda rest: head + rest)
)))  # fmt: skip
def test_any_bytes_are_vectors_or_a_client_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "v.vec").write_bytes(data)
    channel = Channel("pretrained_vectors", folder)
    with contextlib.suppress(ClientError):
        pretrained.check(channel, 8)
        found = pretrained.read(channel, [b"a", b"b"], 8)
        assert found.rows.shape == (found.numbers.size, 8)
    pretrained.memory(channel)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3),
    st.integers(0, 10**6),
    st.sampled_from(["v.txt", "v.bin", "v.safetensors", "f.bin", "v.txt.gz"]),
)
def test_a_flipped_or_cut_file_is_vectors_or_a_client_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int, name: str
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    model = WordVectors.from_vectors(Vectors([b"good", b"bad", b"other"], rows, None))
    path = folder / name
    if name == "f.bin":
        fasttext_file.write(path, model.file)
    elif name.endswith(".gz"):
        model.export(folder / "v.txt")
        path.write_bytes(gzip.compress((folder / "v.txt").read_bytes()))
        (folder / "v.txt").unlink()
    else:
        model.export(path)
    data = bytearray(path.read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    path.write_bytes(data[: cut % (2 * len(data))])
    channel = Channel(pretrained.CHANNEL, folder)
    try:
        pretrained.check(channel, 8)
        pretrained.memory(channel)
        found = pretrained.read(channel, [b"good", b"bad"], 8)
    except ClientError:
        return
    assert np.isfinite(found.rows).all()


def test_a_file_of_another_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "v.bin").write_bytes(fasttext_file.HEAD.pack(fasttext_file.MAGIC, 99) + bytes(100))
    channel = Channel(pretrained.CHANNEL, tmp_path)
    pretrained.check(channel, 8)
    with pytest.raises(ClientError, match="byte 4: version 99 of fastText's format is not supported"):
        pretrained.read(channel, [b"good"], 8)
