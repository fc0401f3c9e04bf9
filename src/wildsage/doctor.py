"""What this machine has for Wildsage, and what to do about what it lacks. Looks only; changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform as machine
import re
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wildsage.contract import machine as limits

GIB = 1024**3
LOW_MEMORY_BYTES = 2 * GIB
LOW_DISK_BYTES = 2 * GIB


class Verdict(StrEnum):
    GOOD = "ok"
    OPTIONAL = "optional"  # works without
    BAD = "problem"  # something will fail


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. advice: what to do, '' where nothing is to be done."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(home: Path) -> list[Finding]:
    """Look at everything. home: the folder of jobs and endpoints, which need not exist yet."""
    return [
        python(),
        cores(),
        memory(),
        gpu(),
        disk(home),
        home_folder(home),
        port(),
        kernels(),
        *extras(),
    ]


def python() -> Finding:
    system = f"{machine.system()} {machine.machine()}"
    return Finding("python", Verdict.GOOD, f"{machine.python_version()} on {system}, {sys.executable}")


def cores() -> Finding:
    """Cores that this process may use: its affinity, or less where a container sets a quota."""
    return Finding("cores", Verdict.GOOD, f"{limits.cores()} of {os.cpu_count() or 1}")


def memory() -> Finding:
    """Memory that jobs can have: what is free, or less where a container or a limit of the process says so."""
    available = limits.available_memory()
    if available is None:
        return Finding("memory", Verdict.OPTIONAL, "not known on this system")
    found = f"{available / GIB:.1f} GiB free"
    with suppress(ValueError, OSError):
        found += f" of {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / GIB:.1f} GiB"
    if available < LOW_MEMORY_BYTES:
        return Finding(
            "memory", Verdict.OPTIONAL, found, "fine for the samples; set buckets lower for large n-gram models"
        )
    return Finding("memory", Verdict.GOOD, found)


def gpu() -> Finding:
    """NVIDIA cards by their own tool; no built-in needs one, and those that use one want the extra gpu."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("gpu", Verdict.OPTIONAL, "none", "nothing to do: every built-in here runs on the processor")
    try:
        answer = subprocess.run(
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("gpu", Verdict.OPTIONAL, f"nvidia-smi does not answer ({error})", "check the NVIDIA driver")
    cards = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    if cards and not _installed("numba-cuda"):
        advice = f"to train on it: {Path(sys.executable)} -m pip install -e '.[gpu]' in the checkout"
        return Finding("gpu", Verdict.OPTIONAL, f"{'; '.join(cards)}; not here: numba-cuda", advice)
    return Finding("gpu", Verdict.GOOD if cards else Verdict.OPTIONAL, "; ".join(cards) or "none")


def disk(home: Path) -> Finding:
    usage = shutil.disk_usage(_nearest_existing(home))
    found = f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} GiB for {home}"
    if usage.free < LOW_DISK_BYTES:
        return Finding("disk", Verdict.BAD, found, "free some space, or set WILDSAGE_HOME to a folder on a larger disk")
    return Finding("disk", Verdict.GOOD, found)


def home_folder(home: Path) -> Finding:
    origin = "WILDSAGE_HOME" if os.environ.get("WILDSAGE_HOME") else "the default"
    if home.exists() and not home.is_dir():
        return Finding("home", Verdict.BAD, f"{home} ({origin}) is not a folder", "set WILDSAGE_HOME to a folder")
    if not os.access(_nearest_existing(home), os.W_OK | os.X_OK):
        return Finding(
            "home", Verdict.BAD, f"{home} ({origin}) cannot be written", "set WILDSAGE_HOME to a folder of yours"
        )
    return Finding("home", Verdict.GOOD, f"{home} ({origin}{'' if home.exists() else ', made when first needed'})")


def port() -> Finding:
    """An endpoint listens on a port that the system picks on loopback."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return Finding("port", Verdict.GOOD, f"free ones on 127.0.0.1, such as {listener.getsockname()[1]}")
    except OSError as error:
        return Finding(
            "port", Verdict.BAD, f"none on 127.0.0.1 ({error})", "endpoints need a loopback port to listen on"
        )


def extras() -> list[Finding]:
    """Each optional extra of the package: here, or the command that installs it."""
    by_extra: dict[str, list[str]] = defaultdict(list)
    for requirement in importlib.metadata.requires("wildsage") or []:
        # Extras whose packages hang on more than the extra (a platform, say) are judged by their other packages.
        match = re.fullmatch(r"([\w.-]+)[^;]*;\s*extra\s*==\s*['\"]([\w-]+)['\"]\s*", requirement)
        if match:
            by_extra[match[2]].append(match[1])
    findings = []
    for extra, names in sorted(by_extra.items()):
        missing = [name for name in names if not _installed(name)]
        if missing:
            advice = f"{Path(sys.executable)} -m pip install -e '.[{extra}]' in the checkout, if you want it"
            findings.append(Finding(f"extra {extra}", Verdict.OPTIONAL, f"not here: {', '.join(missing)}", advice))
        else:
            findings.append(Finding(f"extra {extra}", Verdict.GOOD, ", ".join(names)))
    return findings


def kernels() -> Finding:
    """Whether the kernels are compiled for this processor, as the program that compiles them tells."""
    advice = f"{Path(sys.executable)} -m wildsage.runtime.warm compiles them now; else the first job does"
    command = [sys.executable, "-m", "wildsage.runtime.warm", "--check"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return Finding("kernels", Verdict.OPTIONAL, "did not answer within a minute", advice)
    if answer.returncode == 0:
        return Finding("kernels", Verdict.GOOD, "compiled for this processor")
    return Finding("kernels", Verdict.OPTIONAL, "not compiled yet", advice)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _nearest_existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.resolve().parents) if parent.exists())
