"""The limits of a machine, read from folders that look like /proc, /sys/fs/cgroup and /dev."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from wildsage.contract import machine

GB = 1 << 30


def tell(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    tell(tmp_path / "proc" / "meminfo", f"MemTotal: {64 << 20} kB\nMemAvailable: {32 << 20} kB\n")
    tell(tmp_path / "proc" / "self" / "cgroup", "0::/user/job\n")
    tell(tmp_path / "proc" / "self" / "statm", "1024 0 0 0 0 0 0")
    return tmp_path / "proc"


def test_memory_of_a_machine_without_limits(proc: Path, tmp_path: Path) -> None:
    assert machine.available_memory(proc=proc, cgroups=tmp_path / "none") == 32 * GB


def test_memory_below_the_limit_of_a_group_above(proc: Path, tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    tell(groups / "user" / "job" / "memory.max", "max\n")
    tell(groups / "user" / "job" / "memory.current", "5\n")
    tell(groups / "user" / "memory.max", f"{8 * GB}\n")
    tell(groups / "user" / "memory.current", f"{3 * GB}\n")
    tell(groups / "user" / "memory.stat", f"anon 5\ninactive_file {1 * GB}\n")
    assert machine.available_memory(proc=proc, cgroups=groups) == 6 * GB


def test_memory_of_a_container_with_version_1(proc: Path, tmp_path: Path) -> None:
    """The path is the host's, which the container does not see; its own group is the root."""
    tell(proc / "self" / "cgroup", "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n")
    groups = tmp_path / "cgroup"
    tell(groups / "memory" / "memory.limit_in_bytes", f"{4 * GB}")
    tell(groups / "memory" / "memory.usage_in_bytes", f"{5 * GB}")
    assert machine.available_memory(proc=proc, cgroups=groups) == 0
    tell(groups / "memory" / "memory.limit_in_bytes", f"{0x7FFFFFFFFFFFF000}")
    assert machine.available_memory(proc=proc, cgroups=groups) == 32 * GB


def test_memory_below_the_limit_of_the_address_space(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2 * GB, 2 * GB))
    used = 1024 * resource.getpagesize()
    assert machine.available_memory(proc=proc, cgroups=tmp_path / "none") == 2 * GB - used


def test_memory_of_this_machine() -> None:
    assert (machine.available_memory() or 0) > 0


def test_cores_of_a_group_with_a_share(proc: Path, tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    assert machine.cores(proc=proc, cgroups=groups) >= 1
    tell(groups / "user" / "job" / "cpu.max", "50000 100000\n")
    assert machine.cores(proc=proc, cgroups=groups) == 1
    tell(groups / "user" / "job" / "cpu.max", "max 100000\n")
    assert machine.cores(proc=proc, cgroups=groups) == machine.cores(proc=proc, cgroups=tmp_path / "none")
    tell(proc / "self" / "cgroup", "3:cpu,cpuacct:/\n")
    tell(groups / "cpu" / "cpu.cfs_quota_us", "100000")
    tell(groups / "cpu" / "cpu.cfs_period_us", "100000")
    assert machine.cores(proc=proc, cgroups=groups) == 1


def test_gpus_that_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "neuron0"):
        tell(tmp_path / name, "")
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)
    for visible, count in ((None, 2), ("0", 1), ("", 0), ("-1", 0), ("0,1,2", 2)):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert machine.gpus(devices=tmp_path) == count
    assert machine.neuron_cores(devices=tmp_path) == 1
