"""What goes wrong. Each fault is a context: entering it makes it happen, leaving it puts right what an operator would
put right, and nothing of Jeton's."""

import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path


# How long a change may take to hold everywhere: Jeton promises a second, and asking all replicas takes a while.
A_SECOND = 1.2

# How long a transaction may stay that nobody goes on with: PostgreSQL is told to end it after ten seconds.
IDLE_TRANSACTIONS = 12


# How many connections of a replica there may be.
POOL = 8

# How many ends of connections that lead nowhere there may be for each: both of one that was there when everything was lost,
# and Jeton's of another that is being made in its place. More are not given up.
ENDS = 3


class Stage:
    """Everything that a fault may touch, and what it notes down."""

    def __init__(self, postgres, proxy, background, replicas, load):
        self.postgres, self.proxy, self.background = postgres, proxy, background
        self.replicas, self.load = replicas, load
        self.lifted, self.notes, self.broken = None, [], []
        # Whether it takes away what was durable, so that the audit must say so.
        self.loses = False
        # Whether it takes a replica away, so that some requests find nobody.
        self.takes_away = False

    def change(self, mode):
        self.background.run(self.proxy.change(mode))

    def move(self, target, reset=True):
        self.background.run(self.proxy.move(target, reset))

    def lift(self):
        """Says that from now on nothing is wrong any more, where that is not when the context is left."""
        self.lifted = time.monotonic()


# --- PostgreSQL itself -------------------------------------------------------------------------------------


@contextmanager
def killed(stage):
    stage.postgres.kill()
    yield
    stage.postgres.start()


@contextmanager
def stopped(stage):
    stage.postgres.stop()
    yield
    stage.postgres.start()


@contextmanager
def restarted(stage):
    """Stopped and started at once: what an upgrade of a package does."""
    stage.postgres.stop()
    stage.postgres.start()
    stage.lift()
    yield


@contextmanager
def hung(stage):
    frozen = stage.postgres.freeze()
    try:
        yield
    finally:
        stage.postgres.thaw(frozen)


@contextmanager
def without_connections(stage):
    """Somebody else has all the connections, and Jeton has lost its own."""
    taken, over = [], threading.Event()
    theirs = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'jeton'"

    def take():
        while not over.is_set():
            # There may be no room for a superuser either, for a moment.
            with suppress(RuntimeError):
                stage.postgres.psql(theirs)
            while not over.is_set() and (session := stage.postgres.session()):
                taken.append(session)
            over.wait(0.02)

    taking = threading.Thread(target=take)
    taking.start()
    yield
    over.set()
    taking.join()
    stage.notes.append(f"{len(taken)} connections taken")
    for session in taken:
        session.close()


@contextmanager
def full_disk(stage, folder):
    """Where tables (`data`) or the log of writes (`wal`) are, nothing more fits."""
    ballast = fill(stage.postgres.directory / folder)
    if folder == "wal":
        # Otherwise what was allocated before lasts for longer than the fault.
        with suppress(RuntimeError, subprocess.TimeoutExpired):
            for _ in range(20):
                stage.postgres.psql("SELECT pg_switch_wal(), pg_logical_emit_message(false, 'fill', 'x')")
    yield
    ballast.unlink()
    # Without room for its log PostgreSQL ends, and whoever watches over it starts it again.
    if not stage.postgres.processes():
        stage.notes.append("PostgreSQL had ended")
        stage.postgres.start()
    stage.postgres.wait()


def fill(folder):
    """A file that takes all the room that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        size = shutil.disk_usage(folder).free
        length = 0
        while size >= 4096:
            try:
                os.posix_fallocate(file.fileno(), length, size)
                length += size
            except OSError:
                size //= 2
    return ballast


# --- the network, and the address -------------------------------------------------------------------------


@contextmanager
def network(stage, mode):
    stage.change(mode)
    yield
    stage.change("through")


@contextmanager
def lost_while_idle(stage):
    """Connections that were dropped by something in between, which tells nobody: the network is back at once, and what was
    open before stays silent."""
    stage.change("silent")
    yield
    stage.background.call(stage.proxy.reset)
    stage.change("through")


def register_until(register, over):
    """Registers roles until one is not answered well, or it is over."""
    number = 0
    with suppress(OSError):
        while not over.is_set():
            register(f"lost-{number}")
            number += 1


@contextmanager
def lost(stage):
    """Everything on the way is discarded. What was open stays open for both sides, and leads nowhere also when the network
    is back: PostgreSQL is not told that nobody goes on with a transaction, and has to end it by itself. The ledger's
    batches are mostly statements of their own, so somebody registers things, which takes transactions."""
    register, over = stage.replicas.administration(0), threading.Event()
    registering = threading.Thread(target=register_until, args=(register, over))
    registering.start()
    stage.change("lost")
    time.sleep(1.5)
    left = idle_transactions(stage.postgres)
    stage.notes.append(f"{len(left)} transactions left idle: {'; '.join(left)}")
    if not left:
        stage.broken.append("no transaction was left idle, so this showed less than it should")
    yield
    over.set()
    registering.join()
    nowhere, most = stage.proxy.half_open(), ENDS * POOL * len(stage.replicas.servers)
    stage.notes.append(f"{nowhere} ends of connections lead nowhere")
    if not 0 < nowhere <= most:
        stage.broken.append(f"{nowhere} ends of connections lead nowhere, and 1 to {most} can")
    stage.change("through")
    stage.lift()
    deadline = time.monotonic() + IDLE_TRANSACTIONS
    while left := idle_transactions(stage.postgres):
        if time.monotonic() > deadline:
            stage.broken.append(f"after {IDLE_TRANSACTIONS} s transactions are idle: {left}")
            break
        time.sleep(0.1)


def idle_transactions(postgres):
    """What sessions of Jeton's hold that have begun a transaction, and for a second gone on with it no more."""
    return postgres.psql(
        "SELECT s.pid || ' ' || s.state || ', ' || count(l.pid) || ' locks, since ' || s.state_change"
        " FROM pg_stat_activity s LEFT JOIN pg_locks l ON l.pid = s.pid"
        " WHERE s.application_name = 'jeton' AND s.state LIKE 'idle in transaction%'"
        " AND s.state_change < clock_timestamp() - interval '1 second' GROUP BY s.pid, s.state, s.state_change")


