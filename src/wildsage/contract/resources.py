"""resourceconfig.json: the hosts of a job, and which of them this is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wildsage.contract.errors import ClientError
from wildsage.contract.files import read_json_object, shown, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The group of a job that has no instance groups.
HOMOGENEOUS = "homogeneousCluster"


@dataclass(frozen=True)
class InstanceGroup:
    """Hosts of one instance type."""

    name: str
    instance_type: str
    hosts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"instance_group_name": self.name, "instance_type": self.instance_type, "hosts": list(self.hosts)}


@dataclass(frozen=True)
class Resources:
    """The hosts of a job. hosts: all, in lexicographic order."""

    current_host: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)
    network_interface_name: str = "eth0"
    current_instance_type: str | None = None
    current_group_name: str | None = None
    instance_groups: tuple[InstanceGroup, ...] = ()
    topology: tuple[Any, ...] | None = field(default=None)

    @property
    def rank(self) -> int:
        """This host's place among the hosts, from 0."""
        return self.hosts.index(self.current_host)

    @property
    def world_size(self) -> int:
        return len(self.hosts)

    @property
    def group(self) -> str:
        return self.current_group_name or HOMOGENEOUS

    @property
    def group_hosts(self) -> tuple[str, ...]:
        """The hosts of this host's group; none where the job has no groups."""
        return next((group.hosts for group in self.instance_groups if group.name == self.group), ())

    @property
    def is_heterogeneous(self) -> bool:
        return len(self.instance_groups) > 1

    def to_json(self) -> dict[str, Any]:
        """The content of resourceconfig.json."""
        fields: dict[str, Any] = {
            "current_host": self.current_host,
            "current_instance_type": self.current_instance_type,
            "current_group_name": self.current_group_name,
            "hosts": list(self.hosts),
            "instance_groups": [group.to_json() for group in self.instance_groups] or None,
            "network_interface_name": self.network_interface_name,
            "topology": None if self.topology is None else list(self.topology),
        }
        return {key: value for key, value in fields.items() if value is not None}


def read_resources(path: Path) -> Resources:
    """Read resourceconfig.json; no file means one host. Raises ClientError that names all that is wrong."""
    try:
        return parse_resources(read_json_object(path, "current_host, hosts, network_interface_name"))
    except FileNotFoundError:
        return Resources()


def write_resources(path: Path, resources: Resources) -> None:
    write_json(path, resources.to_json())


def parse_resources(fields: Mapping[str, Any]) -> Resources:
    """Check the content of resourceconfig.json. Raises ClientError that names all that is wrong."""
    problems: list[str] = []
    hosts = _names(fields.get("hosts"), "hosts", problems)
    current = fields.get("current_host")
    if not isinstance(current, str) or current not in hosts:
        among = f"one of the hosts, {', '.join(sorted(hosts))}" if hosts else "one of the hosts"
        problems.append(f"current_host = {shown(current)} is not allowed: {among}")
    if len(set(hosts)) != len(hosts):
        problems.append(f"hosts = {shown(list(hosts))} is not allowed: each host once")
    texts: dict[str, str | None] = {}
    for name in ("network_interface_name", "current_instance_type", "current_group_name"):
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            problems.append(f"{name} = {shown(value)} is not allowed: text")
            value = None
        texts[name] = value
    groups = _groups(fields.get("instance_groups"), problems)
    topology = fields.get("topology")
    if topology is not None and not isinstance(topology, list):
        problems.append(f"topology = {shown(topology)} is not allowed: a list")
        topology = None
    if problems:
        raise ClientError("\n".join(f"resourceconfig.json: {problem}" for problem in problems))
    return Resources(
        current_host=str(current),
        hosts=tuple(sorted(hosts)),
        network_interface_name=texts["network_interface_name"] or "eth0",
        current_instance_type=texts["current_instance_type"],
        current_group_name=texts["current_group_name"],
        instance_groups=groups,
        topology=None if topology is None else tuple(topology),
    )


def _names(value: Any, where: str, problems: list[str]) -> tuple[str, ...]:
    if isinstance(value, list) and value and all(isinstance(entry, str) and entry for entry in value):
        return tuple(value)
    problems.append(f"{where} = {shown(value)} is not allowed: a list of host names")
    return ()


def _groups(value: Any, problems: list[str]) -> tuple[InstanceGroup, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(f"instance_groups = {shown(value)} is not allowed: a list of groups")
        return ()
    groups = []
    for number, entry in enumerate(value):
        row = entry if isinstance(entry, dict) else {}
        name, kind = row.get("instance_group_name"), row.get("instance_type")
        if not isinstance(name, str) or not isinstance(kind, str):
            wanted = "an object with instance_group_name, instance_type and hosts"
            problems.append(f"instance_groups, number {number}: {shown(entry)} is not allowed: {wanted}")
            continue
        groups.append(InstanceGroup(name, kind, _names(row.get("hosts"), f"instance_groups, {name}: hosts", problems)))
    return tuple(groups)
