"""Archives: round trips, other people's tars, and hostile ones."""

from __future__ import annotations

import gzip
import io
import os
import random
import resource
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError, InternalServerError
from wildsage.platform.archives import CHUNK_BYTES, Limits, is_archive, pack, unpack

MIB = 1 << 20


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """What lies below a folder: bytes of files, targets of links, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return found


def make_model(folder: Path) -> None:
    """A model folder with what tends to go wrong: holes, odd sizes, long and foreign names, links, empty things."""
    folder.mkdir()
    (folder / "vocab 词汇 ünïcode.txt").write_text("nice\n")
    (folder / "empty").touch()
    (folder / "code" / "deep" / ("n" * 120)).mkdir(parents=True)
    (folder / "code" / "deep" / ("n" * 120) / "inference.py").write_text("pass\n")
    (folder / "code" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "code" / "run.sh").chmod(0o755)
    (folder / "current").symlink_to("code/run.sh")
    (folder / b"not utf-8 \xff".decode(errors="surrogateescape")).write_bytes(b"x")
    generator = random.Random(4)
    with open(folder / "model.bin", "wb") as file:
        for position in (0, 3 * MIB + 17, 9 * MIB - 1, 20 * MIB):
            file.seek(position)
            file.write(generator.randbytes(400))
        file.truncate(24 * MIB + 321)
    (folder / "dense.bin").write_bytes(generator.randbytes(2 * MIB + 5))
    (folder / "vectors.txt").write_text("word 0.123 -0.456 0.789\n" * 500_000)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size`: a full disk that needs no disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- packing


def test_pack_and_unpack(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    archive = tmp_path / "out" / "model.tar.gz"
    pack(tmp_path / "model", archive)
    unpack(archive, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(tmp_path / "model")
    assert os.access(tmp_path / "back" / "code" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "back" / "code" / "deep" / ("n" * 120) / "inference.py", os.X_OK)
    model = (tmp_path / "back" / "model.bin").stat()
    assert model.st_size == 24 * MIB + 321
    assert model.st_blocks * 512 < 2 * MIB  # holes again
    assert sorted(path.name for path in archive.parent.iterdir()) == ["model.tar.gz"]


def test_others_open_it(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    archive = tmp_path / "model.tar.gz"
    pack(tmp_path / "model", archive)
    with tarfile.open(archive, "r:gz") as tar:  # as the SDK's own code does
        names = tar.getnames()
        tar.extractall(tmp_path / "by python", filter="data")
    assert names == sorted(names, key=lambda name: name.split("/"))
    assert not any(name.startswith(("/", ".")) for name in names)
    assert tree(tmp_path / "by python") == tree(tmp_path / "model")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes())), mode="r:") as tar:
        assert tar.getnames() == names
    if shutil.which("tar"):
        listing = subprocess.run(["tar", "tzvf", str(archive)], capture_output=True, check=True)
        # How the standard marks a name that is not UTF-8; GNU tar does not know it, and does the right thing.
        unknown = b"tar: Ignoring unknown extended header keyword 'hdrcharset'\n"
        assert listing.stderr.replace(unknown, b"") == b""
        assert len(listing.stdout.splitlines()) == len(names)
        (tmp_path / "by tar").mkdir()
        subprocess.run(["tar", "xzf", str(archive), "-C", str(tmp_path / "by tar")], check=True)
        assert tree(tmp_path / "by tar") == tree(tmp_path / "model")


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    for name in ("a", "b"):
        pack(tmp_path / "model", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_others_archives_are_opened(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    for options in (["-czf"], ["-cf"], ["-czSf"], ["--format=gnu", "-czf"], ["--format=posix", "-czf"]):
        archive = tmp_path / "theirs"
        subprocess.run(["tar", *options, str(archive), "-C", str(tmp_path / "model"), "."], check=True)
        unpack(archive, tmp_path / "back")
        assert tree(tmp_path / "back") == tree(tmp_path / "model")
        shutil.rmtree(tmp_path / "back")


@given(
    files=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
            lambda name: name not in (".", "..")
        ),
        st.lists(st.tuples(st.integers(0, 3 * CHUNK_BYTES), st.binary(max_size=9000)), max_size=3),
        max_size=4,
    )
)
def test_any_files_come_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, list[tuple[int, bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "model").mkdir()
    for name, pieces in files.items():
        with open(folder / "model" / name, "wb") as file:
            for position, data in pieces:
                file.seek(position)
                file.write(data)
    pack(folder / "model", folder / "archive")
    unpack(folder / "archive", folder / "back")
    assert tree(folder / "back") == tree(folder / "model")
    shutil.rmtree(folder)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    pack(tmp_path / "model", tmp_path / "archive")
    unpack(tmp_path / "archive", tmp_path / "back")
    assert tree(tmp_path / "back") == {}


def test_links_that_leave_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"weights")
    (tmp_path / "model" / "weights").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "model" / "pipe")
    pack(tmp_path / "model", tmp_path / "archive")
    assert "pipe is left out" in caplog.text
    unpack(tmp_path / "archive", tmp_path / "back")
    assert tree(tmp_path / "back") == {"weights": b"weights"}
    (tmp_path / "model" / "broken").symlink_to("nowhere")
    with pytest.raises(ClientError, match=r"broken is a link to nowhere, which does not exist"):
        pack(tmp_path / "model", tmp_path / "archive")
    (tmp_path / "model" / "broken").unlink()
    (tmp_path / "model" / "folder").symlink_to(tmp_path)
    with pytest.raises(ClientError, match="is a link to the folder"):
        pack(tmp_path / "model", tmp_path / "archive")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    archive = tmp_path / "out" / "model.tar.gz"
    with (
        file_size_limit(MIB),
        pytest.raises(InternalServerError, match=r"no room on the disk while writing .*model.tar.gz"),
    ):
        pack(tmp_path / "model", archive)
    assert list(archive.parent.iterdir()) == []
    pack(tmp_path / "model", archive)
    with (
        file_size_limit(MIB),
        pytest.raises(InternalServerError, match=r"no room on the disk while unpacking to .*back"),
    ):
        unpack(archive, tmp_path / "there" / "back")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_missing_folder_and_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InternalServerError, match="No such file"):
        pack(tmp_path / "model", tmp_path / "archive")
    (tmp_path / "model").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ClientError, match="file"):
        pack(tmp_path / "model", tmp_path / "file" / "archive")


# --- hostile and broken archives


def member(name: str, content: bytes = b"", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for key, value in facts.items():
        setattr(header, key, value)
    return header, content


def write_archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for header, content in members:
            tar.addfile(header, io.BytesIO(content))
    return path


LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("/etc/passwd", b"x")], "a path that leads out"),
        ([member("../x", b"x")], "a path that leads out"),
        ([member("a/../../x", b"x")], "a path that leads out"),
        ([member("l", type=LINK, linkname="/etc/passwd")], "a link to /etc/passwd, outside"),
        ([member("a/l", type=LINK, linkname="../../x")], "outside of it"),
        ([member("l", type=HARD, linkname="/etc/passwd")], "a link that leads out"),
        ([member("l", type=HARD, linkname="../x")], "a link that leads out"),
        ([member("l", type=HARD, linkname="none")], "not a file before it"),
        ([member("d", type=tarfile.CHRTYPE)], "device or a pipe"),
        ([member("d", type=tarfile.FIFOTYPE)], "device or a pipe"),
        ([member("", b"x")], "has no name"),
        ([member("a", b"x"), member("a/b", b"x")], "below something that is not a folder"),
        ([member("a/b", b"x"), member("a", b"x")], "is there twice"),
        ([member("a/b", b"x"), member("a", type=LINK, linkname="c")], "is there twice"),
        # Each link looks harmless by its text alone; together they leave the folder.
        (
            [
                member("z/f", b"x"),
                member("p/q/r", type=LINK, linkname="../../z"),
                member("m", type=LINK, linkname="p/q/r/../../.."),
            ],
            "outside of it",
        ),
        ([member("x" * 300, b"x")], "File name too long"),
    ],
)
def test_a_hostile_archive_is_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], reason: str
) -> None:
    archive = write_archive(tmp_path / "evil.tar.gz", *members)
    with pytest.raises(ClientError, match=reason):
        unpack(archive, tmp_path / "in" / "back")
    assert list((tmp_path / "in").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz", "in"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    archive = write_archive(
        tmp_path / "a",
        member("file", b"good"),
        member("link", type=LINK, linkname="file"),
        member("link", b"own"),
        member("again", type=HARD, linkname="file"),
        member("again", b"other"),
    )
    unpack(archive, tmp_path / "back")
    assert (tmp_path / "back" / "file").read_bytes() == b"good"
    assert (tmp_path / "back" / "again").read_bytes() == b"other"


def test_links_inside_are_kept(tmp_path: Path) -> None:
    archive = write_archive(
        tmp_path / "a",
        member("code/x", b"1"),
        member("y", type=LINK, linkname="./code/../code/x"),
        member("z", type=HARD, linkname="code/x"),
    )
    unpack(archive, tmp_path / "back")
    assert [(tmp_path / "back" / name).read_bytes() for name in "yz"] == [b"1", b"1"]


def test_limits(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a", member("x", bytes(3 * MIB)), member("y", b"1"))
    with pytest.raises(ClientError, match="more than 1048576 bytes"):
        unpack(archive, tmp_path / "back", Limits(total_bytes=MIB))
    with pytest.raises(ClientError, match="more than 1 members"):
        unpack(archive, tmp_path / "back", Limits(members=1))
    # A header that claims what nobody will send, and an extended header that would be read into memory.
    huge = tmp_path / "huge"
    huge.write_bytes(gzip.compress(member("x", size=1 << 50)[0].tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(ClientError, match="holds more than"):
        unpack(huge, tmp_path / "back")
    huge.write_bytes(gzip.compress(member("x", size=1 << 32, type=tarfile.XHDTYPE)[0].tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(ClientError, match="impossible size"):
        unpack(huge, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_damaged_archive_is_never_half_unpacked(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_bytes(random.Random(1).randbytes(2 * MIB))
    (tmp_path / "model" / "b").write_bytes(b"small")
    pack(tmp_path / "model", tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    archive = tmp_path / "model.tar.gz"
    generator = random.Random(2)
    cuts = [whole[:size] for size in (0, 1, 5, 20, len(whole) // 2, len(whole) - 9, len(whole) - 1)]
    flips = []
    for _ in range(20):
        place = generator.randrange(10, len(whole) - 1)
        flips.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    for data in cuts:
        archive.write_bytes(data)
        with pytest.raises(ClientError, match=r"model\.tar\.gz cannot be unpacked"):
            unpack(archive, tmp_path / "back")
        assert not (tmp_path / "back").exists()
    for data in flips:  # a flip in a header's unused bits may be harmless, never half
        archive.write_bytes(data)
        try:
            unpack(archive, tmp_path / "back")
        except ClientError:
            assert not (tmp_path / "back").exists()
        else:
            assert tree(tmp_path / "back") == tree(tmp_path / "model")
            shutil.rmtree(tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.tar.gz", "whole"]


def test_padding_after_the_end_is_ignored(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a", member("x", b"1"))
    for extra in (bytes(1000), b"\n", b"\x1f", b"garbage"):
        archive.write_bytes(write_archive(tmp_path / "b", member("x", b"1")).read_bytes() + extra)
        unpack(archive, tmp_path / "back")
        assert tree(tmp_path / "back") == {"x": b"1"}
        shutil.rmtree(tmp_path / "back")


def test_a_place_that_is_not_free(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a", member("x", b"1"))
    (tmp_path / "back").mkdir()
    unpack(archive, tmp_path / "back")  # an empty folder is as good as none
    with pytest.raises(ClientError, match="back is not empty"):
        unpack(archive, tmp_path / "back")
    with pytest.raises(ClientError, match="b does not exist"):
        unpack(tmp_path / "b", tmp_path / "other")


names = st.sampled_from(
    ["a", "b", "a/b", "./a", "a/", "/a", "../a", "a/../b", "", ".", "c/d/e", "x\0y", "é"]
) | st.text(st.characters(codec="utf-8"), max_size=20)
types = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, LINK, HARD, tarfile.FIFOTYPE, b"S", b"x", b"g", b"L", b"Z"]
)
headers = st.tuples(
    names, types, names, st.binary(max_size=1500), st.integers(-5, 5), st.integers(0, 0o7777), st.booleans()
)


@given(
    members=st.lists(headers, max_size=6),
    kind=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    damage=st.none() | st.tuples(st.floats(0, 1), st.integers(1, 255)),
    end=st.sampled_from([1024, 512, 0, 100]),
)
def test_any_tar_gives_files_inside_or_a_client_error(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[tuple[str, bytes, str, bytes, int, int, bool]],
    kind: int,
    damage: tuple[float, int] | None,
    end: int,
) -> None:
    data = bytearray()
    for name, type_, link, content, excess, mode, has_content in members:
        header = tarfile.TarInfo(name)
        header.type, header.linkname, header.mode = type_, link, mode
        header.size = max(0, len(content) + excess) if has_content else 0
        data += header.tobuf(kind, "utf-8", "surrogateescape")
        if has_content:
            data += content + bytes(-len(content) % 512)
    data += bytes(end)
    if damage is not None and data:
        place = min(len(data) - 1, int(damage[0] * len(data)))
        data[place] ^= damage[1]
    _unpack_anything(tmp_path_factory.mktemp("any"), gzip.compress(bytes(data), 1))


@given(
    data=st.binary(max_size=3000),
    head=st.sampled_from([b"", b"\x1f\x8b", gzip.compress(b"x" * 600), zlib.compress(b"")]),
)
def test_any_bytes_give_files_or_a_client_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    _unpack_anything(tmp_path_factory.mktemp("any"), head + data)


def _unpack_anything(folder: Path, data: bytes) -> None:
    (folder / "archive").write_bytes(data)
    is_archive(folder / "archive")
    try:
        unpack(folder / "archive", folder / "in" / "back", Limits(total_bytes=MIB, members=100))
    except ClientError:
        assert list((folder / "in").iterdir()) == []
    else:
        root = (folder / "in" / "back").resolve()
        for place, folders, files in os.walk(root):
            for name in folders + files:
                path = Path(place, name)
                assert Path(os.path.realpath(path)).is_relative_to(root)
                assert path.is_symlink() or path.is_file() or path.is_dir()
                assert path.is_symlink() or path.stat().st_mode & 0o7022 == 0
    assert sorted(path.name for path in folder.iterdir()) == ["archive", "in"]
    shutil.rmtree(folder)
