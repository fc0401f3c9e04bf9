"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("numpy", "numba", "uvloop", "httptools", "msgspec")


def describe(*packages: str) -> str:
    """Processor, cores, memory, load, versions and commit, in one line. packages: named beside our own."""
    parts = [processor(), f"{os.cpu_count()} cores", f"{memory_gb():.0f} GB", f"load {os.getloadavg()[0]:.1f}"]
    parts += [f"Python {platform.python_version()}", *(package(name) for name in (*PACKAGES, *packages))]
    return ", ".join(filter(None, [*parts, commit()]))


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """The checkout's commit, with + where files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else ""
