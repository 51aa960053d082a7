"""Certificates and their keys, made by OpenSSL as files that curl and requests read."""

import base64
import hashlib
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Certificate:
    """A certificate of this name, which the authority has issued; which it has itself, where there is none."""

    def __init__(self, directory, name, authority=None, extensions=(), key="ec"):
        self.pem, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [key]
        issuer = ["-CA", authority.pem, "-CAkey", authority.key] if authority else []
        added = [word for extension in extensions for word in ("-addext", extension)]
        named = ["-subj", f"/O=Example, Inc./CN={name}", "-days", "30"]
        openssl("req", "-x509", "-newkey", *kind, "-nodes", *named, *issuer, *added, "-keyout", self.key, "-out", self.pem)

    @property
    def pair(self):
        """As requests wants it."""
        return str(self.pem), str(self.key)

    @property
    def der(self):
        lines = self.pem.read_text().split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0]
        return base64.b64decode(lines)

    @property
    def thumbprint(self):
        """x5t#S256 (RFC 8705 §3.1)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.der).digest()).rstrip(b"=").decode()
