from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runtime.third_party import install
from wildsage.algorithms import registry
from wildsage.contract.errors import AlgorithmError, ClientError


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
    with pytest.raises(ClientError, match="kmeans cannot be trained by this version yet; there are"):
        registry.get("k-means")


@pytest.mark.parametrize(("value", "reason"), [("nowhere:X", "cannot be imported"), ("json:loads", "not a subclass")])
def test_a_broken_package_is_told_apart(packages: Path, value: str, reason: str) -> None:
    (packages / "counting-1.0.dist-info" / "entry_points.txt").write_text(
        f"[wildsage.algorithms]\ncounting = {value}\n"
    )
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
