"""Documentation that cannot drift: its links lead somewhere, its commands run, its generated pages are fresh."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wildsage import quickstart, samples

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def workplace(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two files that the README speaks of, `wildsage` on the PATH, and a home of its own."""
    parts = samples.split(samples.reviews())
    quickstart.write_lines(parts.train[:600], tmp_path / "train.txt")
    quickstart.write_lines(parts.validation[:100], tmp_path / "validation.txt")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: list[str], **more: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["cli.md", "hyperparameters.md"])
def test_generated_pages_are_fresh(generator: ModuleType, page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == generator.PAGES[page](), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else page.parent / file
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}"


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    block, _ = blocks(ROOT / "README.md", "python")
    (workplace / "block.py").write_text(block, encoding="utf-8")
    output = run([sys.executable, "-W", "error", "block.py"])
    assert "model.tar.gz" in output
    assert re.search(r"\[\{'label': \['__label__-?[01]'\], 'prob': \[[\d.]+\]\}\]", output), output


def test_the_shell_of_the_readme_runs(workplace: Path) -> None:
    make, commands, *_ = blocks(ROOT / "README.md", "sh")
    targets = re.findall(r"^make (\w+)", make, re.MULTILINE)
    assert targets == ["quickstart", "test"]
    if shutil.which("curl") is None:
        commands = re.sub(r"^curl .*\n", "", commands, flags=re.MULTILINE)
    output = run(["bash", "-euo", "pipefail", "-c", commands])
    assert "endpoint reviews is deleted" in output
    if shutil.which("curl") is not None:
        assert '"label":' in output


def test_the_word_vectors_of_the_readme_are_made(workplace: Path) -> None:
    commands = blocks(ROOT / "README.md", "sh")[2]
    output = run(["bash", "-euo", "pipefail", "-c", commands])
    assert re.search(r"^\S+\t[01]\.\d{4}$", output, re.MULTILINE), output  # the nearest words, with their cosines
    assert re.search(r"^dresssy( -?\d\S*){100}$", output, re.MULTILINE)
    assert "vectors of 100 columns are in vectors.safetensors" in output
    assert "words start from one (" in output


def test_the_tables_of_the_readme_are_learnt(workplace: Path) -> None:
    rng = random.Random(0)
    rows = [[round(rng.gauss(k % 10, 1), 3) for _ in range(3)] for k in range(200)]
    for name in ("train", "validation"):
        (workplace / f"{name}.csv").write_text("".join(f"{int(a > 5)},{a},{b},{c}\n" for a, b, c in rows))
    for name in ("rows", "more"):
        (workplace / f"{name}.csv").write_text("".join(f"{a},{b},{c}\n" for a, b, c in rows))
    _, block = blocks(ROOT / "README.md", "python")
    (workplace / "block.py").write_text(block, encoding="utf-8")
    assert re.search(r"^b'0\.\d+", run([sys.executable, "-W", "error", "block.py"]), re.MULTILINE)
    commands = blocks(ROOT / "README.md", "sh")[3]
    if shutil.which("curl") is None:
        commands = re.sub(r"^curl .*\n", "", commands, flags=re.MULTILINE)
    output = run(["bash", "-euo", "pipefail", "-c", f"{commands}wildsage delete endpoint clusters"])
    assert "clusters-clusters.png" in output
    assert '"closest_cluster": ' in output


def test_make_help_names_every_command_of_the_documents() -> None:
    listed = set(re.findall(r"^  make (\w+)", run(["make", "-s", "-C", str(ROOT), "help"]), re.MULTILINE))
    for page in PAGES:
        for pair in re.findall(r"`make (\w+)|^ *make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert "".join(pair) in listed, f"{page.name}: make {''.join(pair)}"


def test_make_says_what_it_needs_where_there_is_no_python(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "find", "rm", "awk"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run(
        [make, "install"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_lock_file_has_every_dependency_and_names_no_place() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; .+)?", line) for line in lines)
    locked = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *(each for group in project["dependency-groups"].values() for each in group),
    ]
    names = {re.match(r"[\w.-]+", each)[0].lower().replace("_", "-") for each in wanted}  # type: ignore[index]
    assert names - {"wildsage"} <= locked, "run: make lock"  # an extra of all others names itself
