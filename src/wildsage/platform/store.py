"""Records in SQL: SQLite in WAL mode by default, PostgreSQL by URL. One transaction a change.

Several processes may use one database at once. A change reads, decides and writes inside one transaction that holds
the row, and names the revision that it saw.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

from sqlalchemy import Connection, Row, and_, create_engine, delete, event, func, insert, or_, select, text, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from wildsage.contract.errors import ClientError, InternalServerError
from wildsage.platform import locks
from wildsage.platform.names import Kind
from wildsage.platform.records import SCHEMA, Record, metadata, resources, tags
from wildsage.platform.states import SETTLED, Status, check_step

_BUSY_S = 30
_LEAST_FREE_BYTES = 1 << 20
_CREATION_LOCK = 0x57494C44  # any number that all of us agree on
_SORT_COLUMNS = {
    "Name": resources.c.name,
    "CreationTime": resources.c.created_at,
    "LastModifiedTime": resources.c.modified_at,
    "Status": resources.c.status,
}


class NameTakenError(Exception):
    """A record of this kind and name is there."""


@dataclass(frozen=True)
class Query:
    """Which records of a kind a list wants. Times are epoch seconds; bounds are exclusive, as the service has them."""

    kind: Kind
    name_contains: str | None = None
    status: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    sort_by: str = "CreationTime"
    descending: bool = True
    limit: int = 100
    token: str | None = None

    def digest(self) -> str:
        """The same for all pages of one list, another for another list."""
        parts = replace(self, token=None, limit=0).__dict__
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """The records of one database. Safe to use from several threads, and in a forked child."""

    _all: ClassVar[WeakSet[Store]] = WeakSet()

    def __init__(self, home: Path, url: str | None = None) -> None:
        """home: where wildsage.db is, unless `url` (SQLAlchemy's form) names another database."""
        self._home = home
        self.url = url or f"sqlite:///{home / 'wildsage.db'}"
        self._engine: Engine | None = None
        self._guard = threading.Lock()
        self._all.add(self)

    @classmethod
    def _after_fork(cls) -> None:
        """In a forked child, before anything else: let go of what is the parent's."""
        for store in cls._all:
            store._guard = threading.Lock()  # a thread that did not come along may hold the old one
            if store._engine is not None:
                # The child must not talk on its parent's connections, nor close them.
                store._engine.dispose(close=False)
                store._engine = None

    def close(self) -> None:
        """Close the connections; the store opens them again when it is used again."""
        with self._guard:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def get(self, kind: Kind, name: str) -> Record | None:
        with self._read() as connection:
            row = connection.execute(select(resources).where(_named(kind, name))).first()
        return _record(row) if row is not None else None

    def insert(self, record: Record, labels: Mapping[str, str] | None = None) -> None:
        """Add a record and its tags. Raises NameTakenError."""
        with self._write() as connection:
            try:
                connection.execute(insert(resources).values(**_columns(record)))
            except IntegrityError as error:
                raise NameTakenError(record.name) from error
            _put_tags(connection, record.arn, labels or {})

    def change(self, kind: Kind, name: str, step: Callable[[Record], Record | None]) -> Record | None:
        """Let `step` make a new record out of the present one, and write it; None from `step` leaves it as it is.

        Returns the record after the change; None if there is none of this name. A step of state that the kind does
        not have raises AlgorithmError and changes nothing.
        """
        with self._write() as connection:
            row = connection.execute(select(resources).where(_named(kind, name)).with_for_update()).first()
            if row is None:
                return None
            old = _record(row)
            new = step(old)
            if new is None or new == old:
                return old
            check_step(kind, old.status, new.status)
            new = replace(new, revision=old.revision + 1)
            seen = and_(_named(kind, name), resources.c.revision == old.revision)
            if connection.execute(update(resources).where(seen).values(**_columns(new))).rowcount != 1:
                raise InternalServerError(f"{kind.words} {name} was changed by two at once; the database does not lock")
            return new

    def delete(self, record: Record) -> bool:
        """Remove the record and its tags, but never a later one of the same name. Returns whether it was there."""
        with self._write() as connection:
            exactly = and_(_named(record.kind, record.name), resources.c.id == record.id)
            return connection.execute(delete(resources).where(exactly)).rowcount == 1

    def unsettled(self, kind: Kind, home: str) -> list[Record]:
        """Records of this home that something stands behind, or should."""
        settled = [status.value for status in SETTLED[kind]]
        wanted = and_(resources.c.kind == kind.value, resources.c.home == home, resources.c.status.not_in(settled))
        with self._read() as connection:
            return [_record(row) for row in connection.execute(select(resources).where(wanted))]

    def names(self, kind: Kind) -> list[str]:
        with self._read() as connection:
            return list(connection.scalars(select(resources.c.name).where(resources.c.kind == kind.value)))

    def page(self, query: Query) -> tuple[list[Record], str | None]:
        """One page of a list and the token of the next. Raises ClientError for a token of another list.

        The token holds the last record's place in the order, not a count, so that records that come and go between
        two pages neither repeat nor hide one that stays.
        """
        column = _SORT_COLUMNS[query.sort_by]
        wanted = [resources.c.kind == query.kind.value]
        if query.name_contains is not None:
            # Case is ignored: SQLite's LIKE does so, PostgreSQL's does not, and both must answer alike.
            wanted.append(func.lower(resources.c.name).contains(query.name_contains.lower(), autoescape=True))
        if query.status is not None:
            wanted.append(resources.c.status == query.status)
        bounds = (
            (resources.c.created_at, query.created_after, query.created_before),
            (resources.c.modified_at, query.modified_after, query.modified_before),
        )
        for time_column, after, before in bounds:
            if after is not None:
                wanted.append(time_column > after)
            if before is not None:
                wanted.append(time_column < before)
        if query.token is not None:
            value, name = _place(query)
            if query.descending:
                wanted.append(or_(column < value, and_(column == value, resources.c.name < name)))
            else:
                wanted.append(or_(column > value, and_(column == value, resources.c.name > name)))
        order = [c.desc() if query.descending else c.asc() for c in (column, resources.c.name)]
        with self._read() as connection:
            rows = connection.execute(select(resources).where(*wanted).order_by(*order).limit(query.limit + 1)).all()
        found = [_record(row) for row in rows[: query.limit]]
        if len(rows) <= query.limit:
            return found, None
        last = rows[query.limit - 1]
        place = [query.digest(), last._mapping[column.name], last.name]
        return found, base64.urlsafe_b64encode(json.dumps(place).encode()).decode()

    def tags(self, arn: str) -> dict[str, str]:
        with self._read() as connection:
            rows = connection.execute(select(tags.c.key, tags.c.value).where(tags.c.arn == arn).order_by(tags.c.key))
            return {row.key: row.value for row in rows}

    def put_tags(self, arn: str, labels: Mapping[str, str], *, most: int) -> dict[str, str]:
        """Add or replace tags of a record that is there; returns all it has. Raises ClientError above `most`."""
        with self._write() as connection:
            _put_tags(connection, arn, labels)
            rows = connection.execute(select(tags.c.key, tags.c.value).where(tags.c.arn == arn).order_by(tags.c.key))
            found = {row.key: row.value for row in rows}
            if len(found) > most:
                raise ClientError(f"{len(found)} tags are not allowed: at most {most} on one resource")
            return found

    def delete_tags(self, arn: str, keys: list[str]) -> None:
        with self._write() as connection:
            connection.execute(delete(tags).where(tags.c.arn == arn, tags.c.key.in_(keys)))

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._connected(immediate=False) as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._connected(immediate=True) as connection:
            yield connection

    @contextmanager
    def _connected(self, *, immediate: bool) -> Iterator[Connection]:
        try:
            with self._opened().connect() as connection:
                connection = connection.execution_options(wildsage_immediate=immediate)
                with connection.begin():
                    yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise InternalServerError(f"{_plain(self.url)}: {error.orig}{self._hint()}") from error
        except sqlite3.Error as error:  # of a statement that SQLAlchemy did not run
            raise InternalServerError(f"{_plain(self.url)}: {error}{self._hint()}") from error

    def _hint(self) -> str:
        """What SQLite does not say: on a full disk even reading ends in "disk I/O error"."""
        with suppress(OSError):
            if make_url(self.url).database and shutil.disk_usage(self._home).free < _LEAST_FREE_BYTES:
                return f"; the disk of {self._home} is full, free some space on it"
        return ""

    def _opened(self) -> Engine:
        with self._guard:
            if self._engine is None:
                engine = _engine(self.url)
                try:
                    _ready(engine, self._home, self.url)
                except OSError as error:
                    engine.dispose()
                    raise ClientError(
                        f"{self._home} cannot be the home folder: {error.strerror} ({error.filename}); "
                        "set WILDSAGE_HOME to a folder that can be written to"
                    ) from error
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine


os.register_at_fork(after_in_child=Store._after_fork)


def _named(kind: Kind, name: str) -> Any:
    return and_(resources.c.kind == kind.value, resources.c.name == name)


def _columns(record: Record) -> dict[str, Any]:
    return {**record.__dict__, "kind": record.kind.value, "status": record.status.value}


def _record(row: Row[Any]) -> Record:
    fields = dict(row._mapping)
    return Record(**{**fields, "kind": Kind(fields["kind"]), "status": Status(fields["status"])})


def _put_tags(connection: Connection, arn: str, labels: Mapping[str, str]) -> None:
    if labels:
        connection.execute(delete(tags).where(tags.c.arn == arn, tags.c.key.in_(list(labels))))
        connection.execute(insert(tags), [{"arn": arn, "key": key, "value": value} for key, value in labels.items()])


def _place(query: Query) -> tuple[Any, str]:
    refused = f"NextToken = {json.dumps(query.token)} is not allowed: the token of the page before, same list"
    try:
        digest, value, name = json.loads(base64.urlsafe_b64decode(query.token or ""))
    except ValueError as error:
        raise ClientError(refused) from error
    numeric = query.sort_by in ("CreationTime", "LastModifiedTime")
    if digest != query.digest() or not isinstance(name, str) or not isinstance(value, float if numeric else str):
        raise ClientError(refused)
    return value, name


def _plain(url: str) -> str:
    """The URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def _engine(url: str) -> Engine:
    try:
        if make_url(url).get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True)
        engine = create_engine(url)
    except ArgumentError as error:  # its text may hold the password
        raise ClientError(
            "the database's URL cannot be read: it has the form sqlite:////folder/file.db or "
            "postgresql+psycopg://user:password@host/database"
        ) from error
    except ImportError as error:
        raise ClientError(f"{_plain(url)} needs the package {error.name}: pip install {error.name}") from error

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # Transactions begin where we say, not where Python's sqlite3 guesses.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1000}")
        connection.execute("PRAGMA foreign_keys = ON")
        # In WAL mode NORMAL loses nothing when a process dies, and nothing but the last moments with the machine.
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail, not wait, when another wrote in between.
        immediate = connection.get_execution_options().get("wildsage_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _ready(engine: Engine, home: Path, url: str) -> None:
    """Make sure that the database has our tables: look once, and only if they are not there create or upgrade."""
    file = make_url(url).database if engine.dialect.name == "sqlite" else None
    if file is None:
        with engine.begin() as connection:
            if _version(connection) != SCHEMA:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})
                _migrate(connection, url)
        return
    path = Path(file)
    if path.exists():
        with engine.begin() as connection:
            if _version(connection) == SCHEMA:
                return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.held(path.with_name(f"{path.name}.lock")):
        with engine.connect() as connection:
            # Stays with the file. Outside of any transaction, or SQLite refuses it.
            connection.connection.cursor().execute("PRAGMA journal_mode = WAL")
        with engine.connect().execution_options(wildsage_immediate=True) as connection, connection.begin():
            _migrate(connection, url)


def _version(connection: Connection) -> str | None:
    """The schema that the database says it has; None where there is none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _migrate(connection: Connection, url: str) -> None:
    version = _version(connection)
    if version == SCHEMA:
        return
    if version is None and not connection.dialect.has_table(connection, resources.name):
        # A new database needs no history, and with it not the time to import Alembic.
        metadata.create_all(connection)
        connection.execute(
            text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:schema)"), {"schema": SCHEMA})
        return
    _upgrade(connection, url)


def _upgrade(connection: Connection, url: str) -> None:
    version = _version(connection)
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise ClientError(
            f"{_plain(url)} has schema {version}, which this Wildsage does not know (it knows {SCHEMA}): a newer "
            "Wildsage wrote it. Upgrade this one, or set WILDSAGE_HOME to another folder"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA)
