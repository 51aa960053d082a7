"""The servers that scripts/bench measures. Each starts in an empty directory, with the one client registered."""

import http.client
import json
import os
import base64
import subprocess
import sys
import threading
import time
import uuid
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from stores import free_port, postgres, postgres_slow_disk, sqlite

PEER = Path(__file__).resolve().parent / "oidc-provider"

CLIENT_ID, SCOPE = "billing", "orders:read"
REGISTRATIONS = [
    ["resource-servers", "create", "orders", "--identifier", "https://orders.example.com"]
    + ["--permission", f"{SCOPE}=Read orders", "--signing-algorithm", "ES256"],
    ["roles", "create", "order-reader", "--permission", f"orders/{SCOPE}"],
]
CLIENT = ["clients", "create", CLIENT_ID, "--kind", "service", "--role", "order-reader"]
BUFFERED = {"JETON_AUDIT__ISSUANCE": "buffered"}
# So that every wrong secret of a flood is checked.
NO_LIMITS = {"JETON_LIMITS__FAILURES_PER_CLIENT": "off", "JETON_LIMITS__FAILURES_PER_ADDRESS": "off"}


class Server(namedtuple("Server", "process port authorization store buffered", defaults=(None, False))):
    """authorization: the header of the one client. store: Jeton's."""

    @property
    def postmaster(self):
        return self.store and self.store.postmaster


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@contextmanager
def running(command, environment, directory):
    """A started process that is stopped in the end. Nothing is inherited but PATH."""
    log = directory / "server.log"
    with log.open("wb") as output:
        environment = {"PATH": os.environ["PATH"], **environment}
        process = subprocess.Popen(command, env=environment, cwd=directory, stdout=output, stderr=output)
    try:
        yield process
        if process.poll() is not None:
            raise SystemExit(f"the server ended by itself with {process.returncode}")
    except BaseException:
        sys.stderr.write(f"--- the log of {command[0]}\n{log.read_text(errors='replace')[-4000:]}---\n")
        raise
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()


@contextmanager
def other(command, directory):
    """A server that is told the client by its environment."""
    port, secret = free_port(), f"jtn_{uuid.uuid4().hex}{uuid.uuid4().hex[:17]}"  # as long as a generated one
    environment = {"BENCH_CLIENT_ID": CLIENT_ID, "BENCH_CLIENT_SECRET": secret, "NODE_ENV": "production"}
    with running([*command, str(port)], environment, directory) as process:
        yield Server(process, port, basic(CLIENT_ID, secret))


def bare(programs, directory):
    return other([programs["bare"]], directory)


def oidc_provider(programs, directory):
    return other([programs["node"], str(PEER / "server.mjs")], directory)


# --- Jeton --------------------------------------------------------------------------------------------


@contextmanager
def jeton(programs, directory, make_store, settings={}):
    with make_store(directory) as store:
        authorization = register(programs, store)
        with serving(programs, directory, store, authorization, settings) as server:
            yield server


@contextmanager
def serving(programs, directory, store, authorization, settings={}):
    environment = {**store.environment, **settings}
    with running([programs["jeton"], "serve"], environment, directory) as process:
        yield Server(process, store.port, authorization, store, settings == BUFFERED)


def ask(programs, store, *arguments):
    command = [programs["jeton"], *arguments, "--json"]
    output = subprocess.run(command, env=store.environment, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(output)


def register(programs, store):
    """The one client, before a server starts, so that it need not notice. Answers its Authorization header."""
    for arguments in REGISTRATIONS:
        ask(programs, store, *arguments)
    return basic(CLIENT_ID, ask(programs, store, *CLIENT)["secret"]["client_secret"])


def register_more(server, programs, client_ids, chosen=None):
    """Registers clients with the same role through the REST API. Answers their secrets: generated, or this one."""
    admin = f"admin-for-{client_ids[0]}"
    created = ask(programs, server.store, "clients", "create", admin, "--role", "administrator")
    own = threading.local()

    def call(path, body, authorization, kind="application/json"):
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        own.connection.request("POST", path, body, {"Authorization": authorization, "Content-Type": kind})
        answer = own.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"{path}: {answer.status} {text.decode()}")
        return json.loads(text)

    form = urlencode({"grant_type": "client_credentials", "resource": f"http://127.0.0.1:{server.port}/api/v1"})
    authorization = basic(admin, created["secret"]["client_secret"])
    token = call("/oauth2/token", form, authorization, "application/x-www-form-urlencoded")["access_token"]

    def add(client_id):
        body = {"client_id": client_id, "kind": "service", "roles": ["order-reader"]}
        call("/api/v1/clients", json.dumps(body), f"Bearer {token}")
        body = {"secret": chosen} if chosen else {}
        added = call(f"/api/v1/clients/{client_id}/secrets", json.dumps(body), f"Bearer {token}")
        return chosen or added["client_secret"]

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(add, client_ids))


# A service that is called with the client's token, and passes the client on to another one.
PAYMENTS = [
    ["resource-servers", "create", "payments", "--identifier", "https://payments.example.com"]
    + ["--permission", "payments:read"],
    ["roles", "create", "payer", "--permission", "payments/payments:read"],
]
PASSING_ON = [
    ["exchange-rules", "create", "orders-to-payments", "--caller-client", "orders", "--subject-role", "payer"]
    + ["--resource-server", "payments", "--permission", "payments:read"],
    ["resource-servers", "operators", "add", "orders", "orders"],
]
EXCHANGE, ACCESS_TOKEN = "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:access_token"


@contextmanager
def passing_on(programs, directory, make_store):
    """What starts a server (one after the other, on one store), and what is asked of it: each as arguments of
    load.wrk, whose body is to get a token."""
    with make_store(directory) as store:
        for arguments in REGISTRATIONS + PAYMENTS:
            ask(programs, store, *arguments)
        client = ask(programs, store, *CLIENT, "--role", "payer")
        authorization = basic(CLIENT_ID, client["secret"]["client_secret"])
        service = ask(programs, store, "clients", "create", "orders", "--grant-type", "token-exchange")
        for arguments in PASSING_ON:
            ask(programs, store, *arguments)
        service = [basic("orders", service["secret"]["client_secret"])]
        exchange = urlencode({"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN}) + "&subject_token={token}"
        yield partial(serving, programs, directory, store, authorization), {
            "token exchange": {"authorizations": service, "body": exchange},
            "introspection": {"authorizations": service, "body": "token={token}", "path": "/oauth2/introspect"},
        }


def first_token(server):
    """A token of the client. Waits for the server to start."""
    body = urlencode({"grant_type": "client_credentials", "scope": SCOPE})
    headers = {"Authorization": server.authorization, "Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(600):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request("POST", "/oauth2/token", body, headers)
            return json.loads(connection.getresponse().read())["access_token"]
        except ConnectionRefusedError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise SystemExit("the server does not start")


SUBJECTS = {
    "bare": bare,
    "jeton-sqlite": partial(jeton, make_store=sqlite),
    "jeton-sqlite-buffered": partial(jeton, make_store=sqlite, settings=BUFFERED),
    "jeton-postgres": partial(jeton, make_store=postgres),
    "jeton-postgres-buffered": partial(jeton, make_store=postgres, settings=BUFFERED),
    "jeton-postgres-slow-disk": partial(jeton, make_store=postgres_slow_disk),
    "oidc-provider": oidc_provider,
}
