"""What a platform's issuer does: it has a key, publishes it, and signs tokens. With OpenSSL alone."""

import base64
import json
import os
import secrets
import subprocess
import time
from pathlib import Path

KEY = Path(os.environ["GUIDE_DIRECTORY"]) / "platform.pem"


def jwks(**members):
    """The public key, as a set of one."""
    _make()
    modulus = _openssl("rsa", "-in", KEY, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
    key = {"kty": "RSA", "kid": "platform-1", "n": _b64(bytes.fromhex(modulus)), "e": "AQAB", **members}
    return {"keys": [key]}


def token(lifetime=600, **claims):
    """A token with these claims, signed with RS256."""
    _make()
    now = int(time.time())
    said = {"iat": now, "exp": now + lifetime, **claims}
    parts = [{"alg": "RS256", "kid": "platform-1", "typ": "JWT"}, said]
    text = ".".join(_b64(json.dumps(part).encode()) for part in parts)
    signature = _openssl("dgst", "-sha256", "-sign", KEY, input=text.encode())
    return f"{text}.{_b64(signature)}"


def new_id():
    return secrets.token_hex(16)


def _make():
    if not KEY.exists():
        _openssl("genrsa", "-out", KEY, "2048")


def _openssl(*arguments, input=None):
    return subprocess.run(["openssl", *arguments], input=input, capture_output=True, check=True).stdout


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
