"""Clients that ask all the time, and remember what they were answered.

Each has a connection to one replica and asks in its own rhythm, whatever the others do, so that a replica that does
not answer holds up its own clients only.
"""

import asyncio
import base64
import itertools
import json
import secrets
import time
import urllib.parse
from collections import deque
from dataclasses import dataclass

# How long a client waits for an answer: longer than Jeton may take.
PATIENCE = 25

# How long one that finds nobody waits before it tries again, in seconds.
PAUSE = 0.1

TOKEN, INTROSPECT = "/oauth2/token", "/oauth2/introspect"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request. Times are monotonic."""

    asked: float
    answered: float
    replica: int
    # `secret`, `assertion` or `introspect`
    how: str
    # 0 where nobody listened or the connection ended without an answer.
    status: int
    # The token's identifier, or what was wrong.
    words: str
    # Whether it is what Jeton may answer: a token, the truth, or "come back in so many seconds".
    right: bool


@dataclass(frozen=True)
class Client:
    """A registered client: with a secret, or with a key and the audience of its assertions."""

    client_id: str
    secret: str = ""
    key: object = None
    audience: str = ""

    def proof(self):
        """What it proves itself with: headers, and parameters."""
        if not self.key:
            pair = f"{urllib.parse.quote(self.client_id)}:{self.secret}"
            return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.audience, "jti": secrets.token_hex(16)}
        parts = [{"alg": "RS256"}, {**claims, "iat": now, "exp": now + 60}]
        signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assertion = f"{signed}.{encoded(self.key.sign(signed.encode()))}"
        return {}, {"client_assertion_type": kind, "client_assertion": assertion}


class Load:
    """`rate` requests a second in all, from each client to each replica."""

    def __init__(self, addresses, clients, operator, revoked, rate, keep=True):
        self.answers, self.probes = [], []
        # How many tokens there were; what they were is only kept for whoever compares them with the audit.
        self.keep, self.counts = keep, {}
        self._addresses, self._clients, self._rate = addresses, clients, rate
        self.operator, self._revoked = operator, revoked
        self._good = deque(maxlen=20)
        self._tasks = []

    async def start(self):
        asking = [(replica, client) for replica in range(len(self._addresses)) for client in self._clients]
        pace = (len(asking) + len(self._addresses)) / self._rate
        for place, (replica, client) in enumerate(asking):
            self._spawn(self._ask(replica, client, pace, pace * place / len(asking)))
        for replica in range(len(self._addresses)):
            if self.operator:
                self._spawn(self._introspect(replica, pace))
            self._spawn(self._probe(replica))

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    def _spawn(self, work):
        self._tasks.append(asyncio.create_task(work))

    async def _ask(self, replica, client, pace, delay):
        connection = Connection(self._addresses[replica])
        await asyncio.sleep(delay)
        async for asked in rhythm(pace):
            headers, form = client.proof()
            form["grant_type"] = "client_credentials"
            status, answered, body = await connection.post(TOKEN, headers, form)
            right, words = status == 503 and "retry-after" in answered, body[:200].decode(errors="replace")
            if status == 200:
                token = json.loads(body)["access_token"]
                right, words = True, claims(token)["jti"]
                self._good.append((time.monotonic(), token))
            self._note(asked, replica, "assertion" if client.key else "secret", status, words, right)

    async def _introspect(self, replica, pace):
        """Asks about a good token and about one that was revoked, in turn."""
        connection = Connection(self._addresses[replica])
        turns = itertools.cycle([True, False])
        async for asked in rhythm(pace):
            good = next(turns)
            # Not one of this moment: its answer may just have left.
            of = next((token for at, token in reversed(self._good) if asked - at > 1), None) if good else self._revoked
            if of is None:
                continue
            headers, _ = self.operator.proof()
            status, answered, body = await connection.post(INTROSPECT, headers, {"token": of})
            right, words = status == 503 and "retry-after" in answered, body[:200].decode(errors="replace")
            if status == 200:
                right = json.loads(body)["active"] == good
                words = "" if right else f"introspection lies: a token that is {'good' if good else 'revoked'}: {words}"
            self._note(asked, replica, "introspect", status, words, right)

    async def _probe(self, replica):
        """What a balancer sees."""
        connection = Connection(self._addresses[replica])
        async for asked in rhythm(0.2):
            status, _, body = await connection.get("/readyz", 3)
            self.probes.append((asked, time.monotonic(), replica, status, body.decode(errors="replace").strip()))

    def _note(self, asked, replica, how, status, words, right):
        key = (how, status)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.keep or not right:
            self.answers.append(Answer(asked, time.monotonic(), replica, how, status, words, right))


class Connection:
    """HTTP/1.1 on one connection, which is kept, and made anew when it has ended."""

    def __init__(self, address):
        self._host, self._port = address.split(":")
        self._reader = self._writer = None

    async def post(self, path, headers, form):
        body = urllib.parse.urlencode(form)
        head = {**headers, "content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
        return await self._request("POST", path, head, body, PATIENCE)

    async def get(self, path, patience):
        return await self._request("GET", path, {}, "", patience)

    async def _request(self, method, path, headers, body, patience):
        """Status, headers and body; 0 where there was no answer."""
        try:
            async with asyncio.timeout(patience):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection(self._host, int(self._port))
                lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                self._writer.write(("\r\n".join([*lines, "", ""]) + body).encode())
                return await self._answer()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            self._close()
            if isinstance(error, TimeoutError):
                return 0, {}, b"no answer in time"
            await asyncio.sleep(PAUSE)
            return 0, {}, f"{type(error).__name__}: {error}".encode()

    async def _answer(self):
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self._close()
        return int(head[0].split()[1]), headers, body

    def _close(self):
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def rhythm(pace):
    """The times of turns that are so many seconds apart, or later where one took longer."""
    due = time.monotonic()
    while True:
        await asyncio.sleep(max(0, due - time.monotonic()))
        now = time.monotonic()
        yield now
        due = max(due + pace, time.monotonic())


def claims(token):
    """What a token says, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
