"""What this process may use of the machine: cores, GPUs, memory. Nothing is imported or started to find out."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
DEVICES = Path("/dev")

# cgroup v1 writes "no limit" as a number near 2**63.
_NO_LIMIT = 1 << 60


def cores(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """The processor cores that this process may keep busy: its affinity, and its cgroup's share rounded up."""
    try:
        # Not on macOS.
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    for folder in _cgroup_folders("cpu", proc, cgroups):
        quota = _cpu_quota(folder)
        if quota is not None:
            count = min(count, max(1, math.ceil(quota)))
    return count


def gpus(*, devices: Path = DEVICES) -> int:
    """The NVIDIA GPUs that this process sees; CUDA_VISIBLE_DEVICES is heeded."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or os.environ.get("NVIDIA_VISIBLE_DEVICES")
    count = sum(1 for path in devices.glob("nvidia*") if re.fullmatch(r"nvidia[0-9]+", path.name))
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or visible in ("-1", "none", "void"):
        return 0
    if visible is None or visible == "all":
        return count
    return min(count, len([entry for entry in visible.split(",") if entry.strip()]))


def neuron_cores(*, devices: Path = DEVICES) -> int:
    """The Neuron devices of this machine."""
    return sum(1 for path in devices.glob("neuron*") if re.fullmatch(r"neuron[0-9]+", path.name))


def available_memory(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that this process can still take without swapping or being killed; None where nothing says so.

    The least of three: what the kernel deems available, what is left below the limit of each cgroup above this
    process (its page cache can be dropped, so that counts as left), and what is left below RLIMIT_AS.
    """
    known = [_kernel_memory(proc), _address_space(proc)]
    known += [_cgroup_memory(folder) for folder in _cgroup_folders("memory", proc, cgroups)]
    found = [value for value in known if value is not None]
    return max(0, min(found)) if found else None


def _kernel_memory(proc: Path) -> int | None:
    try:
        text = (proc / "meminfo").read_text("ascii", "replace")
    except OSError:
        return _physical_memory()
    match = re.search(r"^MemAvailable:\s*([0-9]+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else _physical_memory()


def _physical_memory() -> int | None:
    # macOS tells only what there is in all; that still refuses what can never fit.
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _address_space(proc: Path) -> int | None:
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int((proc / "self" / "statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        pages = 0
    return int(limit - pages * resource.getpagesize())


def _cgroup_folders(controller: str, proc: Path, cgroups: Path) -> list[Path]:
    """This process's cgroup folder and those above it, for v2 and for a v1 controller."""
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers == "":
            root = cgroups
        elif controller in controllers.split(","):
            root = cgroups / controller
        else:
            continue
        relative = Path(name.lstrip("/"))
        # Inside a container the path is often the host's, while the root is the container's own group: both are tried.
        folders += [root / part for part in (relative, *relative.parents)]
    return [folder for folder in dict.fromkeys(folders) if ".." not in folder.parts and folder.is_dir()]


def _cgroup_memory(folder: Path) -> int | None:
    for limit_file, use_file, cache_key in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(folder / limit_file), _number(folder / use_file)
        if limit is not None and limit < _NO_LIMIT and used is not None:
            return limit - used + _statistic(folder / "memory.stat", cache_key)
    return None


def _cpu_quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    v1_quota, v1_period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return v1_quota / v1_period if v1_quota is not None and v1_quota > 0 and v1_period else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _statistic(path: Path, key: str) -> int:
    try:
        match = re.search(rf"^{key} ([0-9]+)$", path.read_text("ascii", "replace"), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
