"""The engine: SQLite in WAL mode or PostgreSQL, transactions in threads, migrations at the start."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from windtunnel.errors import InvalidInput, Unavailable

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Any fixed number: replicas that start together migrate one after the other.
_MIGRATION_LOCK = 7_401_330_127
_READ_ONLY = "windtunnel_read_only"
# What PostgreSQL and its client say where the same address and credentials will never do.
_HOPELESS = re.compile(
    r"authentication failed|no pg_hba|no password supplied|certificate verify|does not support SSL|"
    r"(?:role|database|user) \"[^\"]*\" does not exist|root certificate file"
)
log = logging.getLogger(__name__)


class Database:
    """Runs functions of a connection as transactions, in threads. Every method raises Unavailable.

    Args:
        engine: connects to it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs work in a transaction that writes nothing.

        Args:
            work: gets the connection.

        Returns:
            What the work returns.
        """
        return await self._run(work, read_only=True)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs work in a transaction: all of it is stored, or nothing.

        Args:
            work: gets the connection.

        Returns:
            What the work returns.
        """
        return await self._run(work, read_only=False)

    async def close(self) -> None:
        """Ends its threads and connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self.engine.dispose()

    async def _run(self, work: Callable[[Connection], T], *, read_only: bool) -> T:
        def transaction() -> T:
            with _answered(), self.engine.connect() as connection:
                connection = connection.execution_options(**{_READ_ONLY: read_only})
                with connection.begin():
                    return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)


@contextmanager
def _answered() -> Iterator[None]:
    """Turns the ways in which a database can fail to answer into Unavailable.

    Raises:
        Unavailable: the database does not answer.
        DBAPIError: another error of the database.
        TimeoutError: never; it becomes Unavailable.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        gone = isinstance(error, OperationalError | InterfaceError | PoolTimeout)
        if not gone and not (isinstance(error, DBAPIError) and error.connection_invalidated):
            raise
        cause = getattr(error, "orig", None) or error
        raise Unavailable(f"the database does not answer: {cause}", hint="see WINDTUNNEL_DATABASE_URL") from error


