"""Numbers, times and tables as people and programs read them."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wildsage.cli import show
from wildsage.cli.this_machine import sparkline


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00512, "0.00512"), (999, "999"), (1000, "1 k"), (57990500, "58 M"), (1.1e9, "1.1 G")],
)
def test_numbers(value: float, text: str) -> None:
    assert show.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1 min 01 s"), (7322, "2 h 02 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert show.duration(seconds) == text


def test_a_table_is_parted_by_tabs_where_no_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("A", "B"), [("x", None), (1, 2.5)], empty="none")
    assert capsys.readouterr().out == "x\t\n1\t2.5\n"
    show.table(("A", "B"), [], empty="none")
    assert capsys.readouterr() == ("", "")


def test_a_table_has_a_head_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    show.table(("Job", "Status"), [("[red]name", "Completed")], empty="none")
    out = capsys.readouterr().out
    assert "Job" in out
    assert "[red]name" in out
    show.table(("Job",), [], empty="none yet")
    assert capsys.readouterr() == ("", "none yet\n")


def test_json_holds_times(capsys: pytest.CaptureFixture[str]) -> None:
    show.as_json({"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "path": Path("a")})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-02T03:04:05+00:00", "path": "a"}


def test_paths_below_the_home_folder_are_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert show.path(str(tmp_path / "a" / "b")) == "~/a/b"
    assert show.path("/elsewhere") == "/elsewhere"


def test_a_printed_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "wildsage"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert show.command() == "bin/wildsage"
    monkeypatch.setenv("PATH", str(program.parent))
    assert show.command() == "wildsage"


def test_a_curve_in_one_line() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.3, 0.3]) == "▁▁"
