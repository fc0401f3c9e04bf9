"""What holds for every store of records: SQLite, and PostgreSQL where a server is there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, inspect, text

from wildsage.contract.errors import AlgorithmError, ClientError, InternalServerError
from wildsage.platform.names import Kind
from wildsage.platform.records import SCHEMA, Record, metadata, resources
from wildsage.platform.states import Status
from wildsage.platform.store import NameTakenError, Query, Store

ROOT = Path(__file__).parents[2]


def record(name: str, at: float = 1.0, status: Status = Status.IN_PROGRESS, **more: Any) -> Record:
    fields = {"kind": Kind.TRAINING_JOB, "arn": f"arn:{name}", "id": f"id-{name}", "home": "/home", **more}
    return Record(name=name, status=status, created_at=at, modified_at=at, request={"Name": name}, **fields)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = None
    if request.param == "postgresql":
        url = os.environ.get("WILDSAGE_TEST_POSTGRES")
        if not url:
            pytest.skip("no PostgreSQL server; set WILDSAGE_TEST_POSTGRES to the URL of an empty database")
        engine = create_engine(url)
        metadata.drop_all(engine)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
        engine.dispose()
    found = Store(tmp_path, url)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One SQLite store for tests of many examples."""
    found = Store(tmp_path_factory.mktemp("shared"))
    yield found
    found.close()


class TestStore:
    def test_a_record_comes_back_as_it_was(self, store: Store) -> None:
        first = replace(record("a"), request={"Text": "ä\n", "List": [1, 2.5, None, True]})
        store.insert(first, {"team": "birds"})
        assert store.get(Kind.TRAINING_JOB, "a") == first
        assert store.get(Kind.MODEL, "a") is None
        assert store.tags("arn:a") == {"team": "birds"}

    def test_a_name_is_taken_once(self, store: Store) -> None:
        store.insert(record("a"))
        with pytest.raises(NameTakenError):
            store.insert(record("a", 2.0, id="other"), {"never": "seen"})
        assert store.tags("arn:a") == {}
        store.insert(record("a", kind=Kind.MODEL, arn="arn:model", status=Status.NONE))

    def test_a_change_is_checked_and_counted(self, store: Store) -> None:
        store.insert(record("a"))
        changed = store.change(Kind.TRAINING_JOB, "a", lambda old: replace(old, status=Status.COMPLETED))
        assert changed == store.get(Kind.TRAINING_JOB, "a")
        assert changed is not None
        assert (changed.status, changed.revision) == (Status.COMPLETED, 1)
        with pytest.raises(AlgorithmError, match="cannot go from Completed to InProgress"):
            store.change(Kind.TRAINING_JOB, "a", lambda old: replace(old, status=Status.IN_PROGRESS))
        assert store.get(Kind.TRAINING_JOB, "a") == changed
        assert store.change(Kind.TRAINING_JOB, "a", lambda old: None) == changed
        assert store.change(Kind.TRAINING_JOB, "b", lambda old: old) is None

    def test_a_change_that_raises_changes_nothing(self, store: Store) -> None:
        store.insert(record("a"))

        def fails(old: Record) -> Record:
            raise ClientError("no")

        with pytest.raises(ClientError, match="no"):
            store.change(Kind.TRAINING_JOB, "a", fails)
        assert store.get(Kind.TRAINING_JOB, "a") == record("a")

    def test_delete_takes_tags_along_and_spares_a_later_record(self, store: Store) -> None:
        first = record("a")
        store.insert(first, {"x": "1"})
        assert store.delete(first)
        assert store.tags("arn:a") == {}
        store.insert(replace(first, id="second"))
        assert not store.delete(first)
        assert store.get(Kind.TRAINING_JOB, "a") is not None

    def test_tags_are_replaced_by_key_and_bounded(self, store: Store) -> None:
        store.insert(record("a"), {"x": "1", "y": "2"})
        assert store.put_tags("arn:a", {"x": "3"}, most=2) == {"x": "3", "y": "2"}
        with pytest.raises(ClientError, match="3 tags"):
            store.put_tags("arn:a", {"z": "4"}, most=2)
        store.delete_tags("arn:a", ["x", "nothing"])
        assert store.tags("arn:a") == {"y": "2"}

    def test_unsettled_are_those_of_this_home_that_go_on(self, store: Store) -> None:
        store.insert(record("runs"))
        store.insert(record("done", status=Status.COMPLETED))
        store.insert(record("elsewhere", home="/other"))
        assert [found.name for found in store.unsettled(Kind.TRAINING_JOB, "/home")] == ["runs"]

    def test_many_writers_and_readers_lose_nothing(self, store: Store) -> None:
        store.insert(record("shared", state={"count": 0}))
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    store.insert(record(f"{number}-{turn}"))
                    store.change(
                        Kind.TRAINING_JOB,
                        "shared",
                        lambda old: replace(old, state={"count": old.state["count"] + 1}),
                    )
                    store.page(Query(Kind.TRAINING_JOB, limit=5))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        shared = store.get(Kind.TRAINING_JOB, "shared")
        assert shared is not None
        assert (shared.state["count"], shared.revision) == (60, 60)
        assert len(store.page(Query(Kind.TRAINING_JOB, limit=100))[0]) == 61

    def test_the_tables_are_those_of_the_migrations(self, store: Store) -> None:
        """A new database is made from the metadata, an old one by the migrations: both must come to the same."""
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        store.get(Kind.MODEL, "x")
        with store._opened().connect() as connection:
            made = _tables(connection)
            metadata.drop_all(connection)
            connection.commit()
            connection.execute(text("DELETE FROM alembic_version"))
            connection.execute(text("CREATE TABLE resources (old INTEGER)"))
            connection.execute(text("DROP TABLE resources"))
            connection.commit()
            _run_migrations(connection)
            connection.commit()
            assert _tables(connection) == made
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def _tables(connection: Any) -> dict[str, Any]:
    found = inspect(connection)
    return {
        name: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)],
            sorted((i["name"] or "", tuple(i["column_names"])) for i in found.get_indexes(name)),
            found.get_pk_constraint(name)["constrained_columns"],
            [(key["constrained_columns"], key["referred_table"]) for key in found.get_foreign_keys(name)],
        )
        for name in ("resources", "tags")
    }


