"""A Jeton with an API to protect, those who call it, and the tokens that they come with."""

import json
import os
import time

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from jeton import Server, free_port, jeton

# What the gateways protect. `brief` is the same API under a name whose tokens end while a test looks on.
ORDERS, BRIEF = "https://orders.example.test", "https://brief.example.test"
SHOP, INVOICES = "https://shop.example.test", "https://invoices.example.test"
LIFETIMES = {ORDERS: 300, BRIEF: 10, SHOP: 300, INVOICES: 300}

# Which role gives what. The last one's name begins as that of another.
ROLES = {
    "order-reader": ["orders/read", "brief/read"],
    "order-writer": ["orders/write"],
    "order-readers-guest": ["orders/count"],
    "shopper": ["shop/use"],
    "invoice-reader": ["invoices/read"],
}
PERMISSIONS = {ORDERS: ["read", "write", "count"], BRIEF: ["read"], SHOP: ["use"], INVOICES: ["read"]}

# `order-gateway` operates the API, and `shop-service` the shop. It may read orders for whoever shops.
CLIENTS = {
    "web": ["order-reader", "shopper", "invoice-reader"],
    "reporter": ["order-reader"],
    "leaver": ["order-reader"],
    "importer": ["order-writer"],
    "guest": ["order-readers-guest"],
    "shop-service": [],
    "order-gateway": [],
    "stranger": [],
    "admin": ["administrator"],
}
EXCHANGER = "shop-service"
OPERATORS = [("orders", "order-gateway"), ("brief", "order-gateway"), ("shop", "shop-service")]
RULE = ["exchange-rules", "create", "shop-to-orders", "--caller-client", "shop-service", "--subject-role", "shopper"]
RULE += ["--resource-server", "orders", "--permission", "orders:read"]

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class Deployment:
    """One `jeton serve` with all that registered."""

    def __init__(self, directory, store):
        self.address = f"127.0.0.1:{free_port()}"
        self.issuer = f"http://{self.address}"
        # Nothing is inherited but PATH: a developer's own JETON_ variables must not change what is tested.
        environment = {"PATH": os.environ["PATH"], "JETON_ISSUER": self.issuer, "JETON_LISTEN": self.address}
        self.environment = {**environment, **store}
        self.server = Server(self.environment, directory / "jeton.log")
        self.secrets = {}

    def start(self):
        self.server.start()
        for audience, permissions in PERMISSIONS.items():
            name = name_of(audience)
            server = ["resource-servers", "create", name, "--identifier", audience]
            server += ["--token-lifetime", str(LIFETIMES[audience])]
            for permission in permissions:
                server += ["--permission", f"{name}:{permission}"]
            self.jeton(*server)
        for role, given in ROLES.items():
            pairs = [each.split("/") for each in given]
            options = [word for name, each in pairs for word in ("--permission", f"{name}/{name}:{each}")]
            self.jeton("roles", "create", role, *options)
        for client, roles in CLIENTS.items():
            options = [word for role in roles for word in ("--role", role)]
            created = self.jeton("clients", "create", client, "--kind", "service", *options)
            self.secrets[client] = created["secret"]["client_secret"]
        for name, client in OPERATORS:
            self.jeton("resource-servers", "operators", "add", name, client)
        self.jeton(*RULE)
        # Jeton promises that a running server follows within a second.
        time.sleep(1)
        self._let_exchange(EXCHANGER)

    def jeton(self, *arguments):
        return jeton(self.environment, *arguments)

    def token(self, client, audience=ORDERS):
        return self._ask(client, "token", grant_type="client_credentials", resource=audience)["access_token"]

    def exchanged(self, caller, subject_token, audience=ORDERS):
        """The token with which this caller passes on whose token it got."""
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "resource": audience}
        form |= {"subject_token": subject_token, "subject_token_type": ACCESS_TOKEN}
        return self._ask(caller, "token", **form)["access_token"]

    def revoke(self, client, token):
        self._ask(client, "revoke", token=token)

    def _let_exchange(self, client):
        """Registers a client for the grant, which the command line cannot."""
        api = f"{self.issuer}/api/v1"
        url, caller = f"{api}/clients/{client}", {"authorization": f"Bearer {self.token('admin', api)}"}
        current = requests.get(url, headers=caller, timeout=20).headers["etag"]
        grants = {"grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]}
        answer = requests.patch(url, json=grants, headers={**caller, "if-match": current}, timeout=20)
        assert answer.status_code == 200, f"{url} answered {answer.status_code}: {answer.text}"

    def _ask(self, client, endpoint, **form):
        credentials = (client, self.secrets[client])
        answer = requests.post(f"{self.issuer}/oauth2/{endpoint}", form, auth=credentials, timeout=20)
        assert answer.status_code == 200, f"/oauth2/{endpoint} answered {answer.status_code}: {answer.text}"
        return answer.json() if answer.content else None


def name_of(audience):
    return audience.removeprefix("https://").split(".")[0]


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def forgeries(token):
    """What somebody makes of a good token who does not have the key."""
    header, payload, signature = token.split(".")
    said = claims(token)
    key = ec.generate_private_key(ec.SECP256R1())
    with_kid = {**jwt.get_unverified_header(token)}
    raised = jwt.utils.base64url_encode(json.dumps({**said, "roles": ["order-reader", "order-writer"]}).encode())
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    unsigned = jwt.encode(said, None, "none", {"typ": "at+jwt"})
    return {
        "another key": jwt.encode(said, key, "ES256", with_kid),
        "other claims": f"{header}.{raised.decode()}.{signature}",
        "another signature": f"{header}.{payload}.{flipped}",
        "no signature": unsigned,
        "no token at all": "nonsense",
    }
