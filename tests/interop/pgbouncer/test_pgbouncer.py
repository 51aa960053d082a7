"""Replicas that reach PostgreSQL through a PgBouncer that hands each transaction to another connection."""

import base64
import concurrent.futures
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from build import pgbouncer
from jeton import JETON, Server, free_port, jeton, postgres

# Fewer than two replicas open, so that they get other ones all the time.
SERVER_CONNECTIONS = 6


class PgBouncer:
    """A pooler in transaction mode before the server of JETON_TEST_POSTGRES_URL."""

    def __init__(self, directory, **settings):
        self.server = urllib.parse.urlsplit(os.environ["JETON_TEST_POSTGRES_URL"])
        self.port, self.log = free_port(), directory / f"pgbouncer-{len(settings)}.log"
        users, self.configuration = directory / "users.txt", directory / f"pgbouncer-{len(settings)}.ini"
        users.write_text(f'"{self.server.username}" "{self.server.password}"\n')
        lines = {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "", "auth_type": "plain",
            "auth_file": users, "pool_mode": "transaction", "default_pool_size": SERVER_CONNECTIONS,
            # Hands out whoever has waited longest: nobody keeps a connection by luck.
            "server_round_robin": 1,
            **settings,
        }
        words = [f"[databases]\n* = host=127.0.0.1 port={self.server.port}\n[pgbouncer]"]
        self.configuration.write_text("\n".join([*words, *(f"{name} = {value}" for name, value in lines.items())]) + "\n")
        self.process = None

    def start(self):
        command = [pgbouncer(), "--quiet", self.configuration]
        if os.geteuid() == 0:
            command[1:1] = ["--user", "postgres"]
            for path in self.configuration.parent, *self.configuration.parent.parents[:2]:
                path.chmod(0o755)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        return self

    def kill(self):
        """Ends it without a word."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def through(self, store):
        """The same store, reached through it."""
        database = urllib.parse.urlsplit(store["JETON_DATABASE_URL"]).path
        user = f"{self.server.username}:{self.server.password}"
        return {**store, "JETON_DATABASE_URL": f"postgres://{user}@127.0.0.1:{self.port}{database}?sslmode=disable"}


class Deployment:
    """Two replicas, a client, and the pooler between them and the database."""

    def __init__(self, directory, store):
        self.store, self.pooler = store, PgBouncer(directory, max_prepared_statements=200).start()
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        common = {"PATH": os.environ["PATH"], "JETON_ISSUER": f"http://{addresses[0]}"}
        self.environment = {**common, **self.pooler.through(store)}
        self.servers = [
            Server(
                {
                    **self.environment,
                    "JETON_LISTEN": address,
                    # One server at a time has a directory of spools.
                    "JETON_OUTAGE__DIRECTORY": str(directory / f"spools-{number}"),
                },
                directory / f"jeton-{number}.log",
            )
            for number, address in enumerate(addresses)
        ]

    def start(self):
        # At once, on an empty database: both want to migrate.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Server.start, self.servers))
        self("resource-servers", "create", "orders", "--identifier", "https://orders.example", "--permission", "use")
        self("roles", "create", "user", "--permission", "orders/use")
        self.secret = self("clients", "create", "load", "--role", "user")["secret"]["client_secret"]
        # Jeton promises that a running server follows within a second.
        time.sleep(1)
        return self

    def __call__(self, *arguments):
        return jeton(self.environment, *arguments)

    def kill(self):
        for server in self.servers:
            server.kill()
        self.pooler.kill()

    def ask(self, number, secret=None):
        """The status of a token request, and the key that signed."""
        pair = base64.b64encode(f"load:{secret or self.secret}".encode()).decode()
        url, authorization = f"{self.servers[number].url}/oauth2/token", {"authorization": f"Basic {pair}"}
        request = urllib.request.Request(url, b"grant_type=client_credentials", authorization)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                header = json.load(answer)["access_token"].split(".")[0]
                return 200, json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def psql(self, statement):
        command = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement]
        command.append(self.store["JETON_DATABASE_URL"])
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with postgres(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(scope="module")
def deployment(store, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pgbouncer")
    made = Deployment(directory, store)
    try:
        yield made.start()
    finally:
        made.kill()
        for log in directory.glob("*.log"):
            print(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-3000:]}")


def within_a_second(holds):
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + 1.2, "it took longer than a second"
        time.sleep(0.02)


def test_tokens_of_many_at_once(deployment):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: deployment.ask(number % 2), range(600)))
    assert {status for status, _ in answers} == {200}, [words for status, words in answers if status != 200][:3]


def test_a_change_holds_everywhere_within_a_second(deployment):
    added = deployment("clients", "secret", "add", "load")
    for number in range(2):
        within_a_second(lambda number=number: deployment.ask(number, added["client_secret"])[0] == 200)
    deployment("clients", "secret", "revoke", "load", added["secret_id"])
    for number in range(2):
        within_a_second(lambda number=number: deployment.ask(number, added["client_secret"])[0] == 401)


def test_a_replica_comes_back_while_the_other_serves(deployment):
    deployment.servers[1].stop()
    deployment.servers[1].start()
    assert [deployment.ask(number)[0] for number in range(2)] == [200, 200]
    # The lock under which it looked for migrations was given back where it was taken.
    assert deployment.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"


def test_nobody_mends_anything_when_the_pooler_was_away(deployment):
    deployment.pooler.kill()
    assert deployment.ask(0)[0] in (200, 503)
    deployment.pooler.start()
    deadline = time.monotonic() + 15
    while [deployment.ask(number)[0] for number in range(2)] != [200, 200]:
        assert time.monotonic() < deadline, "it does not recover"
        time.sleep(0.1)


def test_the_audit_is_whole(deployment):
    verify = [JETON, "audit", "verify"]
    checked = subprocess.run(verify, env=deployment.environment, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_pooler_without_prepared_statements_is_named(store, tmp_path):
    """As PgBouncer before 1.21 is, and a newer one when it is told to."""
    pooler = PgBouncer(tmp_path, max_prepared_statements=0, server_idle_timeout=600).start()
    environment = {"PATH": os.environ["PATH"], "JETON_LISTEN": "127.0.0.1:0", "JETON_METRICS__LISTEN": "off"}
    environment |= {"JETON_ISSUER": "http://localhost:1", **pooler.through(store)}
    try:
        said = ""
        # By luck each statement may be where it was prepared.
        for _ in range(5):
            server = subprocess.Popen([JETON, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
            try:
                said = server.communicate(timeout=5)[1]
            except subprocess.TimeoutExpired:
                server.kill()
                said = server.communicate()[1]
            if "max_prepared_statements" in said:
                break
        assert "max_prepared_statements" in said, said
    finally:
        pooler.kill()
