"""Jeton as processes: the binary under test, the stores that it runs on, a server that is started and stopped."""

import base64
import fcntl
import json
import os
import random
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parent.parent.parent / "target"))
JETON = Path(os.environ.get("JETON_BIN", TARGET / "debug" / "jeton")).resolve()


# Locked files, one for each port that this process has chosen; the locks end with the process.
_chosen = []


def free_port():
    """A port below the range that Linux gives to outgoing connections: one of those may have taken any other port
    by the time a server that was stopped comes back to it. It is nobody else's who asks here, in this process or
    another, until this process ends: between the choice and the server's start it only looks free."""
    folder = Path(tempfile.gettempdir()) / "jeton-interop-ports"
    folder.mkdir(exist_ok=True)
    for port in random.sample(range(20000, 30000), 100):
        lock = (folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                _chosen.append(lock)
                return port
        except OSError:
            lock.close()
    raise SystemExit("none of a hundred ports from 20000 to 29999 is free")


def jeton(environment, *arguments):
    """What an administrative command answers. It works beside running servers."""
    command = [JETON, *arguments, "--json"]
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


# --- the engines: each gives the environment that names its store -------------------------------------


@contextmanager
def sqlite(directory):
    yield {"JETON_DATA_DIR": str(directory / "data")}


@contextmanager
def postgres(directory):
    server = os.environ["JETON_TEST_POSTGRES_URL"]
    database = f"jeton_interop_{uuid.uuid4().hex}"
    master_key = directory / "master.key"
    master_key.write_bytes(base64.b64encode(os.urandom(32)))
    master_key.chmod(0o600)

    def psql(statement):
        subprocess.run(["psql", "--quiet", "--command", statement, server], check=True)

    psql(f"CREATE DATABASE {database}")
    try:
        yield {
            "JETON_DATA_DIR": str(directory / "data"),
            "JETON_DATABASE_URL": f"{server.rsplit('/', 1)[0]}/{database}",
            "JETON_MASTER_KEY_FILE": str(master_key),
        }
    finally:
        psql(f"DROP DATABASE {database} WITH (FORCE)")


# --- one server ---------------------------------------------------------------------------------------


class Server:
    """A `jeton serve` that can be stopped, killed and started again."""

    def __init__(self, environment, log):
        # Metrics have one usual port, for which all servers of a machine would compete.
        self.environment, self.log = {"JETON_METRICS__LISTEN": "off", **environment}, log
        self.url = f"http://{environment['JETON_LISTEN']}"
        self.process = None

    def start(self):
        """Starts it, and waits until it is ready."""
        with self.log.open("ab") as output:
            command = [JETON, "serve"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise SystemExit("jeton serve does not become ready")

    def stop(self):
        """Stops it by SIGTERM, after which it must end cleanly."""
        self.process.terminate()
        if self.process.wait(timeout=30) != 0:
            raise SystemExit(f"jeton serve ended with {self.process.returncode} on SIGTERM")

    def kill(self):
        """Makes sure that it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
