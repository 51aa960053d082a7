"""Load: tokens come from all replicas in turn, and every verifier checks every token twice."""

import heapq
import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from replicas import INVOICES, ORDERS, Away

# How many tokens are asked for a second, at most, and by how many at a time: two replicas sign at the same moment.
RATE = 40
CLIENTS = 2

# The second check is this many seconds before a token's end: its key must still be published, which has not signed
# for long. Verifiers allow a second after the end, so that is how much of a delay there is for a slow machine.
BEFORE_END = 1.5

# Nobody asks for more tokens while a verifier is this many checks behind.
BACKLOG = 50


class Checks:
    """What one verifier has to check, and what it said."""

    def __init__(self, verifier):
        self.verifier = verifier
        self.accepted = Counter()
        self.refused = []
        self._due = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, issued):
        again = issued.expires_at - BEFORE_END
        with self._changed:
            for kind, due in [("new", 0), ("old", again)]:
                heapq.heappush(self._due, (due, next(self._order), kind, issued))
            self._changed.notify()

    def close(self):
        """Nothing more is coming; what is there is still checked."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def behind(self):
        now = time.time()
        with self._changed:
            return sum(due < now for due, *_ in self._due)

    def run(self):
        while (check := self._next()) is not None:
            kind, issued = check
            if time.time() > issued.expires_at:
                # The machine was too slow; that it is refused now says nothing about keys.
                self.accepted["late"] += 1
                continue
            reason = self.verifier.check(issued.token, issued.audience, issued.algorithm)
            if reason is None:
                self.accepted[kind] += 1
            else:
                age = time.time() - issued.answered_at
                self.refused.append(f"{reason}: {issued.algorithm} by replica {issued.server}, {age:.2f} s old")

    def _next(self):
        with self._changed:
            while True:
                wait = self._due[0][0] - time.time() if self._due else None
                if wait is not None and wait <= 0:
                    _, _, kind, issued = heapq.heappop(self._due)
                    return kind, issued
                if wait is None and self._closed:
                    return None
                self._changed.wait(wait)


class Load:
    """Runs from entering it until leaving it, and until all is checked."""

    def __init__(self, replicas, verifiers):
        self.replicas = replicas
        self.checks = [Checks(verifier) for verifier in verifiers]
        self.issued = []
        self.away = Counter()
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(CLIENTS + len(verifiers))
        self._running = []

    def __enter__(self):
        self._running = [self._threads.submit(self._ask, start) for start in range(CLIENTS)]
        self._running += [self._threads.submit(checks.run) for checks in self.checks]
        return self

    def __exit__(self, *_):
        self._stop.set()
        askers, checkers = self._running[:CLIENTS], self._running[CLIENTS:]
        try:
            for asker in askers:
                asker.result()
        finally:
            for checks in self.checks:
                checks.close()
            for checker in checkers:
                checker.result()
            self._threads.shutdown()

    def rotations(self, algorithm):
        """How many times another key of this algorithm was seen to sign."""
        return max(0, len({issued.kid for issued in list(self.issued) if issued.algorithm == algorithm}) - 1)

    def wait_for(self, rotations, deadline):
        """Waits until so many rotations were seen, by the monotonic clock's `deadline`."""
        while (seen := self.rotations("ES256")) < rotations:
            for thread in self._running:
                if thread.done():
                    thread.result()
            assert time.monotonic() < deadline, f"only {seen} of {rotations} rotations in time"
            time.sleep(0.05)

    def _ask(self, start):
        servers = itertools.cycle(range(start, start + len(self.replicas.servers)))
        for audience in itertools.cycle([ORDERS, INVOICES]):
            if self._stop.wait(CLIENTS / RATE):
                return
            while not self._stop.is_set() and any(checks.behind() > BACKLOG for checks in self.checks):
                time.sleep(0.05)
            self._ask_any(servers, audience)

    def _ask_any(self, servers, audience):
        """Asks the next replica, and the one after it while one is away."""
        for server in itertools.islice(servers, 2 * len(self.replicas.servers)):
            server %= len(self.replicas.servers)
            try:
                issued = self.replicas.fetch(server, audience)
            except Away as away:
                self.away[server, str(away)] += 1
                continue
            self.issued.append(issued)
            for checks in self.checks:
                checks.put(issued)
            return
        raise AssertionError(f"no replica answers: {dict(self.away)}")
