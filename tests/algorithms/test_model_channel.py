"""Channel `model`: folders, archives, and what others may have packed."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wildsage.algorithms.base import Model
from wildsage.algorithms.model_channel import model_folder
from wildsage.contract.channels import Channel
from wildsage.contract.errors import ClientError, DataError


class Note(Model):
    """A model of one file."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        path = folder / "note"
        return path.is_file() and path.read_bytes()[:4] == b"note"

    def save(self, folder: Path) -> None:
        (folder / "note").write_bytes(b"note")

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()

    def predict(self, instances: Any, options: Any) -> list[Any]:
        return []


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    (tmp_path / "model").mkdir()
    return Channel("model", tmp_path / "model")


def pack(path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(bytes(member.size)))
            else:
                name, data = member
                header = tarfile.TarInfo(name)
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))


def content(channel: Channel) -> bytes:
    with model_folder(channel, Note, "notes") as folder:
        return (folder / "note").read_bytes()


@pytest.mark.parametrize("below", ["", "deep/down"])
def test_a_folder_of_files(channel: Channel, below: str) -> None:
    folder = channel.path / below
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "note").write_bytes(b"note 1")
    assert content(channel) == b"note 1"


@pytest.mark.parametrize("name", ["note", "./note", "model/note"])
def test_an_archive(channel: Channel, name: str) -> None:
    pack(channel.path / "model.tar.gz", [("other", b"x"), (name, b"note 2")])
    with model_folder(channel, Note, "notes") as folder:
        assert (folder / "note").read_bytes() == b"note 2"
    assert not folder.exists()


def test_a_channel_that_is_the_archive_itself(tmp_path: Path) -> None:
    pack(tmp_path / "model.tar.gz", [("note", b"note 3")])
    assert content(Channel("model", tmp_path / "model.tar.gz")) == b"note 3"


@pytest.mark.parametrize("name", ["../note", "/note", "a/../../note"])
def test_members_that_would_lie_elsewhere(channel: Channel, name: str) -> None:
    pack(channel.path / "model.tar.gz", [(name, b"note")])
    with pytest.raises(DataError, match="outside the model"):
        content(channel)


def test_links_and_devices_are_left_out(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"note of another")
    kinds = {tarfile.SYMTYPE: str(tmp_path / "secret"), tarfile.LNKTYPE: str(tmp_path / "secret"), tarfile.FIFOTYPE: ""}
    for kind, target in kinds.items():
        header = tarfile.TarInfo("note")
        header.type, header.linkname = kind, target
        pack(channel.path / "model.tar.gz", [header])
        with pytest.raises(DataError, match="holds no model of notes"):
            content(channel)


def test_a_link_to_a_folder_does_not_lead_out(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    header = tarfile.TarInfo("out")
    header.type, header.linkname = tarfile.SYMTYPE, str(tmp_path / "elsewhere")
    pack(channel.path / "model.tar.gz", [header, ("out/note", b"note")])
    assert content(channel) == b"note"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_nothing_of_the_kind(channel: Channel) -> None:
    (channel.path / "readme.txt").write_text("hello")
    with pytest.raises(ClientError, match=r"channel model holds no model of notes.*found readme.txt"):
        content(channel)


def test_several_archives(channel: Channel) -> None:
    for name in ("a.tar.gz", "b.tgz"):
        pack(channel.path / name, [("note", b"note")])
    with pytest.raises(ClientError, match=r"several archives.*a\.tar\.gz, b\.tgz"):
        content(channel)


def test_a_member_larger_than_the_disk(channel: Channel) -> None:
    header = tarfile.TarInfo("note")
    header.size = 1 << 60
    (channel.path / "model.tar.gz").write_bytes(gzip.compress(header.tobuf() + bytes(1024)))
    with pytest.raises(DataError, match="are free in"):
        content(channel)


def test_an_archive_that_is_cut_off(channel: Channel) -> None:
    path = channel.path / "model.tar.gz"
    pack(path, [("note", b"note" + bytes(range(256)) * 40)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"model\.tar\.gz: cannot be unpacked"):
        content(channel)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=2000), st.binary(max_size=1500).map(gzip.compress)))
def test_any_bytes_at_all(channel: Channel, data: bytes) -> None:
    (channel.path / "model.tar.gz").write_bytes(data)
    with pytest.raises(ClientError):
        content(channel)
