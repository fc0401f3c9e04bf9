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
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

GIB = 1024**3
LOW_MEMORY_BYTES = 2 * GIB
LOW_DISK_BYTES = 2 * GIB
CGROUP = Path("/sys/fs/cgroup")


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
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{usable} of {os.cpu_count() or 1}"
    quota = _cgroup_quota()
    if quota is not None and quota < usable:
        found += f", limited to {quota:g} by the container"
    return Finding("cores", Verdict.GOOD, found)


def memory() -> Finding:
    """Memory of the machine, or the container's limit where that is lower."""
    total, available = _memory_bytes()
    limit = _read_number(CGROUP / "memory.max")
    if total is None:
        return Finding("memory", Verdict.OPTIONAL, "not known on this system")
    total = min(total, limit) if limit is not None else total
    found = f"{total / GIB:.1f} GiB"
    if available is not None:
        found += f", {min(available, total) / GIB:.1f} GiB free"
    if min(available or total, total) < LOW_MEMORY_BYTES:
        return Finding(
            "memory", Verdict.OPTIONAL, found, "fine for the samples; set buckets lower for large n-gram models"
        )
    return Finding("memory", Verdict.GOOD, found)


def gpu() -> Finding:
    """NVIDIA cards by their own tool; no built-in needs one so far."""
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


def _memory_bytes() -> tuple[int | None, int | None]:
    """Total and available bytes; None for what the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
        except (ValueError, OSError):
            return None, None
    fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if len(line.split()) > 1}
    return fields.get("MemTotal"), fields.get("MemAvailable")


def _cgroup_quota() -> float | None:
    """Cores allowed by cgroup v2's cpu.max, such as "150000 100000" for one and a half; None: no limit."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
