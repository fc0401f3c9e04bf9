from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.sdk import locations
from wildsage.sdk.exceptions import ArgumentError

HERE: Any = SimpleNamespace(embedded=True)
ELSEWHERE: Any = SimpleNamespace(embedded=False)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("data/train.txt", "{}/data/train.txt"),
        ("./a/../b", "{}/b"),
        ("/x/y", "/x/y"),
        ("file:///x/y%20z", "/x/y z"),
        ("file://relative", "{}/relative"),
        ("~/x", f"{Path.home()}/x"),
        ("a:b", "{}/a:b"),
    ],
)
def test_paths_become_absolute(location: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locations.source(location, HERE, "x") == path.format(tmp_path)
    assert locations.target(location) == path.format(tmp_path)


@pytest.mark.parametrize("url", ["s3://bucket/key", "gs://b/k", "s3a://b/k", "http://x/y"])
def test_urls_stay(url: str) -> None:
    for session in (HERE, ELSEWHERE):
        assert locations.source(url, session, "x") == url
    assert locations.target(url) == url


def test_a_path_means_nothing_elsewhere() -> None:
    with pytest.raises(ArgumentError, match=r"what: a/b is a path of this machine.*upload_data\('a/b'\)"):
        locations.source(Path("a/b"), ELSEWHERE, "what")
    assert locations.source("file:///x", ELSEWHERE, "what") == "file:///x"


@given(st.text())
def test_any_text_is_a_url_or_an_absolute_path(text: str) -> None:
    found = locations.local_path(text)
    assert found is None or found.is_absolute()
