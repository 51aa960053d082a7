"""A PostgreSQL that archives, and is run by the commands of docs/backup.md as they are printed."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from jeton import JETON, free_port

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "guides"))

from pages import Page  # noqa: E402

PAGE = Page.read(ROOT / "docs" / "backup.md", ROOT)


class Cluster:
    """One database for Jeton, in a cluster with the settings that the page prints."""

    def __init__(self, directory):
        self.directory, self.log, self.port = directory, directory / "postgresql.log", free_port()
        self.data, self.replaced = directory / "pgdata", directory / "pgdata.before"
        self.password = os.urandom(16).hex()
        programs, *places = directory / "bin", directory / "archive", directory / "backups"
        for made in programs, *places:
            made.mkdir()
        (programs / "jeton").symlink_to(JETON)
        self.path = f"{programs}:{os.environ['PATH']}"
        self.owner = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self.owner = ["runuser", "-u", "postgres", "--", "env", f"PATH={self.path}"]
            for path in directory, *directory.parents[:2]:
                path.chmod(0o755)
            for path in directory, *places:
                shutil.chown(path, "postgres")

    def start(self):
        # Whoever owns the cluster comes in by the socket without a password, as on Debian.
        self.run("initdb --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync")
        settings = f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.directory}'\n"
        # A recovery lasts a while, as that of a long log does: PostgreSQL can be read long before it can be written.
        settings += "recovery_min_apply_delay = 8s\n"
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(settings + self.printed("archive_command") + "\n")
        self.run("pg_ctl start")
        self.run(f"psql --dbname postgres --command \"CREATE ROLE jeton LOGIN PASSWORD '{self.password}'\"")
        self.run("createdb --owner=jeton jeton")

    def url(self, port):
        return f"postgres://jeton:{self.password}@127.0.0.1:{port}/jeton?sslmode=disable"

    def printed(self, word, target=None):
        """The page's block that has this word, with places of this machine, and this moment to go back to."""
        [block] = [block for block in PAGE.blocks if any(word in line for line in block.lines)]
        text = "\n".join(block.lines)
        for place in "/archive", "/backups":
            text = text.replace(f"{place}/", f"{self.directory}{place}/")
        if target:
            text = re.sub(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d", rf"{target:%Y-%m-%d}\g<1>{target:%H:%M:%S}", text)
        return text

    def run(self, commands):
        """Runs commands as the owner of the cluster."""
        environment = {"PATH": self.path, "PGDATA": self.data, "PGHOST": self.directory, "PGPORT": str(self.port)}
        # Into a file, for a server that is started keeps it open.
        with self.log.open("ab") as log:
            subprocess.run(
                [*self.owner, "bash", "-euo", "pipefail", "-c", commands], env=environment, cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=60,
            )  # fmt: skip

    @contextmanager
    def as_it_was(self):
        """The address of the database that was replaced, which is started for a while."""
        port = free_port()
        self.run(f"pg_ctl start --pgdata {self.replaced} --options '-p {port} -c archive_mode=off'")
        yield self.url(port)
        self.run(f"pg_ctl stop --pgdata {self.replaced}")

    def kill(self):
        """Ends whatever runs of it."""
        for data in self.data, self.replaced:
            if (data / "postmaster.pid").exists():
                self.run(f"pg_ctl stop --mode=immediate --pgdata {data} || true")
