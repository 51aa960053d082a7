"""Workloads that prove themselves by a token of their platform, for scripts/bench: one issuer, many credentials."""

import http.client
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from authentication import ASSERTION_TYPE, pair
from load import BODY, check_answer
from servers import ask, basic, register, serving

ISSUER, NAME = "https://token.actions.example.com", "ci"


@contextmanager
def federated(programs, directory, make_store, count):
    """A started server with a trusted issuer and so many clients, each found by one repository of it. Answers it, what
    is asked of it as arguments of load.wrk, and what makes the tokens for that."""
    with make_store(directory) as store:
        authorization = register(programs, store)
        pair(directory, NAME)
        key = directory / f"{NAME}.key"
        keys = directory / "jwks.json"
        script = str(Path(__file__).with_name("federation.mjs"))
        keys.write_bytes(subprocess.run([programs["node"], script, "keys", str(key)], check=True,
                                        stdout=subprocess.PIPE).stdout)
        ask(programs, store, "trusted-issuers", "create", NAME, "--issuer", ISSUER, "--jwks", str(keys))
        admin = ask(programs, store, "clients", "create", "bench-admin", "--role", "administrator")
        with serving(programs, directory, store, authorization) as server:
            check_answer(server)
            register_workloads(server, basic("bench-admin", admin["secret"]["client_secret"]), count)
            body = BODY + "&" + urlencode({"client_assertion_type": ASSERTION_TYPE}) + "&client_assertion={token}"

            def write_tokens(path, tokens):
                issuer = f"http://127.0.0.1:{server.port}"
                command = [programs["node"], script, "tokens", str(key), ISSUER, issuer, str(tokens), str(count)]
                with path.open("wb") as output:
                    subprocess.run(command, check=True, stdout=output)

            yield server, {"authorizations": [""], "body": body}, write_tokens


def register_workloads(server, authorization, count):
    """Clients that nothing but a token of the issuer proves, registered by the REST API."""
    own = threading.local()

    def call(path, body, authorization, kind="application/json"):
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        own.connection.request("POST", path, body, {"Authorization": authorization, "Content-Type": kind})
        answer = own.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"{path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def token():
        form = urlencode({"grant_type": "client_credentials", "resource": f"http://127.0.0.1:{server.port}/api/v1"})
        return call("/oauth2/token", form, authorization, "application/x-www-form-urlencoded")["access_token"]

    def add(number):
        client_id = f"job-{number:07}"
        body = {"client_id": client_id, "kind": "job", "roles": ["order-reader"], "auth_methods": ["federated_jwt"]}
        call("/api/v1/clients", json.dumps(body), bearer)
        conditions = [{"claim": "sub", "value": f"repo:acme/app-{number:07}:ref:refs/heads/main"}]
        body = {"trusted_issuer": NAME, "conditions": conditions}
        call(f"/api/v1/clients/{client_id}/federated-credentials", json.dumps(body), bearer)

    with ThreadPoolExecutor(16) as pool:
        for first in range(0, count, 5_000):  # a token lives for five minutes
            bearer = f"Bearer {token()}"
            list(pool.map(add, range(first, min(count, first + 5_000))))
