"""Where URIs lead, and what is said when they lead nowhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError, InternalServerError
from wildsage.platform.locations import join, missing, resolve, upload


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's store in memory, empty before and after."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def test_paths_and_file_uris(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "100%25").touch()
    for uri, path in [
        ("/data/train", Path("/data/train")),
        ("data", tmp_path / "data"),
        ("~/data", tmp_path / "data"),
        ("file:///data/train", Path("/data/train")),
        ("file://data/train", tmp_path / "data" / "train"),
        ((tmp_path / "with space").as_uri(), tmp_path / "with space"),
        (f"file://{tmp_path}/100%25", tmp_path / "100%25"),
        ("a:b//c", tmp_path / "a:b//c"),
        ("~nobody by that name/x", tmp_path / "~nobody by that name" / "x"),
    ]:
        assert resolve(uri, home).path == path


def test_a_bucket_is_a_folder_if_it_exists(home: Path) -> None:
    assert resolve("s3://mine/a/b", home).url == "s3://mine/a/b"
    bucket = home / "buckets" / "mine"
    bucket.mkdir(parents=True)
    assert resolve("s3://mine/a/b", home).path == bucket / "a" / "b"
    assert resolve("s3://mine", home).path == bucket
    assert resolve("s3://mine/", home).path == bucket
    for uri in (
        "s3://mine/../other/x",
        "s3://mine/a/../../other",
        "s3://",
        "s3:///key",
        "s3://..",
        "file://",
        "",
        " ",
        "a\0b",
    ):
        with pytest.raises(ClientError):
            resolve(uri, home)


@given(uri=st.text() | st.text().map("s3://mine/".__add__) | st.text().map("file://".__add__))
def test_any_text_is_a_location_or_a_client_error(tmp_path_factory: pytest.TempPathFactory, uri: str) -> None:
    home = tmp_path_factory.getbasetemp() / "home"
    bucket = home / "buckets" / "mine"
    bucket.mkdir(parents=True, exist_ok=True)
    try:
        location = resolve(uri, home)
    except ClientError:
        return
    assert (location.path is None) == bool(location.url)
    if uri.startswith("s3://mine/"):
        assert location.path is not None
        assert location.path.is_relative_to(bucket)
        assert ".." not in location.path.relative_to(bucket).parts


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("s3://b/", "job", "output/model.tar.gz"), "s3://b/job/output/model.tar.gz"),
        (("s3://b//", "/job/"), "s3://b/job"),
        (("/out", "job"), "/out/job"),
        (("/", "job"), "/job"),
        (("s3://b",), "s3://b"),
    ],
)
def test_join(parts: tuple[str, ...], joined: str) -> None:
    assert join(*parts) == joined


def test_a_missing_path_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "train.txt").touch()
    assert str(missing(tmp_path / "reviews" / "trian.txt")).endswith(
        'trian.txt does not exist; did you mean "train.txt"?'
    )
    text = str(missing(tmp_path / "review" / "train.txt"))
    assert text.endswith(f'does not exist: {tmp_path} has no "review"; did you mean "reviews"?')
    (tmp_path / "reviews" / "a.csv").touch()
    assert str(missing(tmp_path / "reviews" / "b.csv")).endswith("b.csv does not exist")
    assert str(missing(tmp_path / "reviews" / "brain.txt")).endswith('did you mean "train.txt"?')
    assert str(missing(tmp_path / "reviews" / "test.txt")).endswith("test.txt does not exist")
    assert str(missing(tmp_path / "reviews" / "train.csv")).endswith('did you mean "train.txt"?')
    assert str(missing(tmp_path / "elsewhere" / "train.txt")).endswith(f'{tmp_path} has no "elsewhere"')
    assert "is not a folder" in str(missing(tmp_path / "reviews" / "train.txt" / "x"))


def test_storage_that_cannot_be_reached(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ClientError, match=r'"memori" is not a kind of storage that fsspec knows; did you mean "memory"'
    ):
        upload(tmp_path / "file", "memori://x", home)
    if importlib.util.find_spec("s3fs") is None:
        with pytest.raises(ClientError, match=r"pip install s3fs, or make the folder .*/buckets/mine to keep it here"):
            upload(tmp_path / "file", "s3://mine/x", home)


def test_upload(home: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    source = tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    (source / "a.out").write_bytes(b"1")
    (source / "deep" / "b.out").write_bytes(b"2")
    (home / "buckets" / "mine").mkdir(parents=True)
    for uri in (str(tmp_path / "there"), "s3://mine/results", "memory://results"):
        upload(source, uri, home)
        upload(source / "a.out", join(uri, "single"), home)
    for folder in (tmp_path / "there", home / "buckets" / "mine" / "results"):
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == {"a.out": b"1", "deep/b.out": b"2", "single": b"1"}
    assert sorted(memory.find("/results")) == ["/results/a.out", "/results/deep/b.out", "/results/single"]
    upload(source / "deep" / "b.out", str(tmp_path / "there" / "single"), home)
    assert (tmp_path / "there" / "single").read_bytes() == b"2"
    with pytest.raises(ClientError, match="does not exist"):
        upload(source / "c.out", "memory://x", home)
    with pytest.raises(ClientError, match="writing"):
        upload(source, str(source / "a.out"), home)


def test_upload_keeps_holes(home: Path, tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(8 << 20)
    upload(tmp_path / "sparse", str(tmp_path / "copy"), home)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "sparse").read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 < 2 << 20


def test_a_storage_that_fails(home: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    (tmp_path / "file").touch()
    memory.pipe_file("/taken", b"")
    with pytest.raises((ClientError, InternalServerError), match="memory://taken/x"):
        upload(tmp_path / "file", "memory://taken/x", home)
