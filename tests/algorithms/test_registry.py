from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runtime.third_party import install
from wildsage.algorithms import registry
from wildsage.contract.errors import AlgorithmError, ClientError

BREAKS_WHEN_ASKED = """
from counting import Counting
class X(Counting):
    @classmethod
    def model_in(cls, folder):
        raise KeyError("a fault")
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    install(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "counting", raising=False)
    return folder


def only(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one algorithm, so that the test depends on no other."""
    monkeypatch.setattr(registry, "names", lambda: [name])


def test_names_are_known_before_anything_is_loaded(packages: Path) -> None:
    assert "counting" in registry.names()
    assert "blazingtext" in registry.names()
    assert "counting" not in sys.modules


def test_a_third_partys_algorithm_is_loaded_by_name(packages: Path) -> None:
    loaded = registry.get("counting")
    assert (loaded.name, loaded.__module__) == ("counting", "counting")
    assert registry.get("Counting") is loaded


def test_unknown_names_are_told_with_the_nearest(packages: Path) -> None:
    with pytest.raises(ClientError, match='did you mean "counting"'):
        registry.get("countin")
    with pytest.raises(ClientError, match="seq2seq cannot be trained by this version yet; there are"):
        registry.get("seq2seq")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nowhere:X", "cannot be imported"),
        ("json:loads", "not a subclass"),
        ("broken_at_import:X", "cannot be imported: division"),
    ],
)
def test_a_broken_package_is_told_apart(packages: Path, value: str, reason: str) -> None:
    (packages / "counting-1.0.dist-info" / "entry_points.txt").write_text(
        f"[wildsage.algorithms]\ncounting = {value}\n"
    )
    (packages / "broken_at_import.py").write_text("1 / 0")
    with pytest.raises(AlgorithmError, match=reason):
        registry.get("counting")


def test_a_model_folder_is_recognised(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(packages, "counting", monkeypatch)
    model = tmp_path / "model"
    model.mkdir()
    with pytest.raises(ClientError, match="it is empty"):
        registry.recognise(model)
    (model / "something.bin").write_bytes(b"")
    with pytest.raises(ClientError, match=r"holds the model of no algorithm here \(counting\): something.bin"):
        registry.recognise(model)
    (model / "counts.json").write_text("{}")
    assert registry.recognise(model) == "counting"
    with pytest.raises(ClientError, match="is not a folder"):
        registry.recognise(tmp_path / "none")


@pytest.mark.parametrize("code", ["import not_there", "1 / 0", "x = (", "class X: pass", BREAKS_WHEN_ASKED])
def test_a_broken_package_does_not_keep_the_others_from_being_asked(
    packages: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(registry, "names", lambda: ["aaa-broken", "counting"])
    monkeypatch.delitem(sys.modules, "aaa_broken", raising=False)
    info = packages / "aaa_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wildsage.algorithms]\naaa-broken = aaa_broken:X\n")
    (packages / "aaa_broken.py").write_text(code)
    model = tmp_path / "model"
    model.mkdir()
    (model / "counts.json").write_text("{}")
    assert registry.recognise(model) == "counting"
    assert "Algorithm aaa-broken cannot say whether it knows the model, and is passed over: " in caplog.text
    (model / "counts.json").unlink()
    with pytest.raises(ClientError, match=r"no algorithm here \(counting\): it is empty"):
        registry.recognise(model)
