"""How clients prove themselves, for scripts/bench: one server, and the same request by each way."""

import subprocess
import time
from contextlib import contextmanager
from urllib.parse import urlencode

from load import BODY
from servers import CLIENT_ID, REGISTRATIONS, ask, basic, running, serving
from stores import free_port

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY, CERTIFICATE = f"{CLIENT_ID}-by-key", f"{CLIENT_ID}-by-certificate"
ROLE = ["--kind", "service", "--role", "order-reader"]


@contextmanager
def proving(programs, directory, make_store):
    """A started server with three clients, and the ways to ask it: each as a server (the address to ask at) and
    the arguments of load.wrk. Assertions are to be made by `assertions`."""
    with make_store(directory) as store:
        for arguments in REGISTRATIONS:
            ask(programs, store, *arguments)
        client = ask(programs, store, "clients", "create", CLIENT_ID, *ROLE)
        pair(directory, "server")
        pair(directory, CERTIFICATE)
        key = pair(directory, KEY)
        mutual = free_port()
        settings = {
            "JETON_MTLS__LISTEN": f"127.0.0.1:{mutual}",
            "JETON_MTLS__CERTIFICATE": str(directory / "server.crt"),
            "JETON_MTLS__KEY": str(directory / "server.key"),
        }
        store.environment |= settings
        for client_id, method in ((KEY, "private_key_jwt"), (CERTIFICATE, "self_signed_tls_client_auth")):
            ask(programs, store, "clients", "create", client_id, *ROLE, "--auth-method", method, "--no-secret")
        ask(programs, store, "clients", "key", "add", KEY, str(directory / f"{KEY}.pub"))
        ask(programs, store, "clients", "certificate", "add", CERTIFICATE, str(directory / f"{CERTIFICATE}.crt"))
        authorization = basic(CLIENT_ID, client["secret"]["client_secret"])
        with serving(programs, directory, store, authorization) as server:
            with mutual_tls(directory, mutual) as port:
                by_key = BODY + "&" + urlencode({"client_assertion_type": ASSERTION_TYPE}) + "&client_assertion={token}"
                yield server, {
                    "client_secret_basic": (server, {}),
                    "private_key_jwt": (server, {"authorizations": [""], "body": by_key}),
                    "client certificate": (
                        server._replace(port=port),
                        {"authorizations": [""], "body": f"{BODY}&client_id={CERTIFICATE}"},
                    ),
                }, lambda path, count: assertions(programs, path, count, server, key)


def pair(directory, name):
    """A key and a certificate of its own. Answers where the key is."""
    key = directory / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", f"/CN={name}", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", directory / f"{name}.crt"], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", directory / f"{name}.pub"], check=True)
    return key


def assertions(programs, path, count, server, key):
    """Writes assertions that nobody has used yet, a line each."""
    script = __file__.replace("authentication.py", "assertions.mjs")
    command = [programs["node"], script, str(count), KEY, f"http://127.0.0.1:{server.port}", str(key)]
    with path.open("wb") as output:
        subprocess.run(command, check=True, stdout=output)


@contextmanager
def mutual_tls(directory, to):
    """wrk has no certificates of its own: stunnel makes one TLS connection of each of wrk's, and what it needs for
    that is not the server's time. Answers the port to ask at."""
    port = free_port()
    config = directory / "stunnel.conf"
    config.write_text(
        f"foreground = yes\npid =\n[jeton]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{to}\n"
        f"cert = {directory / CERTIFICATE}.crt\nkey = {directory / CERTIFICATE}.key\n"
    )
    place = directory / "stunnel"
    place.mkdir()
    with running(["stunnel", str(config)], {}, place):
        time.sleep(1)
        yield port
