"""Replicas of Jeton behind the gateway, and a client that gets tokens from them."""

import base64
import http.client
import json
import os
import subprocess
import time
import urllib.parse
from dataclasses import dataclass, field

from jeton import JETON, Server, free_port, jeton

# The audiences, with what their tokens are signed with.
ORDERS, INVOICES = "https://orders.example.test", "https://invoices.example.test"


@dataclass(frozen=True)
class Issued:
    """A token, and what is known of how it came about. The times are those of this machine, as Jeton's are."""

    token: str = field(repr=False)
    audience: str
    server: int
    asked_at: float
    answered_at: float

    def _part(self, index):
        part = self.token.split(".")[index]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    @property
    def kid(self):
        return self._part(0)["kid"]

    @property
    def algorithm(self):
        return self._part(0)["alg"]

    @property
    def expires_at(self):
        return self._part(1)["exp"]


class Away(Exception):
    """A replica gave no answer: another one may."""


class Replicas:
    """Several `jeton serve` on one store, with one issuer."""

    def __init__(self, directory, count, store, issuer, settings):
        # Nothing is inherited but PATH: a developer's own JETON_ variables must not change what is tested.
        self.environment = {"PATH": os.environ["PATH"], "JETON_ISSUER": issuer, **store, **settings}
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
        self.servers = [
            Server(
                {
                    **self.environment,
                    "JETON_LISTEN": address,
                    # One server at a time has a directory of spools.
                    "JETON_OUTAGE__DIRECTORY": str(directory / f"spools-{index}"),
                },
                directory / f"jeton-{index}.log",
            )
            for index, address in enumerate(self.addresses)
        ]
        self._credentials = None

    def start(self):
        for server in self.servers:
            server.start()

    def kill(self):
        for server in self.servers:
            server.kill()

    def register(self, resource_servers, lifetime):
        """Registers these audiences, each with its algorithm, and a client that may have tokens for all of them."""
        roles = []
        for audience, algorithm in resource_servers.items():
            name = urllib.parse.urlsplit(audience).hostname.split(".")[0]
            server = ["resource-servers", "create", name, "--identifier", audience, "--permission", "use"]
            server += ["--signing-algorithm", algorithm, "--token-lifetime", str(lifetime)]
            jeton(self.environment, *server)
            jeton(self.environment, "roles", "create", f"{name}-user", "--permission", f"{name}/use")
            roles += ["--role", f"{name}-user"]
        created = jeton(self.environment, "clients", "create", "load", "--kind", "service", *roles)
        pair = f"{created['client']['client_id']}:{created['secret']['client_secret']}"
        self._credentials = base64.b64encode(pair.encode()).decode()
        # Jeton promises that a running server follows within a second.
        time.sleep(1)

    def fetch(self, server, audience):
        """A token from one of the replicas."""
        headers = {
            "authorization": f"Basic {self._credentials}",
            "content-type": "application/x-www-form-urlencoded",
        }
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "resource": audience})
        connection = http.client.HTTPConnection(self.addresses[server], timeout=20)
        try:
            asked_at = time.time()
            connection.request("POST", "/oauth2/token", form, headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{type(error).__name__}") from error
        finally:
            connection.close()
        if status == 503:
            raise Away("503 " + body.decode(errors="replace"))
        assert status == 200, f"the token endpoint answered {status}: {body.decode(errors='replace')}"
        return Issued(json.loads(body)["access_token"], audience, server, asked_at, time.time())

    def events(self):
        """Every event of the audit."""
        command = [JETON, "audit", "export"]
        exported = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True).stdout
        lines = [json.loads(line) for line in exported.splitlines()]
        # The others are the checkpoints.
        return [line["event"] for line in lines if "event" in line]
