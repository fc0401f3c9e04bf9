"""Answering one request without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.serving import environment, install, instances


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("algorithms"))


def predict(site: Path, folder: Path, body: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "wildsage.runtime.predict", "--model", str(folder), "--algorithm", "obedient"]
    return subprocess.run([*command, *arguments], input=body, env=environment(site), capture_output=True, check=False)


def test_answers_on_stdout(site: Path, tmp_path: Path) -> None:
    done = predict(site, tmp_path, instances("one", "two", k=3))
    assert (done.returncode, done.stderr) == (0, b"")
    assert [each["k"] for each in json.loads(done.stdout)] == [3, 3]
    done = predict(site, tmp_path, b"one\ntwo\n", "--content-type", "text/plain", "--accept", "text/csv")
    assert done.stdout == b"one,1.0\ntwo,1.0\n"
    assert predict(site, tmp_path, b'{"instances": []}').stdout == b"[]"


@pytest.mark.parametrize(
    ("body", "order", "code", "last_line"),
    [
        (b"", "", 1, "ClientError: the request has no body; text/plain has an instance a line"),
        (b'{"instances": 3}', "", 1, 'ClientError: "instances" is a JSON number; it must be a list'),
        (instances(3), "", 1, "ClientError: instance 0 is not a text"),
        (instances("one"), "refuse", 1, "ClientError: {folder}/order: not a model; at all"),
        (
            instances("fault"),
            "",
            2,
            "AlgorithmError: an unexpected error, KeyError: 'a broken model'; its traceback is on the log",
        ),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    site: Path, tmp_path: Path, body: bytes, order: str, code: int, last_line: str
) -> None:
    (tmp_path / "order").write_text(order)
    done = predict(site, tmp_path, body)
    assert (done.returncode, done.stdout) == (code, b"")
    lines = done.stderr.decode().splitlines()
    assert lines[-1] == last_line.format(folder=tmp_path)
    assert code == 2 or len(lines) == 1


def test_a_missing_folder(site: Path, tmp_path: Path) -> None:
    done = predict(site, tmp_path / "none", b"one")
    assert done.returncode == 1
    assert done.stderr.decode() == f"ClientError: there is no model folder {tmp_path / 'none'}\n"
