"""The two ways in which certificates of clients reach Jeton, with the same clients registered."""

import json
import os
import subprocess
import time
from pathlib import Path

import requests

from jeton import Server, free_port, jeton
from pki import Certificate

NGINX = Path("/usr/sbin/nginx")

# The most lines of base64 in a certificate that nginx hands on: more than one with a key of 4096 bits has.
LINES = 48

REGISTRATIONS = [
    ["resource-servers", "create", "orders", "--identifier", "https://orders.example"]
    + ["--permission", "orders:read=Read orders"],
    ["roles", "create", "order-reader", "--permission", "orders/orders:read"],
    ["clients", "create", "issued", "--no-secret", "--role", "order-reader", "--auth-method", "tls_client_auth"]
    + ["--certificate-subject", r"subject_dn=CN=issued, O=Example\, Inc."],
    ["clients", "create", "own", "--no-secret", "--role", "order-reader", "--role", "administrator"]
    + ["--auth-method", "self_signed_tls_client_auth"],
]


class InProcess:
    """Jeton's own listener for mutual TLS."""

    def __init__(self, directory, store):
        self.directory = directory
        self.authority = Certificate(directory, "authority", extensions=["keyUsage=critical,keyCertSign"])
        leaf, host = "basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1"
        self.host = Certificate(directory, "host", self.authority, [leaf, host])
        for_clients = [leaf, "extendedKeyUsage=clientAuth"]
        self.issued = Certificate(directory, "issued", self.authority, for_clients)
        self.other = Certificate(directory, "other", self.authority, for_clients)
        # With a long key, as appliances have it.
        self.own = Certificate(directory, "own", extensions=[leaf], key="rsa:4096")
        address = f"127.0.0.1:{free_port()}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "JETON_ISSUER": f"http://{address}",
            "JETON_LISTEN": address,
            "JETON_MTLS__CLIENT_CA": str(self.authority.pem),
            **store,
        }
        self.issuer = self.environment["JETON_ISSUER"]
        self.environment |= self.ways()
        self.server = Server(self.environment, directory / "jeton.log")

    def ways(self):
        return {
            "JETON_MTLS__LISTEN": f"127.0.0.1:{free_port()}",
            "JETON_MTLS__CERTIFICATE": str(self.host.pem),
            "JETON_MTLS__KEY": str(self.host.key),
        }

    def start(self):
        self.server.start()
        for arguments in REGISTRATIONS:
            jeton(self.environment, *arguments)
        self.secret = jeton(self.environment, "clients", "create", "by-secret", "--role", "order-reader")["secret"]
        registered = jeton(self.environment, "clients", "certificate", "add", "own", self.own.pem)
        assert registered["thumbprint"] == self.own.thumbprint
        # A running server follows within a second.
        time.sleep(1)

    def stop(self):
        self.server.stop()

    def kill(self):
        self.server.kill()

    def metadata(self):
        return requests.get(f"{self.issuer}/.well-known/oauth-authorization-server", timeout=10).json()

    @property
    def token_endpoint(self):
        """Where clients with certificates ask (RFC 8705 §5)."""
        return self.metadata()["mtls_endpoint_aliases"]["token_endpoint"]

    @property
    def api(self):
        """The API where certificates are asked for."""
        return self.token_endpoint.removesuffix("/oauth2/token") + "/api/v1"

    def curl(self, certificate, form, *more):
        """The status and the answer of a token request by curl."""
        shown = ["--cert", certificate.pem, "--key", certificate.key] if certificate else []
        command = ["curl", "--silent", "--cacert", self.authority.pem, *shown, *more, "--write-out", "\n%{http_code}"]
        command += [word for name, value in form.items() for word in ("--data-urlencode", f"{name}={value}")]
        done = subprocess.run([*command, self.token_endpoint], stdout=subprocess.PIPE, text=True, check=True, timeout=20)
        body, status = done.stdout.rsplit("\n", 1)
        return int(status), json.loads(body)

    def ask(self, certificate, form, **more):
        """The same by requests."""
        shown = certificate.pair if certificate else None
        trusted = str(self.authority.pem)
        answer = requests.post(self.token_endpoint, form, cert=shown, verify=trusted, timeout=20, **more)
        return answer.status_code, answer.json()


class BehindNginx(InProcess):
    """An nginx that asks for certificates, verifies none, and hands them on as `Client-Cert` (RFC 9440)."""

    def ways(self):
        self.port = free_port()
        return {
            "JETON_MTLS__URL": f"https://127.0.0.1:{self.port}",
            "JETON_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
            "JETON_SERVER__CLIENT_CERTIFICATE_HEADER": "client-cert",
        }

    def start(self):
        assert NGINX.exists(), "install Debian's package nginx-light"
        super().start()
        config = self.directory / "nginx.conf"
        config.write_text(self.config())
        self.process = subprocess.Popen(
            [NGINX, "-c", config, "-e", self.directory / "nginx.log"], env={"PATH": os.environ["PATH"]}
        )
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                requests.get(f"https://127.0.0.1:{self.port}/livez", verify=str(self.authority.pem), timeout=5)
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError("nginx does not become ready")

    def stop(self):
        super().stop()
        self.process.terminate()
        self.process.wait(timeout=30)

    def kill(self):
        super().kill()
        if process := getattr(self, "process", None):
            process.kill()
            process.wait()

    def config(self):
        """What docs/mutual-tls.md shows, as a whole configuration."""
        lines = "".join(rf"(?:(?<l{n}>[^-\n]+)\n)?" for n in range(LINES))
        joined = "".join(f"${{l{n}}}" for n in range(LINES))
        return f"""
daemon off;
master_process off;
pid {self.directory}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {self.directory}/body;
  proxy_temp_path {self.directory}/proxy;
  fastcgi_temp_path {self.directory}/fastcgi;
  uwsgi_temp_path {self.directory}/uwsgi;
  scgi_temp_path {self.directory}/scgi;
  map_hash_bucket_size 4096;
  # The lines of the PEM, without their ends, between two colons.
  map $ssl_client_raw_cert $client_cert {{
    default "";
    "~^-----BEGIN CERTIFICATE-----\\n{lines}-----END CERTIFICATE-----" ":{joined}:";
  }}
  server {{
    listen 127.0.0.1:{self.port} ssl;
    ssl_certificate {self.host.pem};
    ssl_certificate_key {self.host.key};
    ssl_verify_client optional_no_ca;
    location / {{
      proxy_pass http://{self.environment["JETON_LISTEN"]};
      proxy_set_header Client-Cert $client_cert;
    }}
  }}
}}
"""
