"""Who may import whom.

Inside: contract <- kernels <- data <- algorithms <- runtime.
Outside: contract <- engines <- platform <- (sdk, server, cli).
The wings meet in contract/ alone. The source is read, not run, so that imports inside functions count too.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "wildsage"

# What each part may import beside itself.
ALLOWED = {
    "contract": set(),
    "kernels": {"contract"},
    "data": {"contract", "kernels"},
    "algorithms": {"contract", "kernels", "data"},
    "runtime": {"contract", "kernels", "data", "algorithms"},
    "engines": {"contract"},
    "platform": {"contract", "engines"},
    "sdk": {"contract", "engines", "platform"},
    "server": {"contract", "engines", "platform"},
    "samples": set(),
    "plots": {"contract"},
    "doctor": {"contract"},
    "quickstart": {"contract", "platform", "sdk", "samples"},
    "cli": {"contract", "engines", "platform", "sdk", "server", "samples", "doctor", "plots", "quickstart"},
    "": {"sdk"},
}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part that a file belongs to; "" for the package itself."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first in ("__init__", "__main__") else first


def imports(path: Path, root: Path = PACKAGE) -> set[str]:
    """The full names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    package = ["wildsage", *path.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            found |= {str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return found


def parts_imported(path: Path) -> set[str]:
    named = (name.split(".") for name in imports(path) if name.startswith("wildsage."))
    return {name[1] for name in named if name[1] in ALLOWED}


def test_every_part_is_known() -> None:
    assert {part_of(path) for path in SOURCES} <= ALLOWED.keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_part_may(path: Path) -> None:
    part = part_of(path)
    assert parts_imported(path) - {part} <= ALLOWED[part]


@pytest.mark.parametrize("path", sorted((PACKAGE / "contract").rglob("*.py")), ids=lambda path: path.name)
def test_the_contract_needs_only_the_standard_library_and_pydantic(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert roots <= {"wildsage", "pydantic", *sys.stdlib_module_names}


def test_the_reader_of_imports_sees_them_all(tmp_path: Path) -> None:
    source = tmp_path / "runtime" / "x.py"
    source.parent.mkdir()
    source.write_text(
        "import a.b\nfrom . import c\nfrom ..data import d\n"
        "def late():\n    from wildsage.engines import local\n    importlib.import_module('wildsage.sdk')\n"
    )
    expected = {"a.b", "wildsage.runtime.c", "wildsage.data.d", "wildsage.engines.local", "wildsage.sdk"}
    assert expected <= imports(source, tmp_path)