def _run_migrations(connection: Any) -> None:
    from wildsage.platform import store

    store._upgrade(connection, "sqlite://")


NAMES = st.text("abAB-_%", min_size=1, max_size=6)
RECORDS = st.dictionaries(NAMES, st.tuples(st.integers(0, 3), st.sampled_from(list(Status)[:5])), max_size=15)


@given(
    entries=RECORDS,
    limit=st.integers(1, 5),
    descending=st.booleans(),
    sort_by=st.sampled_from(["Name", "CreationTime", "Status", "LastModifiedTime"]),
    contains=st.none() | st.text("abAB-_%", max_size=2),
    status=st.none() | st.sampled_from(["InProgress", "Completed"]),
    after=st.none() | st.integers(-1, 3),
)
def test_pages_together_are_the_whole_list_in_order(
    shared: Store,
    entries: dict[str, tuple[int, Status]],
    limit: int,
    descending: bool,
    sort_by: str,
    contains: str | None,
    status: str | None,
    after: int | None,
) -> None:
    with shared._opened().begin() as connection:
        connection.execute(delete(resources))
    records = [record(name, float(at), state) for name, (at, state) in entries.items()]
    for entry in records:
        shared.insert(entry)
    query = Query(
        Kind.TRAINING_JOB,
        name_contains=contains,
        status=status,
        created_after=None if after is None else float(after),
        sort_by=sort_by,
        descending=descending,
        limit=limit,
    )
    found: list[Record] = []
    token = None
    while True:
        page, token = shared.page(replace(query, token=token))
        assert len(page) == limit or token is None
        found += page
        if token is None:
            break
    keys = {
        "Name": lambda r: r.name,
        "CreationTime": lambda r: r.created_at,
        "LastModifiedTime": lambda r: r.modified_at,
        "Status": lambda r: r.status.value,
    }
    wanted = [
        r
        for r in records
        if (contains is None or contains.lower() in r.name.lower())
        and (status is None or r.status == status)
        and (after is None or r.created_at > after)
    ]
    assert found == sorted(wanted, key=lambda r: (keys[sort_by](r), r.name), reverse=descending)


