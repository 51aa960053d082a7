"""How schemathesis authenticates: with an administrator's token at the API, as a client elsewhere.

What it tries may remove the administrator, its roles or the key that signed its token; then another one is made
through the command line, beside the running server.
"""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

import schemathesis

from jeton import jeton

ENVIRONMENT = json.loads(os.environ["JETON_TEST_ENVIRONMENT"])
ISSUER = ENVIRONMENT["JETON_ISSUER"]


class Administrator:
    """A client with the role `administrator`, as long as there is one."""

    def __init__(self):
        self.credentials = None

    def basic(self):
        if self.credentials is None:
            name = f"administrator-{time.time_ns()}"
            made = jeton(ENVIRONMENT, "clients", "create", name, "--role", "administrator")
            # A running server follows within a second.
            time.sleep(1)
            self.credentials = name, made["secret"]["client_secret"]
        return base64.b64encode(":".join(self.credentials).encode()).decode()

    def token(self):
        for _ in range(3):
            form = {"grant_type": "client_credentials", "resource": f"{ISSUER}/api/v1"}
            request = urllib.request.Request(f"{ISSUER}/oauth2/token", urllib.parse.urlencode(form).encode())
            request.add_header("Authorization", f"Basic {self.basic()}")
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    token = json.load(answer)["access_token"]
                probe = urllib.request.Request(f"{ISSUER}/api/v1/signing-keys")
                probe.add_header("Authorization", f"Bearer {token}")
                with urllib.request.urlopen(probe, timeout=10):
                    return token
            except urllib.error.HTTPError as error:
                if error.code >= 500:
                    raise
                self.credentials = None
        raise SystemExit("no administrator gets a token")


ADMINISTRATOR = Administrator()


# Asked again soon, because the token may have been revoked.
@schemathesis.auth(refresh_interval=2).apply_to(path_regex="^/api/v1/")
class Token:
    def get(self, case, context):
        return ADMINISTRATOR.token()

    def set(self, case, token, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


@schemathesis.auth(refresh_interval=2).apply_to(path_regex="^/oauth2/")
class Client:
    def get(self, case, context):
        # A token proves that the client is still there.
        ADMINISTRATOR.token()
        return ADMINISTRATOR.basic()

    def set(self, case, credentials, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Basic {credentials}"}
