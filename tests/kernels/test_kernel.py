"""The decorator of all kernels and its cache on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from wildsage.kernels import kernel

SOURCE = """
from wildsage.kernels.kernel import kernel

@kernel
def half(x):
    return x * 0.5
"""
CALLER = """
from mini.low import half
from wildsage.kernels.kernel import kernel

@kernel
def quarter(x):
    return half(half(x))
"""
ASK = """
import json
from mini.high import quarter
from wildsage.kernels import kernel
cold = kernel.missing("mini")
value = quarter(8.0)
hits = sum(quarter.stats.cache_hits.values())
print(json.dumps([value, cold, hits, str(kernel.cache_folder()), kernel.missing("mini")]))
"""


def ask(checkout: Path, **environment: str) -> list[object]:
    """Run the kernels of a package in a process of its own."""
    paths = os.pathsep.join([str(checkout), str(Path(kernel.__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    found: list[object] = json.loads(done.stdout)
    return found


def make_checkout(folder: Path, low: str = SOURCE) -> Path:
    (folder / "mini").mkdir(parents=True)
    (folder / "mini" / "__init__.py").write_text("")
    (folder / "mini" / "low.py").write_text(textwrap.dedent(low))
    (folder / "mini" / "high.py").write_text(textwrap.dedent(CALLER))
    return folder


def test_compiled_kernels_outlive_a_checkout_but_not_a_change(tmp_path: Path) -> None:
    cache = {"WILDSAGE_CACHE": str(tmp_path / "cache")}
    first = ask(make_checkout(tmp_path / "first"), **cache)
    assert first == [2.0, ["mini.low.half", "mini.high.quarter"], 0, str(tmp_path / "cache" / "kernels"), []]
    elsewhere = ask(make_checkout(tmp_path / "second"), **cache)
    assert elsewhere == [2.0, [], 1, first[3], []]
    # The change is in the callee alone, which is where Numba's own cache goes wrong.
    changed = ask(make_checkout(tmp_path / "third", SOURCE.replace("0.5", "0.25")), **cache)
    assert changed[:3] == [0.5, ["mini.low.half", "mini.high.quarter"], 0]


def test_a_damaged_cache_is_compiled_again(tmp_path: Path) -> None:
    checkout, cache = make_checkout(tmp_path / "checkout"), {"WILDSAGE_CACHE": str(tmp_path / "cache")}
    ask(checkout, **cache)
    for index in (tmp_path / "cache").rglob("*.nbi"):
        index.write_bytes(b"no index")
    assert ask(checkout, **cache)[::2] == [2.0, 0, []]
    assert ask(checkout, **cache)[:3] == [2.0, [], 1]


def test_whoever_waits_for_the_compiler_is_told_once(tmp_path: Path) -> None:
    code = f"import logging; logging.basicConfig(level=logging.INFO, format='%(message)s')\n{ASK}"
    paths = os.pathsep.join([str(make_checkout(tmp_path / "checkout")), str(Path(kernel.__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": paths, "WILDSAGE_CACHE": str(tmp_path / "cache")}
    told = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stderr
        for _ in range(2)
    ]
    assert told == [f"{kernel.COMPILING}\n", ""]


def test_a_home_that_cannot_be_written_falls_back(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    file = tmp_path / "file"
    file.write_text("a folder cannot be made below this")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    places = {"WILDSAGE_CACHE": str(file), "XDG_CACHE_HOME": str(file)}
    value, _, _, folder, _ = ask(checkout, **places, TMPDIR=str(temporary))
    assert (value, folder) == (2.0, str(temporary / f"wildsage-{os.getuid()}" / "kernels"))
    (temporary / f"wildsage-{os.getuid()}" / "kernels").chmod(0o777)  # anybody could put code there
    value, _, _, folder, _ = ask(checkout, **places, TMPDIR=str(temporary))
    assert (value, folder) == (2.0, "None")


def test_a_folder_is_private_if_all_above_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    above = tmp_path.resolve() / "above"
    folder = above / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    above.chmod(0o755)
    assert kernel.is_private(folder)
    above.chmod(0o777)  # anybody could move the folder away and put one of theirs in its place
    assert not kernel.is_private(folder)
    above.chmod(0o1777)  # as /tmp: but not what is another's
    assert kernel.is_private(folder)
    folder.chmod(0o1777)
    assert not kernel.is_private(folder)
    folder.chmod(0o700)
    if os.getuid() == 0:
        os.chown(above, 12345, -1)
    else:
        monkeypatch.setattr(kernel.os, "getuid", lambda: 12345)
    assert not kernel.is_private(folder)


def test_old_versions_are_forgotten(tmp_path: Path) -> None:
    for age in range(20):
        folder = tmp_path / f"version{age}"
        folder.mkdir()
        os.utime(folder, (1000 + age, 1000 + age))
    kernel._forget_old(tmp_path / "version3")
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {"version3", *(f"version{age}" for age in range(13, 20))}


def test_a_kernel_can_see_a_nan() -> None:
    @kernel.kernel
    def is_nan(x: float) -> bool:
        return x != x

    assert is_nan(float("nan"))
    assert not is_nan(1.0)


@pytest.mark.parametrize("name", ["CPU_NAME", "CPU_FEATURES"])
def test_the_key_depends_on_the_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(kernel.__file__)
    kernel._key.cache_clear()
    before = kernel._key(file.parent.parent, file)
    monkeypatch.setattr(kernel.numba.config, name, "another")
    kernel._key.cache_clear()
    assert kernel._key(file.parent.parent, file) != before
    kernel._key.cache_clear()


@pytest.mark.parametrize(("name", "value"), [("NUMBA_DISABLE_JIT", "1"), ("NUMBA_NUM_THREADS", "0")])
def test_variables_with_which_no_kernel_can_run_are_named(name: str, value: str) -> None:
    code = """
from wildsage.contract.errors import ClientError
try:
    import wildsage.kernels.kernel
except ClientError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, name: value}, capture_output=True, text=True, check=True
    )
    assert "NUMBA_" in done.stdout
