"""How schemathesis authenticates and what it knows of the server: with an administrator's token at the API, as a client
elsewhere.

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
from schemathesis.core.parameters import ParameterLocation

from jeton import jeton

ENVIRONMENT = json.loads(os.environ["JETON_TEST_ENVIRONMENT"])
ISSUER = ENVIRONMENT["JETON_ISSUER"]


def ask(path, form=None, **headers):
    request = urllib.request.Request(f"{ISSUER}{path}", form and urllib.parse.urlencode(form).encode(), headers)
    return urllib.request.urlopen(request, timeout=10)


class Administrator:
    """A client with the role `administrator`, as long as there is one."""

    def __init__(self):
        self.credentials = None
        self.fresh = None, 0

    def basic(self):
        if self.credentials is None:
            name = f"administrator-{time.time_ns()}"
            made = jeton(ENVIRONMENT, "clients", "create", name, "--role", "administrator", "--may-rotate-own-secrets")
            # A running server follows within a second.
            time.sleep(1)
            self.credentials = name, made["secret"]["client_secret"]
        return "Basic " + base64.b64encode(":".join(self.credentials).encode()).decode()

    def token(self):
        """One that worked within the last second, because what is tried may revoke it."""
        token, since = self.fresh
        if time.monotonic() - since > 1:
            token = self.new_token()
            self.fresh = token, time.monotonic()
        return token

    def new_token(self):
        for _ in range(3):
            form = {"grant_type": "client_credentials", "resource": f"{ISSUER}/api/v1"}
            try:
                with ask("/oauth2/token", form, Authorization=self.basic()) as answer:
                    token = json.load(answer)["access_token"]
                with ask("/api/v1/signing-keys", Authorization=f"Bearer {token}"):
                    pass
                # A secret that was rotated rotates no more: then another administrator is made.
                with ask("/api/v1/clients/self/secrets", Authorization=f"Bearer {token}"):
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
        return ADMINISTRATOR.token() and ADMINISTRATOR.basic()

    def set(self, case, credentials, context):
        case.headers = {**(case.headers or {}), "Authorization": credentials}


def every_other(count=[0]):
    count[0] += 1
    return count[0] % 2 == 0


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives requests what no schema knows: an ETag in its quotes, of which schemathesis makes the number 0 where it is
    about the body, and to every other one the version that a thing has, a token that counts, one way to authenticate instead of two. What was
    generated to be wrong stays so."""
    if case.meta is None:
        return
    path, wise = case.operation.path, every_other()
    # The examples speak of a client that is there already, so one of its name cannot be registered.
    if case.method == "POST" and path == "/api/v1/clients" and isinstance(case.body, dict):
        if case.body.get("client_id") == "billing":
            case.body["client_id"] = f"billing-{time.time_ns()}"
    tag = (case.headers or {}).get("If-Match")
    unquoted = tag == "0" and case.meta.is_negative_at(ParameterLocation.BODY)
    if tag is not None and (unquoted or not case.meta.is_negative_at(ParameterLocation.HEADER)):
        case.headers["If-Match"] = (version(case) if wise else None) or '"1"'
    if not wise:
        return
    if path.startswith("/oauth2/") and isinstance(case.body, dict) and case.meta.generation.mode.is_positive:
        for credential in ("client_id", "client_secret", "client_assertion", "client_assertion_type"):
            case.body.pop(credential, None)
        if path == "/oauth2/token":
            case.body = {"grant_type": "client_credentials", "resource": f"{ISSUER}/api/v1"}
        else:
            case.body["token"] = ADMINISTRATOR.token()


def version(case):
    """The ETag of what a request is about, if that is there."""
    try:
        path = urllib.parse.quote(case.formatted_path, safe="/%")
        with ask(path, Authorization=f"Bearer {ADMINISTRATOR.token()}") as answer:
            return answer.headers["ETag"]
    except (urllib.error.HTTPError, ValueError):
        return None
