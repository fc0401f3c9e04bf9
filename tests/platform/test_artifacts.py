"""Models as artifacts: published anywhere, unpacked once."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from wildsage.contract.errors import ClientError
from wildsage.platform import artifacts, runs
from wildsage.platform.artifacts import open_model, pack, publish, remember


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "code" / "inference.py").write_bytes(b"pass")
    (folder / "current").symlink_to("model.bin")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


MODEL_NAMES = ["code", "code/inference.py", "current", "model.bin"]


def test_an_archive_is_unpacked_once(home: Path, tmp_path: Path, model: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    pack(model, archive)
    first = open_model(str(archive), home)
    assert names(first) == MODEL_NAMES
    assert first.is_relative_to(home / "models")
    inode = (first / "model.bin").stat().st_ino
    assert open_model(archive.as_uri(), home) == first
    assert (first / "model.bin").stat().st_ino == inode
    (model / "model.bin").write_bytes(b"other weights")
    pack(model, archive)  # another archive under the same name
    second = open_model(str(archive), home)
    assert second != first
    assert (second / "model.bin").read_bytes() == b"other weights"
    assert (first / "model.bin").read_bytes() == b"weights"


def test_a_trained_model_is_not_unpacked_at_all(home: Path, tmp_path: Path, model: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    publish(model, str(archive), home)
    remember(str(archive), model, home)
    opened = open_model(str(archive), home)
    assert names(opened) == MODEL_NAMES
    assert (opened / "model.bin").samefile(model / "model.bin")
    remember(str(archive), model, home)  # again: nothing
    assert sorted(path.name for path in (home / "models").iterdir() if not path.name.startswith(".")) == [
        opened.parent.name
    ]


def test_what_cannot_be_linked_is_unpacked(home: Path, tmp_path: Path, model: Path) -> None:
    if not Path("/proc/version").exists():
        pytest.skip("no second file system at /proc")
    (model / "foreign").symlink_to("/proc/version")
    archive = tmp_path / "model.tar.gz"
    (model / "foreign").unlink()
    pack(model, archive)
    (model / "foreign").symlink_to("/proc/version")
    remember(str(archive), model, home)
    assert names(open_model(str(archive), home)) == MODEL_NAMES


def test_an_entry_from_before_a_power_cut_is_not_trusted(
    home: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "model.tar.gz"
    pack(model, archive)
    opened = open_model(str(archive), home)
    (opened / "model.bin").write_bytes(b"\0\0\0\0\0\0\0")
    monkeypatch.setattr(artifacts, "boot", lambda: "the next start of the machine")
    assert (open_model(str(archive), home) / "model.bin").read_bytes() == b"weights"
    (opened.parent / "origin.json").write_text("{torn")
    assert (open_model(str(archive), home) / "model.bin").read_bytes() == b"weights"


def test_unpacked_models_do_not_pile_up(
    home: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str) -> Path:
        archive = tmp_path / f"{name}.tar.gz"
        if not archive.exists():
            pack(model, archive)
        return open_model(str(archive), home)

    def left() -> set[str]:
        return {name for name, folder in folders.items() if folder.exists()}

    folders = {name: opened(name) for name in ("served", "orphan", "oldest", "newest")}
    (home / "endpoints" / "reviews").mkdir(parents=True)
    runs.link_model(home / "endpoints" / "reviews", folders["served"])
    (tmp_path / "orphan.tar.gz").unlink()
    for age, name in enumerate(("newest", "oldest", "orphan", "served")):
        os.utime(folders[name].parent, (1e9 - age, 1e9 - age))
    recent = opened("recent")
    assert left() == {"served", "oldest", "newest"}
    size = sum(file.lstat().st_blocks * 512 for file in recent.parent.rglob("*"))
    monkeypatch.setattr(artifacts, "KEPT_BYTES", 3 * size)
    os.utime(opened("oldest").parent, (1e9 - 5, 1e9 - 5))
    opened("another")
    assert left() == {"served", "newest"}
    assert recent.exists()
    monkeypatch.setattr(artifacts, "KEPT_BYTES", 0)
    opened("last")
    assert left() == {"served"}
    assert recent.exists()  # opened just now, so somebody may be about to load it


def test_unpacked_models_of_an_earlier_start_of_the_machine_go(
    home: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {}
    for name in ("served", "old", "new"):
        pack(model, tmp_path / f"{name}.tar.gz")
        folders[name] = open_model(str(tmp_path / f"{name}.tar.gz"), home)
        os.utime(folders[name].parent, (1e9, 1e9))
        if name == "old":
            (home / "endpoints" / "reviews").mkdir(parents=True)
            runs.link_model(home / "endpoints" / "reviews", folders["served"])
            monkeypatch.setattr(artifacts, "boot", lambda: "the next start of the machine")
    assert [name for name, folder in folders.items() if folder.exists()] == ["served", "new"]


def test_pruning_by_many_at_once_takes_nothing_that_is_in_use(
    home: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "KEPT_BYTES", 0)
    archives = [tmp_path / f"{number}.tar.gz" for number in range(7)]
    for archive in archives:
        pack(model, archive)
    (home / "endpoints" / "reviews").mkdir(parents=True)
    served = open_model(str(archives[0]), home)
    runs.link_model(home / "endpoints" / "reviews", served)
    os.utime(served.parent, (1e9, 1e9))
    missing: list[Path] = []

    def use(own: list[Path]) -> None:
        for archive in own * 4:
            folder = open_model(str(archive), home)
            if names(folder) != MODEL_NAMES or names(served) != MODEL_NAMES:
                missing.append(folder)
            os.utime(folder.parent, (1e9, 1e9))  # nobody uses it any more

    # Each of them prunes what the others have done with.
    threads = [threading.Thread(target=use, args=(archives[place : place + 2],)) for place in (1, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []
    assert served.exists()
    assert len([path for path in (home / "models").iterdir() if path.name != ".lock"]) <= 1 + 3


def test_an_error_of_the_pruning_keeps_no_model_back(
    home: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(home: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(artifacts, "_make_room", fails)
    pack(model, tmp_path / "model.tar.gz")
    assert names(open_model(str(tmp_path / "model.tar.gz"), home)) == MODEL_NAMES


def test_many_at_once_get_one_folder(home: Path, tmp_path: Path, model: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    pack(model, archive)
    opened: list[Path] = []
    threads = [threading.Thread(target=lambda: opened.append(open_model(str(archive), home))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert len(set(opened)) == 1
    assert names(opened[0]) == MODEL_NAMES
    assert len([path for path in (home / "models").iterdir() if path.name != ".lock"]) == 1


def test_a_folder_and_a_bare_file(home: Path, tmp_path: Path, model: Path) -> None:
    assert open_model(str(model), home) == model
    opened = open_model(str(model / "model.bin"), home)
    assert names(opened) == ["model.bin"]
    assert (opened / "model.bin").samefile(model / "model.bin")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ClientError, match="nothing has no model"):
        open_model(str(tmp_path / "nothing"), home)
    with pytest.raises(ClientError, match="does not exist"):
        open_model("x" * 300, home)
    with pytest.raises(ClientError, match=r'did you mean "model\.bin"'):
        open_model(str(model / "modl.bin"), home)


def test_an_archive_by_any_name(home: Path, tmp_path: Path, model: Path) -> None:
    with tarfile.open(tmp_path / "plain", "w") as tar:
        tar.add(model / "model.bin", "model.bin")
    pack(model, tmp_path / "packed")
    assert names(open_model(str(tmp_path / "plain"), home)) == ["model.bin"]
    assert names(open_model(str(tmp_path / "packed"), home)) == MODEL_NAMES


def test_a_broken_archive_leaves_nothing(home: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(b"<html>not found</html>")
    with pytest.raises(ClientError, match="not a tar archive"):
        open_model(str(archive), home)
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(ClientError, match="it is empty"):
        open_model(str(archive), home)
    assert [path.name for path in (home / "models").iterdir()] == [".lock"]


def test_remote_models(home: Path, model: Path, memory: fsspec.AbstractFileSystem) -> None:
    publish(model, "memory://out/job/output/model.tar.gz", home)
    opened = open_model("memory://out/job/output/model.tar.gz", home)
    assert names(opened) == MODEL_NAMES
    assert open_model("memory://out/job/output/model.tar.gz", home) == opened
    memory.pipe_file("/plain/model.bin", b"weights")
    memory.pipe_file("/plain/code/inference.py", b"pass")
    assert names(open_model("memory://plain", home)) == ["code", "code/inference.py", "model.bin"]
    assert names(open_model("memory://plain/model.bin", home)) == ["model.bin"]
    with pytest.raises(ClientError, match="there are no files at memory://none"):
        open_model("memory://none", home)
    assert [path.name for path in (home / "tmp").iterdir()] == [".lock"]


def test_a_remote_model_is_remembered(home: Path, model: Path, memory: fsspec.AbstractFileSystem) -> None:
    publish(model, "memory://out/model.tar.gz", home)
    remember("memory://out/model.tar.gz", model, home)
    assert (open_model("memory://out/model.tar.gz", home) / "model.bin").samefile(model / "model.bin")


def test_a_killed_unpacking_leaves_nothing_that_looks_done(home: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle; afterwards the model is opened as if nothing had been."""
    source = tmp_path / "model"
    source.mkdir()
    for number in range(200):
        (source / f"{number}").write_bytes(os.urandom(20_000))
    archive = tmp_path / "model.tar.gz"
    pack(source, archive)
    script = f"""
import os, signal
from pathlib import Path
from wildsage.platform import archives, artifacts
unpacked = 0
write_file = archives._Unpacking._write_file
def write_and_die(*arguments):
    global unpacked
    unpacked += 1
    if unpacked == 100: os.kill(os.getpid(), signal.SIGKILL)
    write_file(*arguments)
archives._Unpacking._write_file = write_and_die
artifacts.open_model({str(archive)!r}, Path({str(home)!r}))
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    left = [path.name for path in (home / "models").iterdir() if path.name != ".lock"]
    assert [name.endswith(".scratch") for name in left] == [True]
    opened = open_model(str(archive), home)
    assert len(names(opened)) == 200
    assert [path for path in (home / "models").iterdir() if path.name != ".lock"] == [opened.parent]
