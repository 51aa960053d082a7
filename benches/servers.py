"""The servers that scripts/bench measures. Each starts in an empty directory, with the one client registered."""

import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

POSTGRES = os.environ.get("JETON_TEST_POSTGRES_URL", "")
PEER = Path(__file__).resolve().parent / "oidc-provider"

CLIENT_ID, SCOPE = "billing", "orders:read"
REGISTRATIONS = [
    ["resource-servers", "create", "orders", "--identifier", "https://orders.example.com"]
    + ["--permission", f"{SCOPE}=Read orders", "--signing-algorithm", "ES256"],
    ["roles", "create", "order-reader", "--permission", f"orders/{SCOPE}"],
]
CLIENT = ["clients", "create", CLIENT_ID, "--kind", "service", "--role", "order-reader"]

# postmaster: whose children also work for this server. ledger: counts issued tokens and all token events.
Server = namedtuple("Server", "process port secret postmaster ledger", defaults=(None, None))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def running(command, environment, directory):
    """A started process that is stopped in the end. Nothing is inherited but PATH."""
    log = directory / "server.log"
    with log.open("wb") as output:
        environment = {"PATH": os.environ["PATH"], **environment}
        process = subprocess.Popen(command, env=environment, cwd=directory, stdout=output, stderr=output)
    try:
        yield process
        if process.poll() is not None:
            raise SystemExit(f"the server ended by itself with {process.returncode}")
    except BaseException:
        sys.stderr.write(f"--- the log of {command[0]}\n{log.read_text(errors='replace')[-4000:]}---\n")
        raise
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()


@contextmanager
def other(command, directory):
    """A server that is told the client by its environment."""
    port, secret = free_port(), f"jtn_{uuid.uuid4().hex}{uuid.uuid4().hex[:17]}"  # as long as a generated one
    environment = {"BENCH_CLIENT_ID": CLIENT_ID, "BENCH_CLIENT_SECRET": secret, "NODE_ENV": "production"}
    with running([*command, str(port)], environment, directory) as process:
        yield Server(process, port, secret)


def bare(programs, directory):
    return other([programs["bare"]], directory)


def oidc_provider(programs, directory):
    return other([programs["node"], str(PEER / "server.mjs")], directory)


@contextmanager
def jeton(programs, directory, store, count, postmaster=None):
    port = free_port()
    environment = {"JETON_LISTEN": f"127.0.0.1:{port}", "JETON_DATA_DIR": str(directory / "data"), **store}
    by_kind = "SELECT COUNT(*) FILTER (WHERE kind = 'token_issued'), COUNT(*) FROM audit_events"
    by_kind += " WHERE kind LIKE 'token_%'"

    def ask(*arguments):
        command = [programs["jeton"], *arguments, "--json"]
        return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)

    # Before the server starts, so that it need not notice.
    for arguments in REGISTRATIONS:
        ask(*arguments)
    secret = ask(*CLIENT)["secret"]["client_secret"]
    with running([programs["jeton"], "serve"], environment, directory) as process:
        yield Server(process, port, secret, postmaster, lambda: count(by_kind))


def jeton_sqlite(programs, directory):
    def count(query):
        with sqlite3.connect(directory / "data/jeton.db") as database:
            return database.execute(query).fetchone()

    return jeton(programs, directory, {}, count)


@contextmanager
def jeton_postgres(programs, directory):
    database = f"jeton_bench_{uuid.uuid4().hex}"
    url = f"{POSTGRES.rsplit('/', 1)[0]}/{database}"
    key = base64.b64encode(os.urandom(32)).decode()
    postmaster = int(psql("SELECT pg_read_file('postmaster.pid')").split()[0])
    psql(f"CREATE DATABASE {database}")
    try:
        count = lambda query: [int(number) for number in psql(query, url).split("|")]  # noqa: E731
        store = {"JETON_DATABASE_URL": url, "JETON_MASTER_KEY": key}
        with jeton(programs, directory, store, count, postmaster) as server:
            yield server
    finally:
        psql(f"DROP DATABASE {database} WITH (FORCE)")


@contextmanager
def jeton_postgres_slow_disk(programs, directory):
    """A commit waits another millisecond, as if for a slower disk."""

    def apply(*statements):
        for statement in (*statements, "SELECT pg_reload_conf()"):
            psql(statement)
        time.sleep(0.5)  # the server reads its files when it gets round to it

    apply("ALTER SYSTEM SET commit_delay = 1000", "ALTER SYSTEM SET commit_siblings = 0")
    try:
        if psql("SELECT current_setting('commit_delay') || ' ' || current_setting('commit_siblings')") != "1000 0":
            raise SystemExit("PostgreSQL did not take commit_delay and commit_siblings")
        with jeton_postgres(programs, directory) as server:
            yield server
    finally:
        apply("ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings")


SUBJECTS = {
    "bare": bare,
    "jeton-sqlite": jeton_sqlite,
    "jeton-postgres": jeton_postgres,
    "jeton-postgres-slow-disk": jeton_postgres_slow_disk,
    "oidc-provider": oidc_provider,
}


def psql(statement, url=POSTGRES):
    command = ["psql", "--quiet", "--tuples-only", "--no-align", "--command", statement, url]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
