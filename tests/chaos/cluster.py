"""PostgreSQL servers of our own, which are killed, hung, filled and replaced."""

import os
import secrets
import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from jeton import free_port

# Whose database it is. Not a superuser: for those PostgreSQL keeps connections back.
USER, DATABASE = "jeton", "jeton"

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 80
superuser_reserved_connections = 3
max_wal_size = 64MB
min_wal_size = 32MB
max_wal_senders = 4
hot_standby = on
wal_level = replica
"""

# PostgreSQL refuses to run as root.
OWNER = "postgres" if os.geteuid() == 0 else None


def server_programs():
    """Where PostgreSQL's server programs are: Debian keeps them out of PATH, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise SystemExit("PostgreSQL is missing: scripts/install-packages postgresql")
    return found[-1].parent


class PostgreSQL:
    """A server with a data directory of its own, and its log beside that."""

    def __init__(self, directory, password=None):
        self.directory, self.data, self.wal = directory, directory / "data" / "pgdata", directory / "wal" / "pgwal"
        self.password = password or secrets.token_hex(16)
        self.port = free_port()

    # --- made, started, ended ---

    def create(self):
        """Makes the data directory and starts. What is in `data` and `wal` may be file systems of their own."""
        self._own()
        word = self.directory / "password"
        word.write_text(self.password)
        self._own()
        self._run("initdb", "--pgdata", self.data, "--waldir", self.wal, "--username", "postgres", "--pwfile", word,
                  "--auth", "password", "--encoding", "UTF8", "--locale", "C.UTF-8")
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        self.start()
        self.psql(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'")
        self.psql(f"CREATE DATABASE {DATABASE} OWNER {USER}")

    def standby(self, directory):
        """A streaming copy of this server, which is running when this returns."""
        copy = PostgreSQL(directory, self.password)
        for folder in (directory / "data", directory / "wal"):
            folder.mkdir(parents=True)
        copy._own()
        self._run("pg_basebackup", "--pgdata", copy.data, "--waldir", copy.wal, "--host", "127.0.0.1", "--port",
                  str(self.port), "--username", "postgres", "--write-recovery-conf", "--wal-method", "stream",
                  "--checkpoint", "fast")
        copy.start()
        return copy

    def start(self):
        """Starts it and waits until it takes connections."""
        log = self.directory / "server.log"
        self._run("pg_ctl", "start", "--silent", "--wait", "--pgdata", self.data, "--log", log, "-o", f"-p {self.port}")
        self.wait()

    def wait(self, seconds=60):
        """Waits until it takes connections."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if time.monotonic() > deadline:
                raise SystemExit(f"PostgreSQL does not come back:\n{self.log()[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """Stops it in order, with the connections that there are."""
        self._run("pg_ctl", "stop", "--silent", "--wait", "--pgdata", self.data, "--mode", "fast")

    def promote(self):
        """Makes a standby the primary."""
        self._run("pg_ctl", "promote", "--silent", "--wait", "--pgdata", self.data)

    def processes(self):
        """The postmaster and its children, by their ids; none when it does not run."""
        with suppress(OSError, ValueError, IndexError):
            postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
            if str(self.data) in Path(f"/proc/{postmaster}/cmdline").read_text():
                return [postmaster, *children(postmaster)]
        return []

    def kill(self):
        """Kills all of its processes, as a machine that loses power would."""
        killed = self.processes()
        for process in killed:
            signal_to(process, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(is_there(process) for process in killed) and time.monotonic() < deadline:
            time.sleep(0.01)

    def freeze(self):
        """Stops all of its processes where they are: connections stay open, and nothing answers."""
        frozen = []
        # Twice: one may have been made meanwhile.
        for _ in range(2):
            frozen = self.processes()
            for process in frozen:
                signal_to(process, signal.SIGSTOP)
        return frozen

    @staticmethod
    def thaw(frozen):
        """Lets them go on."""
        for process in frozen:
            signal_to(process, signal.SIGCONT)

    # --- asked ---

    def answers(self):
        """Whether it takes connections and answers."""
        asked = subprocess.run(self._psql("SELECT 1", DATABASE), env=self.environment(), capture_output=True, timeout=10)
        return asked.returncode == 0 or b"does not exist" in asked.stderr

    def psql(self, sql, database="postgres"):
        """What a superuser is answered, as lines."""
        asked = subprocess.run(self._psql(sql, database), env=self.environment(), capture_output=True, text=True, timeout=60)
        if asked.returncode != 0:
            raise RuntimeError(f"psql: {asked.stderr.strip()}")
        return asked.stdout.splitlines()

    def url(self, port=None):
        """Where Jeton finds it, or what stands before it at another port."""
        return f"postgres://{USER}:{self.password}@127.0.0.1:{port or self.port}/{DATABASE}?sslmode=disable"

    def log(self):
        """What it has logged."""
        return (self.directory / "server.log").read_text(errors="replace")

    def session(self):
        """A connection of the user Jeton's, by the protocol itself (PostgreSQL, chapter 55), or None when there is no room
        for it."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        with suppress(OSError, EOFError):
            words = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
            connection.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
            kind, _ = _message(connection)
            if kind == b"R":
                word = self.password.encode() + b"\0"
                connection.sendall(b"p" + struct.pack("!i", len(word) + 4) + word)
                while (kind := _message(connection)[0]) not in b"ZE":
                    pass
            if kind == b"Z":
                return connection
        connection.close()
        return None

    def environment(self):
        return {"PATH": os.environ["PATH"], "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"}

    def _psql(self, sql, database):
        return ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--host", "127.0.0.1", "--port",
                str(self.port), "--username", "postgres", "--command", sql, database]

    def _own(self):
        if OWNER:
            subprocess.run(["chown", "-R", OWNER, self.directory], check=True)

    def _run(self, program, *arguments):
        command = [server_programs() / program, *arguments]
        if OWNER:
            command = ["runuser", "-u", OWNER, "--", "env", f"PGPASSWORD={self.password}", *command]
        # Not a pipe: what it starts would keep it open.
        with (self.directory / "programs.log").open("ab") as log:
            subprocess.run(command, cwd=self.directory, env=self.environment(), stdout=log, stderr=log, check=True)


def _message(connection):
    """The next message of the server: its kind and what is in it."""
    head = _exactly(connection, 5)
    return head[:1], _exactly(connection, struct.unpack("!i", head[1:])[0] - 4)


def _exactly(connection, length):
    read = b""
    while len(read) < length:
        part = connection.recv(length - len(read))
        if not part:
            raise EOFError
        read += part
    return read


def children(parent):
    """The processes that this one has started and that are still there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def is_there(process):
    """Whether this process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def signal_to(process, which):
    with suppress(ProcessLookupError):
        os.kill(process, which)