@contextmanager
def deaf(stage):
    """No notification arrives. A secret is revoked meanwhile, and must be refused everywhere within a second."""
    swallowed = stage.proxy.swallowed
    stage.change("deaf")
    time.sleep(1)
    yield
    longest = max(changed_everywhere(stage) for _ in range(3))
    stage.notes.append(f"a change held everywhere within {longest * 1000:.0f} ms")
    if longest > A_SECOND:
        stage.broken.append(f"a change took {longest:.2f} s to hold everywhere")
    if stage.proxy.swallowed == swallowed:
        stage.broken.append("no notification was blocked, so this showed nothing")
    stage.change("through")


def changed_everywhere(stage):
    """How long it took until no replica took a secret that was revoked."""
    replicas = stage.replicas
    added = replicas.command("clients", "secret", "add", "operator")
    operator = type(stage.load.operator)("operator", secret=added["client_secret"])
    deadline = time.monotonic() + 5
    for replica in range(len(replicas.servers)):
        while not accepts(replicas, replica, operator):
            if time.monotonic() > deadline:
                return 5.0
            time.sleep(0.02)
    replicas.command("clients", "secret", "revoke", "operator", added["secret_id"])
    revoked = time.monotonic()
    for replica in range(len(replicas.servers)):
        while accepts(replicas, replica, operator):
            if time.monotonic() > revoked + 5:
                return 5.0
            time.sleep(0.02)
    return time.monotonic() - revoked


def accepts(replicas, replica, client):
    try:
        replicas.token(replica, client)
    except OSError:
        return False
    return True


@contextmanager
def promoted(stage, seconds, standby=None):
    """The primary dies. The address moves to its standby at once, which is promoted only later."""
    standby = standby or with_standby(stage)
    stage.postgres.kill()
    stage.move(standby.port)
    time.sleep(seconds / 2)
    standby.promote()
    stage.postgres = standby
    stage.lift()
    direct(stage)
    yield


@contextmanager
def promoted_too_early(stage, seconds):
    """The same with a standby that has not heard of the last seconds: what asynchronous replication may lose."""
    standby = with_standby(stage)
    stage.postgres.psql("ALTER SYSTEM RESET synchronous_standby_names")
    stage.postgres.psql("SELECT pg_reload_conf()")
    standby.psql("ALTER SYSTEM SET primary_conninfo = ''")
    standby.psql("SELECT pg_reload_conf()")
    time.sleep(seconds)
    stage.loses = True
    with promoted(stage, seconds, standby):
        yield


@contextmanager
def led_to_standby(stage):
    """The address leads to the standby for a while, and back; connections that were made meanwhile stay open there."""
    standby = with_standby(stage)
    stage.move(standby.port)
    yield
    stage.move(stage.postgres.port, reset=False)
    stage.lift()
    stage.standby = standby


def with_standby(stage):
    """A standby that has everything that is committed, because the primary waits for it."""
    standby = getattr(stage, "standby", None)
    if standby is None:
        standby = stage.standby = stage.postgres.standby(stage.replicas.directory / f"standby-{time.monotonic_ns()}")
    primary = stage.postgres
    primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.psql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 30
    while primary.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != ["1"]:
        if time.monotonic() > deadline:
            raise SystemExit("the standby does not follow")
        time.sleep(0.1)
    time.sleep(1)
    return standby


def direct(stage):
    """Commands go to the primary that there is now."""
    stage.replicas.commands["JETON_DATABASE_URL"] = stage.postgres.url()


# --- replicas ---------------------------------------------------------------------------------------------


@contextmanager
def replica_killed(stage):
    stage.takes_away = True
    server = stage.replicas.servers[1]
    server.kill()
    yield
    stage.lift()
    server.start()
    stage.notes.append(f"ready {(time.monotonic() - stage.lifted) * 1000:.0f} ms after its start")


@contextmanager
def replica_stopped(stage):
    stage.takes_away = True
    server = stage.replicas.servers[2]
    asked = time.monotonic()
    server.stop()
    stage.notes.append(f"stopped after {(time.monotonic() - asked) * 1000:.0f} ms")
    yield
    stage.lift()
    server.start()


# --- file systems of a size --------------------------------------------------------------------------------


@contextmanager
def small_disk(folder, megabytes):
    """A folder with so much room and no more."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "jeton-chaos", folder]
    if subprocess.run(mounted, check=False).returncode != 0:
        raise SystemExit("a file system that can be filled takes mount: run this as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def sqlite_full(stage):
    ballast = fill(stage.disk)
    yield
    ballast.unlink()
