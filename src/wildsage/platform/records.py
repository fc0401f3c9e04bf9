"""The tables: one of resources, of whatever kind, and one of their tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table

from wildsage.platform.names import Kind
from wildsage.platform.states import Status

# The newest revision in migrations/versions; a database of another one is upgraded or refused.
SCHEMA = "0001"

metadata = MetaData()

resources = Table(
    "resources",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("arn", String(512), nullable=False, unique=True),
    Column("id", String(32), nullable=False),  # tells a record from a later one of the same name
    Column("home", String(4096), nullable=False),  # whose processes stand behind it
    Column("status", String(32), nullable=False),
    Column("created_at", Double, nullable=False),  # epoch seconds, as every time here
    Column("modified_at", Double, nullable=False),
    Column("revision", Integer, nullable=False),  # counts changes; a change names the one that it saw
    Column("request", JSON, nullable=False),
    Column("state", JSON, nullable=False),
    Index("resources_by_creation", "kind", "created_at", "name"),
    Index("resources_by_status", "kind", "status", "name"),
)

tags = Table(
    "tags",
    metadata,
    Column("arn", String(512), ForeignKey("resources.arn", ondelete="CASCADE"), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("value", String(256), nullable=False),
)


@dataclass(frozen=True)
class Record:
    """One resource. request: as it was asked for, with defaults filled in. state: what became of it, by kind."""

    kind: Kind
    name: str
    arn: str
    id: str
    home: str
    status: Status
    created_at: float
    modified_at: float
    request: Mapping[str, Any]
    state: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 0
