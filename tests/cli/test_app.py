"""The program as a whole: help, exit codes, completion, and how soon it answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from wildsage import __version__
from wildsage.cli import names

COMMANDS = [
    "algorithms",
    "train",
    "jobs",
    "logs",
    "stop",
    "models",
    "deploy",
    "endpoints",
    "predict",
    "delete",
    "quickstart",
    "doctor",
]


def test_help_names_every_command(call: Call) -> None:
    result = call("--help")
    assert result.code == 0
    assert all(re.search(rf"\b{name}\b", result.out) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_json(call: Call, command: str) -> None:
    result = call(command, "-h")
    assert result.code == 0
    assert f"wildsage {command}" in result.out.partition("Examples:")[2]
    assert "--json" in result.out


def test_version(call: Call) -> None:
    assert call("--version").out == f"wildsage {__version__}\n"


@pytest.mark.parametrize("arguments", [("trian",), ("train",), ("jobs", "--limit", "none"), ("delete", "world", "it")])
def test_a_command_that_is_written_wrong_exits_with_2(call: Call, home: Path, arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Usage" in result.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("algorithms", "blazingtxt"), 'did you mean "blazingtext"?'),
        (("train", "blazingtext", "trian=x", "mode=supervised"), 'did you mean "train"?'),
        (("train", "blazingtext", "mode=supervised"), "missing channel: train=PATH"),
        (("train", "blazingtext", "train=no/such/file", "mode=supervised"), "no/such/file"),
        (("jobs", "nobody"), "nobody"),
        (("logs", "nobody"), "nobody"),
        (("stop", "nobody"), "nobody"),
        (("deploy", "nobody"), "nobody"),
        (("deploy", "no/such/model.tar.gz"), "no/such/model.tar.gz"),
        (("endpoints", "nobody"), "nobody"),
        (("predict", "nobody", "text"), "nobody"),
        (("predict", "no/such/model.tar.gz", "text"), "no/such/model.tar.gz"),
        (("delete", "endpoint", "nobody"), "nobody"),
        (("delete", "model", "nobody"), "nobody"),
        (("delete", "job", "nobody"), "nobody"),
    ],
)
def test_an_error_is_one_line_on_stderr(call: Call, home: Path, arguments: tuple[str, ...], reason: str) -> None:
    result = call(*arguments)
    assert result.code == 1
    assert result.out == ""
    assert result.err.startswith("wildsage: ")
    assert result.err.count("\n") == 1
    assert reason in result.err


@pytest.mark.parametrize("arguments", [("jobs",), ("predict", "e", "--file", "/"), ("predict", "folder", "text")])
def test_a_disk_that_refuses_is_one_line_too(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("WILDSAGE_HOME", str(tmp_path / "file"))
    result = call(*arguments)
    assert result.code == 1
    assert result.err.startswith("wildsage: ")
    assert result.err.count("\n") == 1


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['wildsage', '--help']\n"
        "from wildsage.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'numpy', 'numba', 'nltk', 'sqlalchemy', 'alembic', 'fsspec'}\n"
        "    heavy |= {'wildsage.platform', 'wildsage.sdk'}\n"
        "    print('loaded:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stderr


def test_the_shell_completes_commands_and_algorithms(home: Path) -> None:
    def complete(words: str) -> list[str]:
        environment = {
            **os.environ,
            "_WILDSAGE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        code = "from wildsage.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.argv = ['wildsage']; {code}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert complete("wildsage quick") == ["quickstart"]
    assert complete("wildsage train blazing") == ["blazingtext"]
    assert complete("wildsage logs no") == []
    assert complete("wildsage train blazingtext ep") == ["epochs="]
    assert complete("wildsage train blazingtext val") == ["validation="]
    assert complete("wildsage train blazingtext train=x -p early") == ["early_stopping="]
    assert complete("wildsage train blazingtext -c va") == ["validation="]
    assert complete("wildsage train blazingtext mode=su") == ["mode=supervised"]
    assert complete("wildsage train nothing ep") == []


def test_completion_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "home"
    file.write_text("not a folder")
    monkeypatch.setenv("WILDSAGE_HOME", str(file))
    assert names.job("") == []
    assert names.anything("x") == []


def test_an_interrupt_while_modules_load_shows_no_traceback() -> None:
    program = """if True:
        import sys
        class Interrupted:
            def find_spec(self, name, path=None, target=None):
                if name == "typer":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Interrupted())
        from wildsage.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
