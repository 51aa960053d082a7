"""Resource servers of three kinds, each with its own memory of the key set. `check` answers why a token is refused,
or None."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import jwt

from envoy_proxy import JWKS_PATH
from gateway import CACHES

INTEROP = Path(__file__).resolve().parent.parent
NODE = Path(sys.executable).parent / "node"

# How long PyJWT and jose keep the key set, in seconds: as long as Envoy.
CACHE = 1

# How much longer than its `exp` each accepts a token, in seconds: keys.verifier_leeway.
LEEWAY = 1


class Envoy:
    def __init__(self, gateway, cache):
        self.name = f"Envoy ({cache})"
        self._gateway, self._cache = gateway, cache

    def check(self, token, audience, algorithm):
        # Which audiences and algorithms there are, it knows from its configuration and the key set.
        del audience, algorithm
        status, words = self._gateway.ask(self._cache, token)
        return None if status == 200 else f"{status} {words}"

    def counted(self):
        return self._gateway.counted(self._cache)

    def stop(self):
        """Nothing of its own to stop."""


class PyJwt:
    name = "PyJWT"

    def __init__(self, issuer):
        self._issuer = issuer
        self._keys = jwt.PyJWKClient(issuer + JWKS_PATH, lifespan=CACHE)

    def check(self, token, audience, algorithm):
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            options = {"issuer": self._issuer, "audience": audience, "leeway": LEEWAY}
            jwt.decode(token, key, algorithms=[algorithm], **options)
        except jwt.PyJWTError as error:
            return f"{type(error).__name__}: {error}"
        return None

    def stop(self):
        """Nothing to stop."""


class Jose:
    """A Node process that takes one token a line and answers a line each."""

    name = "jose"

    def __init__(self, issuer):
        script = INTEROP / "node" / "verifier.mjs"
        command = [NODE, "--disable-warning=ExperimentalWarning", script, issuer, issuer + JWKS_PATH]
        command += [str(CACHE * 1000), str(LEEWAY)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._turn = threading.Lock()

    def check(self, token, audience, algorithm):
        with self._turn:
            request = {"token": token, "audience": audience, "algorithm": algorithm}
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"node ended with {self._process.wait(timeout=10)}; its words are above")
        return json.loads(answer)["refused"]

    def stop(self):
        self._process.kill()
        self._process.wait()


def all_verifiers(gateway):
    return [*(Envoy(gateway, cache) for cache in CACHES), PyJwt(gateway.issuer), Jose(gateway.issuer)]
