#!/usr/bin/env python3
"""Clients that are of no use: half of them keep a connection and ask nothing more, the others drip headers, drip
bodies, or read no answer. What the server closes is opened again, so that there are always so many.

    benches/slow_connections.py PORT COUNT

Says "open" when all are, and how it went (as JSON) when it is terminated.
"""

import json
import resource
import select
import signal
import socket
import sys
import time
from collections import deque

ADDRESSES = [f"127.0.1.{number}" for number in range(1, 17)]  # all of 127.0.0.0/8 is this machine
DRIP_SECONDS = 2
REOPENED_A_SECOND = 1_000  # so that this program is not what is measured
KINDS = ["idle", "idle", "idle", "drips headers", "drips a body", "reads nothing"]
BEGINS = {
    "idle": b"GET /livez HTTP/1.1\r\nHost: slow\r\n\r\n",
    "drips headers": b"GET /livez HTTP/1.1\r\nX-Slow: ",
    "drips a body": b"POST /oauth2/token HTTP/1.1\r\nHost: slow\r\nContent-Length: 60000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n",
    "reads nothing": b"GET /docs/openapi.yaml HTTP/1.1\r\nHost: slow\r\n\r\n" * 8,
}
IP_BIND_ADDRESS_NO_PORT = 24  # Linux; Python names it since 3.12


class Crowd:
    def __init__(self, port, count):
        self.port = port
        self.epoll = select.epoll()
        self.connections = {}  # by descriptor: the socket, its kind, its address
        self.missing = deque((KINDS[n % len(KINDS)], ADDRESSES[n % len(ADDRESSES)]) for n in range(count))
        self.dripping = deque()
        self.ended = dict.fromkeys(BEGINS, 0)

    def open_one(self):
        kind, address = self.missing.popleft()
        connection = socket.socket()
        if kind == "reads nothing":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((address, 0))
        connection.settimeout(10)
        try:
            connection.connect(("127.0.0.1", self.port))
            connection.setblocking(False)
            connection.send(BEGINS[kind])
        except OSError:
            connection.close()
            self.missing.append((kind, address))
            self.ended[kind] += 1
            return
        # Who reads nothing hears only that it is over.
        self.epoll.register(connection, select.EPOLLRDHUP | (0 if kind == "reads nothing" else select.EPOLLIN))
        self.connections[connection.fileno()] = connection, kind, address
        if kind.startswith("drips"):
            self.dripping.append((connection.fileno(), connection))

    def close(self, descriptor):
        connection, kind, address = self.connections.pop(descriptor)
        connection.close()
        self.missing.append((kind, address))
        self.ended[kind] += 1

    def hear(self, seconds):
        for descriptor, events in self.epoll.poll(seconds, 1_000):
            connection, _, _ = self.connections[descriptor]
            try:
                over = events & ~select.EPOLLIN or not connection.recv(65_536)
            except OSError:
                over = True
            if over:
                self.close(descriptor)

    def drip(self, share):
        """A byte on this share of those that drip, each in its turn: strangers do not all send at once."""
        for _ in range(int(share * len(self.dripping))):
            descriptor, connection = self.dripping.popleft()
            if self.connections.get(descriptor, (None,))[0] is not connection:
                continue
            try:
                connection.send(b"x")
                self.dripping.append((descriptor, connection))
            except OSError:
                self.close(descriptor)

    def run(self):
        last, is_open, budget, share = time.monotonic(), False, 0.0, 0.0
        while True:
            now = time.monotonic()
            passed, last = now - last, now
            budget = min(budget + passed * REOPENED_A_SECOND, REOPENED_A_SECOND / 20)
            while self.missing and budget >= 1:
                budget -= 1
                self.open_one()
            if not self.missing and not is_open:
                is_open = True
                print("open", flush=True)
            share += passed / DRIP_SECONDS
            if share * len(self.dripping) >= 1:
                self.drip(min(share, 1))
                share = 0.0
            self.hear(0.02)


def main():
    port, count = map(int, sys.argv[1:])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd(port, count)

    def end(*_):
        print(json.dumps({"open": len(crowd.connections), "ended": crowd.ended}), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    crowd.run()


if __name__ == "__main__":
    main()
