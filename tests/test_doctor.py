"""What the doctor finds, on this machine and on machines that lack something."""

from __future__ import annotations

import shutil
import socket
import stat
import sys
from pathlib import Path

import pytest

from wildsage import doctor
from wildsage.contract import machine
from wildsage.doctor import Verdict


def test_this_machine_is_examined_whole(home: Path) -> None:
    findings = {finding.subject: finding for finding in doctor.examine(home)}
    assert {"python", "cores", "memory", "gpu", "disk", "home", "port", "kernels", "extra server"} <= set(findings)
    assert all(finding.found for finding in findings.values())
    assert sys.executable in findings["python"].found
    assert findings["port"].verdict is Verdict.GOOD
    assert findings["home"].verdict is Verdict.GOOD
    assert not home.exists()


def test_a_home_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "home"
    file.write_text("")
    finding = doctor.home_folder(file)
    assert finding.verdict is Verdict.BAD
    assert "not a folder" in finding.found
    assert finding.advice


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12, 1000))
    finding = doctor.disk(tmp_path / "not" / "there")
    assert finding.verdict is Verdict.BAD
    assert "WILDSAGE_HOME" in finding.advice


def test_no_port_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no loopback")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert doctor.port().verdict is Verdict.BAD


def test_a_containers_limits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)
    monkeypatch.setattr(machine, "available_memory", lambda: doctor.GIB)
    assert doctor.cores().found.startswith("1 of ")
    finding = doctor.memory()
    assert finding.found.startswith("1.0 GiB free of ")
    assert finding.advice
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    assert doctor.memory().verdict is Verdict.OPTIONAL


@pytest.mark.parametrize(
    ("script", "verdict", "found"),
    [
        ("echo 'Some Card, 81559 MiB'", Verdict.GOOD, "Some Card, 81559 MiB"),
        ("exit 9", Verdict.OPTIONAL, "does not answer"),
    ],
)
def test_cards_are_told_by_their_own_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, verdict: Verdict, found: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(doctor, "_installed", lambda name: True)
    finding = doctor.gpu()
    assert finding.verdict is verdict
    assert found in finding.found


def test_a_card_without_its_package_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Some Card, 81559 MiB'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(doctor, "_installed", lambda name: False)
    finding = doctor.gpu()
    assert (finding.verdict, finding.found) == (Verdict.OPTIONAL, "Some Card, 81559 MiB; not here: numba-cuda")
    assert "'.[gpu]'" in finding.advice


def test_a_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.importlib.metadata,
        "requires",
        lambda name: ["numpy>=2", "no-such-thing>=1; extra == 'wings'", "numpy; extra == 'feet'"],
    )
    findings = {finding.subject: finding for finding in doctor.extras()}
    assert findings["extra feet"].verdict is Verdict.GOOD
    assert findings["extra wings"].found == "not here: no-such-thing"
    assert "[wings]" in findings["extra wings"].advice
