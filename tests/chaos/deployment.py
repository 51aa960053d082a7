"""Replicas of Jeton, what is registered with them, and what their audit says."""

import asyncio
import base64
import json
import os
import subprocess
import threading
import time
import urllib.request

from jeton import JETON, Server, free_port, jeton
from clients import Client, Load, claims
from rsa import Key

AUDIENCE = "https://orders.example.test"
SECRETS, SIGNERS = 3, 1


class Background:
    """An event loop on a thread of its own, on which everything runs that must not wait for the faults."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work):
        """Waits for what it answers."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def call(self, function, *arguments):
        self._loop.call_soon_threadsafe(function, *arguments)


class Replicas:
    """Several `jeton serve` on one store. `direct` is where commands find it, past whatever stands between."""

    def __init__(self, directory, count, store, direct, settings):
        self.directory = directory
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
        # Nothing is inherited but PATH: a developer's own JETON_ variables must not change what is tested.
        common = {"PATH": os.environ["PATH"], "JETON_ISSUER": f"http://{addresses[0]}", **settings}
        if "JETON_DATABASE_URL" in store:
            master_key = directory / "master.key"
            master_key.write_bytes(base64.b64encode(os.urandom(32)))
            master_key.chmod(0o600)
            common["JETON_MASTER_KEY_FILE"] = str(master_key)
        self.issuer, self.addresses = common["JETON_ISSUER"], addresses
        self.commands = {**common, "JETON_DATA_DIR": str(directory / "commands"), **direct}
        self.servers = []
        for number, address in enumerate(addresses):
            own = {"JETON_LISTEN": address, "JETON_DATA_DIR": str(directory / f"replica-{number}"), **store}
            self.servers.append(Server({**common, **own}, directory / f"replica-{number}.log"))

    def start(self):
        for server in self.servers:
            server.start()

    def kill(self):
        for server in self.servers:
            server.kill()

    def stop(self):
        for server in self.servers:
            server.stop()

    def load(self, rate, keep=True):
        """Registers clients and a token that is revoked, and answers the load that they make."""
        server = ["resource-servers", "create", "orders", "--identifier", AUDIENCE, "--permission", "use"]
        self.command(*server)
        self.command("roles", "create", "user", "--permission", "orders/use")
        clients = [self._with_secret(f"secret-{number}") for number in range(SECRETS)]
        for number in range(SIGNERS):
            clients.append(self._with_key(f"signer-{number}"))
        operator = self._with_secret("operator")
        self.command("resource-servers", "operators", "add", "orders", "operator")
        # Jeton promises that a running server follows within a second.
        time.sleep(1)
        revoked = self.token(0, clients[0])
        self.command("tokens", "revoke", "--jti", claims(revoked)["jti"])
        time.sleep(1)
        return Load(self.addresses, clients, operator, revoked, rate, keep)

    def _with_secret(self, client_id):
        made = self.command("clients", "create", client_id, "--role", "user")
        return Client(client_id, secret=made["secret"]["client_secret"])

    def _with_key(self, client_id):
        private, public = self.directory / f"{client_id}.pem", self.directory / f"{client_id}.pub.pem"
        key = Key(private)
        subprocess.run(["openssl", "rsa", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
        self.command("clients", "create", client_id, "--role", "user", "--no-secret", "--auth-method", "private_key_jwt")
        self.command("clients", "key", "add", client_id, str(public))
        return Client(client_id, key=key, audience=self.issuer)

    def command(self, *arguments):
        return jeton(self.commands, *arguments)

    def token(self, replica, client):
        """A token from one of them, which must be there."""
        headers, _ = client.proof()
        request = urllib.request.Request(
            f"http://{self.addresses[replica]}/oauth2/token", b"grant_type=client_credentials", headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["access_token"]

    def administration(self, replica):
        """Registers somebody who may register roles, and answers what registers one at a replica."""
        made = self.command("clients", "create", "registrar", "--role", "administrator")
        headers, _ = Client("registrar", secret=made["secret"]["client_secret"]).proof()
        base = f"http://{self.addresses[replica]}"
        form = f"grant_type=client_credentials&resource={self.issuer}/api/v1".encode()
        with urllib.request.urlopen(urllib.request.Request(f"{base}/oauth2/token", form, headers), timeout=20) as answer:
            token = json.load(answer)["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

        def register(role):
            body = json.dumps({"name": role}).encode()
            urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/roles", body, headers), timeout=20).close()

        return register

    def findings(self):
        """What `jeton audit verify` finds; nothing when the chains are whole."""
        checked = subprocess.run([JETON, "audit", "verify", "--json"], env=self.commands, capture_output=True, text=True)
        if checked.returncode == 0:
            return []
        try:
            return json.loads(checked.stdout)["findings"]
        except (ValueError, KeyError):
            return [checked.stderr.strip()]

    def recorded(self, since):
        """The identifiers of all tokens that the audit knows and that were recorded from this time on."""
        command = [JETON, "audit", "export", "--from", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))]
        exported = subprocess.run(command, env=self.commands, stdout=subprocess.PIPE, check=True).stdout
        events = (json.loads(line).get("event", {}) for line in exported.splitlines())
        return {event["jti"] for event in events if event.get("kind") == "token_issued"}

    def resources(self, number):
        """Memory in KiB, descriptors and threads of a replica."""
        process = self.servers[number].process.pid
        with open(f"/proc/{process}/status") as status:
            lines = dict(line.split(":", 1) for line in status if ":" in line)
        return {
            "RSS KiB": int(lines["VmRSS"].split()[0]),
            "descriptors": len(os.listdir(f"/proc/{process}/fd")),
            "threads": int(lines["Threads"]),
        }