def open_database(url: str, *, named: str = "") -> Database:
    """Opens the database and brings its tables up to date. Blocks.

    Args:
        url: sqlite:///<file> or postgresql://user:password@host/name.
        named: what errors call it; empty: its URL without the password.

    Returns:
        The database.

    Raises:
        InvalidInput: the URL cannot be used, or the tables are of a newer version.
        Unavailable: the database does not answer.
    """
    parsed = _parse(url)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)
    try:
        migrate(engine)
    except CommandError as error:
        engine.dispose()
        raise InvalidInput(
            f"a newer Windtunnel wrote {named or parsed.render_as_string(hide_password=True)}: {error}",
            hint="install that version or a later one, or name another database in WINDTUNNEL_DATABASE_URL",
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return Database(engine)


def open_for_reading(path: Path, scratch: Path) -> Database:
    """Opens an SQLite file that others may be writing, to read it only. Blocks.

    Args:
        path: of the file.
        scratch: folder; tables of an older version are brought up to date in a copy there.

    Returns:
        The database.

    Raises:
        InvalidInput: the file is empty or not such a database, or a newer version wrote it.
        Unavailable: it cannot be opened.
    """
    try:
        if path.is_file() and not path.stat().st_size and not path.with_name(f"{path.name}-wal").exists():
            raise InvalidInput(
                f"{path} is empty: it is not a database, and has no runs",
                hint="restore it from a backup, or let `windtunnel up` make a new one",
            )
        if not _is_current(path):
            return open_database(f"sqlite:///{_copied(path, scratch / path.name)}", named=str(path))
        engine = create_engine("sqlite://", creator=lambda: _connect_to_read(path), poolclass=NullPool)
    except sqlite3.OperationalError as error:
        raise Unavailable(f"{path} cannot be read: {error}", hint="is it readable, and its folder?") from error
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{path} is not a database of this Windtunnel: {error}") from error
    _begin_transactions(engine)
    return Database(engine)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, to a file in a folder that nobody can write too."""
    name = f"file:{quote(str(path))}"
    log = path.with_name(f"{path.name}-wal")
    # Without its log a file in a folder that cannot be written is complete, and SQLite can be set to treat it so.
    frozen = not log.exists() and not os.access(path.parent, os.W_OK)
    mode = "immutable=1" if frozen else "mode=ro"
    return sqlite3.connect(f"{name}?{mode}", uri=True, timeout=10, check_same_thread=False, isolation_level=None)


def _is_current(path: Path) -> bool:
    with closing(_connect_to_read(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return False
        versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return versions == [(ScriptDirectory.from_config(_alembic_scripts()).get_current_head(),)]


def _copied(path: Path, copy: Path) -> Path:
    with closing(_connect_to_read(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


async def wait_for_database(url: str, wait_s: float = 30.0) -> Database:
    """As `open_database`, in a thread; waits for a PostgreSQL server that does not answer yet, and logs that.

    Args:
        url: as for `open_database`.
        wait_s: the longest wait, in seconds.

    Returns:
        The database.

    Raises:
        InvalidInput: as from `open_database`.
        Unavailable: the database does not answer; at once, if waiting does not help: user, password, database,
            certificate.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return await asyncio.to_thread(open_database, url)
        except Unavailable as error:
            hopeless = _HOPELESS.search(error.message) or _parse(url).get_backend_name() == "sqlite"
            if hopeless or time.monotonic() > deadline:
                raise
            where = _parse(url).render_as_string(hide_password=True)
            log.warning("the database at %s cannot be used, trying again: %s", where, " ".join(error.message.split()))
            await asyncio.sleep(3)


def migrate(engine: Engine) -> None:
    """Brings the tables up to date.

    Args:
        engine: of the database.

    Raises:
        Unavailable: the database does not answer.
    """
    with _answered(), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for the migrations in this package.

    Args:
        connection: open.

    Returns:
        The settings.
    """
    config = _alembic_scripts()
    config.attributes["connection"] = connection
    return config


def _alembic_scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", "windtunnel.metrics_store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput(
            "WINDTUNNEL_DATABASE_URL is not a URL", hint="sqlite:///<file> or postgresql://user:password@host/name"
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise InvalidInput(
            f"WINDTUNNEL_DATABASE_URL names {parsed.drivername!r}", hint="sqlite:///<file> and postgresql:// are known"
        )
    return parsed


def _postgresql(url: URL) -> Engine:
    return create_engine(url, pool_pre_ping=True, pool_size=8, pool_timeout=10, connect_args={"connect_timeout": 5})


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise InvalidInput("an SQLite database needs a file", hint="sqlite:////var/lib/windtunnel/metrics.db")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "name a file in a folder that can be written in WINDTUNNEL_DATABASE_URL"
        raise InvalidInput(f"folder {folder} of the database cannot be made: {error.strerror}", hint=hint) from error
    engine = create_engine(url, pool_size=8, pool_timeout=10, connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        # Transactions are begun below: the driver's own rule begins them too late to see a consistent state.
        connection.isolation_level = None
        for pragma in ("busy_timeout=10000", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        _use_wal(connection)

    _begin_transactions(engine)
    return engine


def _begin_transactions(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that begins as a reader fails where another one wrote in between; IMMEDIATE waits for it instead.
        read_only = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turns the write-ahead log on; it stays on in the file.

    Raises:
        OperationalError: others keep the file busy.
    """
    deadline = time.monotonic() + 10
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError:
            # SQLite does not wait here, whatever its busy timeout is, while another connection makes the same change.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Inserts the rows whose key is not taken.

    Args:
        connection: open.
        table: to insert into.
        rows: values by column.

    Returns:
        How many were inserted.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    count = 0
    for row in rows:
        # What was inserted is counted by what it returns: the row count of an INSERT is not reported by every driver.
        statement = dialect.insert(table).values(**row).on_conflict_do_nothing()
        count += len(connection.execute(statement.returning(*table.primary_key)).all())
    return count


def upsert(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Inserts a row, or replaces the one with its key.

    Args:
        connection: open.
        table: to insert into.
        row: values by column.
    """
    keys = [column.name for column in table.primary_key]
    values = {name: value for name, value in row.items() if name not in keys}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**row)
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 UTC, exactly.

    Args:
        instant: with time zone.

    Returns:
        Microseconds.
    """
    return (instant - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The instant of microseconds.

    Args:
        micros: since 1970 UTC.

    Returns:
        In UTC.
    """
    return _EPOCH + timedelta(microseconds=micros)
