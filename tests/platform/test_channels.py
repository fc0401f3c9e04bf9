"""Training data into channel folders."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError, DataError
from wildsage.platform.channels import place_channel

LAYOUT = {"a.csv": b"1", "deep/b.csv": b"2", "deep/er/c.csv": b"3"}


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def write(folder: Path, layout: dict[str, bytes]) -> Path:
    for name, content in layout.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_linked_not_copied(home: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {**LAYOUT, ".DS_Store": b"", ".git/config": b""})
    channel = tmp_path / "channel"
    placed = place_channel(str(source), channel, home)
    assert read(channel) == LAYOUT
    assert placed == sorted(channel / name for name in LAYOUT)
    assert (channel / "a.csv").samefile(source / "a.csv")
    assert place_channel(str(source), channel, home) == placed  # again, as when a job is resumed


def test_one_file(home: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "source", LAYOUT)
    (tmp_path / "link").symlink_to(source / "a.csv")
    assert place_channel(str(source / "a.csv"), tmp_path / "channel", home) == [tmp_path / "channel" / "a.csv"]
    place_channel((tmp_path / "link").as_uri(), tmp_path / "channel", home)
    (tmp_path / "link").unlink()
    assert read(tmp_path / "channel") == {"a.csv": b"1", "link": b"1"}


def test_linked_folders_are_followed_once(home: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "source", LAYOUT)
    (source / "deep" / "up").symlink_to(source)
    (source / "shared").symlink_to(write(tmp_path / "elsewhere", {"s.csv": b"4"}))
    place_channel(str(source), tmp_path / "channel", home)
    assert read(tmp_path / "channel") == {**LAYOUT, "shared/s.csv": b"4"}


def test_a_symbolic_link_where_a_hard_one_cannot_be(home: Path, tmp_path: Path) -> None:
    elsewhere = Path("/proc/version")
    if not elsewhere.exists() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /proc")
    [placed] = place_channel(str(elsewhere), tmp_path / "channel", home)
    assert os.readlink(placed) == str(elsewhere)


def test_a_prefix_of_a_bucket_may_end_inside_a_name(home: Path, tmp_path: Path) -> None:
    write(home / "buckets" / "mine" / "data", {"train-1.csv": b"1", "train-2/x.csv": b"2", "test.csv": b"3"})
    place_channel("s3://mine/data/train", tmp_path / "channel", home)
    assert read(tmp_path / "channel") == {"train-1.csv": b"1", "train-2/x.csv": b"2"}
    place_channel("s3://mine", tmp_path / "all", home)
    assert read(tmp_path / "all") == {"data/train-1.csv": b"1", "data/train-2/x.csv": b"2", "data/test.csv": b"3"}
    with pytest.raises(ClientError, match="does not exist"):  # a plain path is no prefix
        place_channel(str(home / "buckets" / "mine" / "data" / "train"), tmp_path / "none", home)


def test_nothing_there(home: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"train.txt": b"", "empty/.hidden": b""})
    with pytest.raises(ClientError, match=r'trian.txt does not exist; did you mean "train.txt"'):
        place_channel(str(source / "trian.txt"), tmp_path / "channel", home)
    with pytest.raises(ClientError, match=r"File name too long|does not exist"):
        place_channel("x" * 300, tmp_path / "channel", home)
    with pytest.raises(ClientError, match="empty has no files"):
        place_channel(str(source / "empty"), tmp_path / "channel", home)
    with pytest.raises(ClientError, match="there are no files at memory://none"):
        place_channel("memory://none", tmp_path / "channel", home)
    (tmp_path / "in the way").touch()
    with pytest.raises(ClientError, match="in the way"):
        place_channel(str(source / "train.txt"), tmp_path / "in the way", home)


def test_remote_files_are_downloaded(home: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    for name, content in LAYOUT.items():
        memory.pipe_file(f"/data/{name}", content)
    big = os.urandom(9 << 20)
    memory.pipe_file("/data/big.bin", big)
    memory.pipe_file("/data/.hidden", b"")
    place_channel("memory://data", tmp_path / "channel", home)
    assert read(tmp_path / "channel") == {**LAYOUT, "big.bin": big}
    place_channel("memory://data/deep/b.csv", tmp_path / "one", home)
    assert read(tmp_path / "one") == {"b.csv": b"2"}


@pytest.mark.parametrize("remote", [False, True])
def test_a_manifest(home: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem, remote: bool) -> None:
    write(home / "buckets" / "mine" / "data", LAYOUT)
    memory.pipe_file("/data/a.csv", b"1")
    memory.pipe_file("/data/deep/b.csv", b"2")
    prefix = "memory://data/" if remote else "s3://mine/data/"
    manifest = json.dumps([{"prefix": prefix}, "a.csv", "deep/b.csv"]).encode()
    (home / "buckets" / "mine" / "my.manifest").write_bytes(manifest)
    memory.pipe_file("/my.manifest", manifest)
    uri = "memory://my.manifest" if remote else "s3://mine/my.manifest"
    placed = place_channel(uri, tmp_path / "channel", home, s3_data_type="ManifestFile")
    assert read(tmp_path / "channel") == {"a.csv": b"1", "deep/b.csv": b"2"}
    assert len(placed) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a manifest"),
        ("a,b\n", "not a manifest"),
        ("{}", "JSON list"),
        ("[]", "JSON list"),
        ('["a"]', "no prefix"),
        ('[{"prefix": 3}]', "no prefix"),
        ('[{"prefix": "s3://mine/"}]', "names no files"),
        ('[{"prefix": "s3://mine/"}, 3]', "entry 1"),
        ('[{"prefix": "s3://mine/"}, "../x"]', "entry 1"),
        ('[{"prefix": "s3://mine/"}, "data/"]', "is not a file"),
        ('[{"prefix": "s3://mine/data/"}, "a.cvs"]', 'did you mean "a.csv"'),
    ],
)
def test_a_bad_manifest(home: Path, tmp_path: Path, text: str, reason: str) -> None:
    write(home / "buckets" / "mine", {"data/a.csv": b"1", "my.manifest": text.encode()})
    with pytest.raises(ClientError, match=reason):
        place_channel("s3://mine/my.manifest", tmp_path / "channel", home, s3_data_type="ManifestFile")


json_values = st.recursive(
    st.none() | st.integers() | st.text() | st.just({"prefix": "s3://mine/"}),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("prefix") | st.text(), inner),
)


@given(content=st.binary() | json_values.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000))
def test_any_manifest_is_placed_or_a_client_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    write(home / "buckets" / "mine", {"0": b"", "my.manifest": content})
    with contextlib.suppress(ClientError):
        place_channel("s3://mine/my.manifest", home / "channel", home, s3_data_type="ManifestFile")


def test_an_augmented_manifest_is_placed_as_it_is(home: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"train.manifest": b'{"source": "nice", "label": 1}\n'})
    kind = "AugmentedManifestFile"
    place_channel(str(source / "train.manifest"), tmp_path / "channel", home, s3_data_type=kind)
    assert read(tmp_path / "channel") == read(source)
    with pytest.raises(ClientError, match="is not a file"):
        place_channel(str(source), tmp_path / "channel", home, s3_data_type=kind)


def test_gzip(home: Path, tmp_path: Path) -> None:
    content = {name: gzip.compress(data) * 2 for name, data in LAYOUT.items()}
    source = write(tmp_path / "source", {f"{name}.gz": data for name, data in content.items()})
    placed = place_channel(str(source), tmp_path / "channel", home, compression="Gzip")
    assert read(tmp_path / "channel") == {name: data * 2 for name, data in LAYOUT.items()}
    assert placed == sorted(tmp_path / "channel" / name for name in LAYOUT)
    assert read(source).keys() == {f"{name}.gz" for name in LAYOUT}  # the user's own files stay
    write(tmp_path / "odd", {"named oddly": gzip.compress(b"x")})
    place_channel(str(tmp_path / "odd"), tmp_path / "o", home, compression="Gzip")
    assert read(tmp_path / "o") == {"named oddly": b"x"}
    assert gzip.decompress((tmp_path / "odd" / "named oddly").read_bytes()) == b"x"
    for number, bad in enumerate((b"plain", gzip.compress(b"x" * 99)[:-3], gzip.compress(b"x")[:-1] + b"?", b"")):
        write(tmp_path / f"bad {number}", {"x.gz": bad})
        with pytest.raises(DataError, match=r"x\.gz"):
            place_channel(str(tmp_path / f"bad {number}"), tmp_path / f"b {number}", home, compression="Gzip")


def test_options_that_are_none(home: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "source", LAYOUT)
    with pytest.raises(ClientError, match='did you mean "ManifestFile"'):
        place_channel(str(source), tmp_path / "channel", home, s3_data_type="Manifestfile")
    with pytest.raises(ClientError, match='did you mean "Gzip"'):
        place_channel(str(source), tmp_path / "channel", home, compression="gzip")
