"""The databases that scripts/bench gives Jeton, and how to fill one with more than anybody could register or ask for."""

import base64
import os
import socket
import sqlite3
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from itertools import chain

POSTGRES = os.environ.get("JETON_TEST_POSTGRES_URL", "")

DAY = 86_400_000_000  # microseconds
DAYS = 30  # that the filled audit table goes back


def psql(statement, url=POSTGRES):
    command = ["psql", "--quiet", "--tuples-only", "--no-align", "--command", statement, url]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Store:
    """A database. Every server on it has the same address, because the issuer that it stores is made from that."""

    postmaster = None  # whose children also work for the servers on it

    def __init__(self, **environment):
        self.port = free_port()
        self.environment = {"JETON_LISTEN": f"127.0.0.1:{self.port}", **environment}


class Sqlite(Store):
    UID, HASH, WRITERS, JSON = "randomblob(16)", "randomblob(32)", 1, "TEXT"

    def __init__(self, directory):
        super().__init__(JETON_DATA_DIR=str(directory / "data"))
        self.path = directory / "data/jeton.db"

    def rows(self, query):
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute(query).fetchall()

    def write(self, *statements):
        """For much at once, while no server runs: a crash would leave nothing of use."""
        fast = ["PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000"]
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            for statement in [*fast, *statements]:
                database.execute(statement)

    def columns(self, table):
        return [name for (name,) in self.rows(f"SELECT name FROM pragma_table_info('{table}')")]

    def partition(self, day):
        return "audit_events", [], []

    def settle(self):
        os.sync()

    @staticmethod
    def numbers(count):
        return f"(WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s LIMIT {count}) SELECT n FROM s)"

    @staticmethod
    def digits(number, width):
        return f"substr('{'0' * width}' || ({number}), -{width})"

    @staticmethod
    def literal(identifier):
        return f"x'{identifier.hex}'"


class Postgres(Store):
    UID, HASH, WRITERS = "gen_random_uuid()", "sha256(int8send(n))", 2
    JSON = "JSONB"

    def __init__(self, database):
        self.url = f"{POSTGRES.rsplit('/', 1)[0]}/{database}"
        super().__init__(JETON_DATABASE_URL=self.url, JETON_MASTER_KEY=base64.b64encode(os.urandom(32)).decode())
        self.postmaster = int(psql("SELECT pg_read_file('postmaster.pid')").split()[0])

    def rows(self, query):
        return [line.split("|") for line in psql(query, self.url).splitlines()]

    def write(self, *statements):
        # Foreign keys hold by themselves here.
        fast = ["SET client_min_messages = warning", "SET synchronous_commit = off", "SET session_replication_role = replica"]
        script = ";\n".join([*fast, *statements, ""])
        command = ["psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", self.url]
        subprocess.run(command, input=script, check=True, text=True, stdout=subprocess.PIPE)

    def columns(self, table):
        query = f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
        return [name for (name,) in self.rows(query)]

    def partition(self, day):
        """The table for the events of a day, and what goes before and after filling it. It ends up like the server's;
        its indexes are made when it is full, which is faster."""
        name = f"audit_events_{datetime.fromtimestamp(day / 1e6, timezone.utc):%Y%m%d}"
        create = f"CREATE TABLE {name} (LIKE audit_events INCLUDING ALL EXCLUDING INDEXES)"
        attach = f"ALTER TABLE audit_events ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({day + DAY})"
        return name, [create], [attach]

    def settle(self):
        """What PostgreSQL would do by itself a little later, in the middle of a measurement."""
        psql("VACUUM (ANALYZE)", self.url)
        psql("CHECKPOINT")

    @staticmethod
    def numbers(count):
        return f"(SELECT n FROM generate_series(0::bigint, {count} - 1) AS s (n))"

    @staticmethod
    def digits(number, width):
        return f"lpad(({number})::text, {width}, '0')"

    @staticmethod
    def literal(identifier):
        return f"'{identifier}'::uuid"


@contextmanager
def sqlite(directory):
    yield Sqlite(directory)


