"""A SPIRE, and a Jeton that trusts its domain; and the logs, when a test fails."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from domain import TRUST_DOMAIN, WORKLOAD, TrustDomain
from jeton import Server, free_port, jeton, sqlite

REGISTRATIONS = [
    ["resource-servers", "create", "orders", "--identifier", "https://orders.example"]
    + ["--permission", "orders:read=Read orders"],
    ["roles", "create", "order-reader", "--permission", "orders/orders:read"],
    ["trusted-issuers", "create", "spire", "--profile", "spiffe", "--issuer", f"spiffe://{TRUST_DOMAIN}"]
    + ["--bundle-file", TRUST_DOMAIN, "--reuse", "within_life"],
    ["clients", "create", "billing", "--no-secret", "--role", "order-reader"]
    + ["--auth-method", "spiffe_jwt", "--auth-method", "spiffe_x509"],
    ["clients", "federation", "add", "billing", "--issuer", "spire", "--condition", f"sub={WORKLOAD}"],
]


@pytest.fixture(scope="session")
def directory(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("spire")
    yield path
    if request.session.testsfailed:
        for log in sorted(path.rglob("*.log")):
            print(f"--- the end of {log}\n{log.read_text(errors='replace')[-10_000:]}---", flush=True)


@pytest.fixture(scope="session")
def spire(directory):
    with tempfile.TemporaryDirectory(prefix="spire-") as sockets:
        domain = TrustDomain(directory, Path(sockets))
        try:
            domain.start()
            yield domain
        finally:
            domain.kill()


class Deployment:
    """Jeton with a listener for mutual TLS that trusts no authority but the bundle's."""

    def __init__(self, directory, store):
        self.bundle = directory / "bundles" / TRUST_DOMAIN
        self.bundle.parent.mkdir()
        self.host, key = directory / "host.pem", directory / "host.key"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        made += ["-subj", "/CN=host", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.host]
        subprocess.run(made, check=True)
        address, self.mtls = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.issuer = f"http://{address}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "JETON_ISSUER": self.issuer,
            "JETON_LISTEN": address,
            "JETON_MTLS__LISTEN": self.mtls,
            "JETON_MTLS__CERTIFICATE": str(self.host),
            "JETON_MTLS__KEY": str(key),
            "JETON_FEDERATION__BUNDLE_DIR": str(self.bundle.parent),
            **store,
        }
        self.server = Server(self.environment, directory / "jeton.log")

    def start(self):
        self.server.start()
        for arguments in REGISTRATIONS:
            jeton(self.environment, *arguments)
        # A running server follows within a second.
        time.sleep(1)


@pytest.fixture(scope="session")
def deployment(directory, spire):
    with sqlite(directory) as store:
        deployed = Deployment(directory, store)
        deployed.bundle.write_text(spire.bundle())
        try:
            deployed.start()
            yield deployed
            deployed.server.stop()
        finally:
            deployed.server.kill()
