"""A PgBouncer that knows prepared statements, which Debian 12's does not: the one of Debian 13, built from its source.
Half a minute the first time, on Debian only.

PGBOUNCER_BIN names one that is there already, of version 1.21 or newer.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent

# The key with which Debian signs its releases, the next one included.
SOURCE = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n"


def pgbouncer():
    """The program; builds it when it is not there."""
    if given := os.environ.get("PGBOUNCER_BIN"):
        return Path(given).resolve()
    program = HERE / "bin" / "pgbouncer"
    if not program.exists():
        install_what_it_needs()
        with tempfile.TemporaryDirectory(prefix="jeton-pgbouncer-") as directory:
            built = build(Path(directory))
            program.parent.mkdir(exist_ok=True)
            # Last, so that an interrupted build starts over.
            shutil.copy2(built, program)
    return program


def install_what_it_needs():
    needed = {"pkg-config": "pkg-config", "make": "make", "cc": "gcc"}
    missing = [package for command, package in needed.items() if not shutil.which(command)]
    if not Path("/usr/include/event2/event.h").exists():
        missing.append("libevent-dev")
    if missing:
        subprocess.run([ROOT / "scripts/install-packages", *missing], check=True)


def build(directory):
    """Fetches the source by apt, with lists of its own: this machine's packages stay those of its release."""
    directory.chmod(0o755)
    (directory / "source.list").write_text(SOURCE)
    for folder in ("lists/partial", "cache/archives/partial"):
        (directory / folder).mkdir(parents=True)
    own = {"Dir::Etc::sourcelist": "source.list", "Dir::State::lists": "lists", "Dir::Cache": "cache"}
    options = [f"--option={name}={directory / place}" for name, place in own.items()]
    options += ["--option=Dir::Etc::sourceparts=/dev/null", "--option=APT::Sandbox::User=", "--quiet=2"]
    for command in (["update"], ["source", "--download-only", "pgbouncer"]):
        subprocess.run(["apt-get", *options, *command], cwd=directory, check=True)
    (archive,) = directory.glob("pgbouncer_*.orig.tar.gz")
    subprocess.run(["tar", "xf", archive], cwd=directory, check=True)
    (source,) = directory.glob("pgbouncer-*/")
    quiet = {"cwd": source, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    subprocess.run(["./configure", "--without-openssl", "--without-cares"], **quiet)
    subprocess.run(["make", f"--jobs={os.cpu_count()}", "pgbouncer"], **quiet)
    return source / "pgbouncer"


if __name__ == "__main__":
    print(pgbouncer())