@contextmanager
def postgres(_directory):
    database = f"jeton_bench_{uuid.uuid4().hex}"
    psql(f"CREATE DATABASE {database}")
    try:
        yield Postgres(database)
    finally:
        psql(f"DROP DATABASE {database} WITH (FORCE)")


@contextmanager
def postgres_slow_disk(directory):
    """A commit waits another millisecond, as if for a slower disk."""

    def apply(*statements):
        for statement in (*statements, "SELECT pg_reload_conf()"):
            psql(statement)
        time.sleep(0.5)  # the server reads its files when it gets round to it

    apply("ALTER SYSTEM SET commit_delay = 1000", "ALTER SYSTEM SET commit_siblings = 0")
    try:
        if psql("SELECT current_setting('commit_delay') || ' ' || current_setting('commit_siblings')") != "1000 0":
            raise SystemExit("PostgreSQL did not take commit_delay and commit_siblings")
        with postgres(directory) as store:
            yield store
    finally:
        apply("ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings")


# --- filling ------------------------------------------------------------------------------------------


def take(table, like):
    """The row that is copied next."""
    return ["DROP TABLE IF EXISTS template", f"CREATE TEMPORARY TABLE template AS SELECT * FROM {table} WHERE {like} LIMIT 1"]


def copy(table, columns, source, changed):
    """A statement that copies it once for each row of `source`, but for the changed columns."""
    values = ", ".join(changed.get(column, f"template.{column}") for column in columns)
    return (f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source} AS source "
            "CROSS JOIN template WHERE TRUE ON CONFLICT DO NOTHING")


def name_of(store, number):
    return f"'c-' || {store.digits(number, 7)}"


def add_clients(store, count, like):
    """Clients c-0000000 and so on, with the roles and the secret of the client `like`: those that are missing."""
    name, uid = name_of(store, "n"), f"(SELECT uid FROM clients WHERE client_id = '{like}')"
    changed = {"uid": store.UID, "client_id": name, "search": f"{name} || '\n\n'"}
    statements = [*take("clients", f"uid = {uid}"), copy("clients", store.columns("clients"), store.numbers(count), changed)]
    for part in ("client_secrets", "client_roles"):
        without = f"(SELECT uid FROM clients WHERE NOT EXISTS (SELECT 1 FROM {part} WHERE client = clients.uid))"
        statements += take(part, f"client = {uid}")
        statements += [copy(part, store.columns(part), without, {"client": "source.uid"})]
    store.write(*statements)
    store.settle()


def add_events(store, count, client_id, clients=1_000):
    """Issued tokens of the last days before today, like the first one of this client."""
    first = take("audit_events", f"client_id = '{client_id}' AND kind = 'token_issued'")
    days = []
    columns = store.columns("audit_events")
    today = time.time_ns() // 1_000 // DAY * DAY
    name = name_of(store, f"n % {clients}")
    for ago in range(DAYS, 0, -1):
        day, rows = today - ago * DAY, count // DAYS + (ago <= count % DAYS)
        # As long as real ones: a mark, perhaps, and 28 characters.
        number = store.digits(f"n + {ago} * 1000000000000", 28)
        jti = f"substr(template.jti, 1, length(template.jti) - 28) || {number}"
        event = "template.event"
        for old, new in (("template.jti", jti), ("template.txn", number), (f"'{client_id}'", name)):
            event = f"replace({event}, '\"' || {old} || '\"', '\"' || {new} || '\"')"
        changed = {"writer": store.literal(uuid.uuid4()), "seq": "n + 1", "at": f"{day} + n * {DAY // max(rows, 1)}",
                   "prev": store.HASH, "hash": store.HASH, "client_id": name, "jti": jti, "txn": number, "event": event}
        table, before, after = store.partition(day)
        days.append([*before, copy(table, columns, store.numbers(rows), changed), *after])
    with ThreadPoolExecutor(store.WRITERS) as pool:
        shares = [chain(first, *days[place :: store.WRITERS]) for place in range(store.WRITERS)]
        list(pool.map(lambda share: store.write(*share), shares))
    store.settle()