def test_records_that_come_and_go_between_pages_hide_and_repeat_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(6):
        store.insert(record(f"r{number}", float(number)))
    query = Query(Kind.TRAINING_JOB, descending=False, limit=3)
    first, token = store.page(query)
    store.delete(first[0])
    store.delete(record("r3", 3.0))
    store.insert(record("early", 0.5))
    rest, _ = store.page(replace(query, token=token))
    assert [found.name for found in rest] == ["r4", "r5"]
    store.close()


@given(token=st.text(max_size=30))
def test_a_token_that_is_none_is_refused(shared: Store, token: str) -> None:
    with pytest.raises(ClientError, match="NextToken"):
        shared.page(Query(Kind.MODEL, token=token))


def test_the_first_database_made_by_several_processes_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from wildsage.platform.store import Kind, Record, Status, Store\n"
        "name, done = sys.argv[2], Status.COMPLETED\n"
        "fields = {'arn': name, 'id': name, 'home': '/', 'created_at': 1.0, 'modified_at': 1.0, 'request': {}}\n"
        "Store(Path(sys.argv[1])).insert(Record(Kind.TRAINING_JOB, name, status=done, **fields))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", program, str(tmp_path / "new" / "home")]
    processes = [
        subprocess.Popen([*command, f"r{n}"], env=environment, stderr=subprocess.PIPE, text=True) for n in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    store = Store(tmp_path / "new" / "home")
    assert sorted(store.names(Kind.TRAINING_JOB)) == ["r0", "r1", "r2", "r3"]
    store.close()


def test_a_forked_child_uses_and_closes_connections_of_its_own(store: Store) -> None:
    store.insert(record("parent"))
    with store._opened().connect() as connection, store._guard:  # at the worst moment: a thread is about to connect
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(60)
                store.insert(record("child"))
                store.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert connection.execute(text("SELECT 1")).scalar() == 1
    assert sorted(store.names(Kind.TRAINING_JOB)) == ["child", "parent"]


def test_sqlite_is_in_wal_mode_and_a_power_cut_of_the_creator_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "wildsage.db").touch()  # what a creator that died at once leaves
    store = Store(tmp_path)
    assert store.names(Kind.MODEL) == []
    store.close()
    with sqlite3.connect(tmp_path / "wildsage.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA,)
    connection.close()


OLD = sorted((ROOT / "tests" / "platform" / "assets").glob("schema_*.sql"))


@pytest.mark.parametrize("script", OLD, ids=lambda path: path.stem)
def test_a_database_of_every_earlier_schema_is_upgraded(script: Path, tmp_path: Path) -> None:
    """The scripts are dumps of databases that earlier versions wrote; one is added with each migration."""
    connection = sqlite3.connect(tmp_path / "wildsage.db")
    connection.executescript(script.read_text())
    connection.close()
    store = Store(tmp_path)
    found = store.get(Kind.TRAINING_JOB, "kept")
    assert found is not None
    assert found.request["HyperParameters"] == {"epochs": "5"}
    assert store.tags(found.arn) == {"team": "birds"}
    store.close()


def test_a_database_without_tables_that_alembic_knows_is_upgraded(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "wildsage.db")
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.commit()
    connection.close()
    store = Store(tmp_path)
    store.insert(record("a"))
    store.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.names(Kind.MODEL)
    store.close()
    connection = sqlite3.connect(tmp_path / "wildsage.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(ClientError, match=r"schema 9999.*newer"):
        store.names(Kind.MODEL)


@pytest.mark.parametrize("home", ["file", "file/below", "no/" + "long" * 80])
def test_a_home_that_cannot_be_is_told_with_what_is_wrong_with_it(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ClientError, match=r"cannot be the home folder.*WILDSAGE_HOME"):
        Store(tmp_path / home).names(Kind.MODEL)


def test_a_database_url_that_is_none_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="the form sqlite:////") as refused:
        Store(tmp_path, "garbage:secret").names(Kind.MODEL)
    assert "secret" not in str(refused.value)


def test_a_database_whose_driver_is_missing_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"needs the package \w+: pip install") as refused:
        Store(tmp_path, "mssql+pymssql://me:secret@127.0.0.1/x").names(Kind.MODEL)
    assert "secret" not in str(refused.value)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wildsage.db").write_bytes(b"no database" * 100)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(InternalServerError, match=r"file is not a database; the disk of .* is full"):
        Store(tmp_path).names(Kind.MODEL)
