"""How clients prove themselves, for scripts/bench: one server, and the same request by each way."""

import subprocess
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from load import BODY
from servers import CLIENT_ID, REGISTRATIONS, ask, basic, serving
from stores import free_port

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEYS, CERTIFICATE = {"ES256": f"{CLIENT_ID}-by-key", "RS256": f"{CLIENT_ID}-by-rsa-key"}, f"{CLIENT_ID}-by-certificate"
ROLE = ["--kind", "service", "--role", "order-reader"]


@contextmanager
def proving(programs, directory, make_store):
    """A started server with a client of each kind, and the ways to ask it: each as a server (the address to ask at) and
    the arguments of load.wrk, but for `key`: the client whose assertions are to be made, by the third."""
    with make_store(directory) as store:
        for arguments in REGISTRATIONS:
            ask(programs, store, *arguments)
        client = ask(programs, store, "clients", "create", CLIENT_ID, *ROLE)
        pair(directory, "server")
        pair(directory, CERTIFICATE)
        pair(directory, KEYS["ES256"])
        pair(directory, KEYS["RS256"], "rsa:2048")
        mutual = free_port()
        settings = {
            "JETON_MTLS__LISTEN": f"127.0.0.1:{mutual}",
            "JETON_MTLS__CERTIFICATE": str(directory / "server.crt"),
            "JETON_MTLS__KEY": str(directory / "server.key"),
        }
        store.environment |= settings
        methods = [(key, "private_key_jwt") for key in KEYS.values()] + [(CERTIFICATE, "self_signed_tls_client_auth")]
        for client_id, method in methods:
            ask(programs, store, "clients", "create", client_id, *ROLE, "--auth-method", method, "--no-secret")
        for key in KEYS.values():
            ask(programs, store, "clients", "key", "add", key, str(directory / f"{key}.pub"))
        ask(programs, store, "clients", "certificate", "add", CERTIFICATE, str(directory / f"{CERTIFICATE}.crt"))
        authorization = basic(CLIENT_ID, client["secret"]["client_secret"])
        with serving(programs, directory, store, authorization) as server:
            by_key = BODY + "&" + urlencode({"client_assertion_type": ASSERTION_TYPE}) + "&client_assertion={token}"
            over_tls = server._replace(port=mutual)
            yield server, {
                "client_secret_basic": (server, {}),
                **{
                    f"private_key_jwt, {algorithm}": (server, {"authorizations": [""], "body": by_key, "key": key})
                    for algorithm, key in KEYS.items()
                },
                "client_secret_basic over TLS": (over_tls, {"tls": {}}),
                "client certificate": (over_tls, {
                    "authorizations": [""],
                    "body": f"{BODY}&client_id={CERTIFICATE}",
                    "tls": with_certificate(directory),
                }),
            }, lambda path, count, client_id: assertions(programs, path, count, server, directory, client_id)


def pair(directory, name, *kind):
    """A key, of P-256 if not said otherwise, and a certificate of its own."""
    key = directory / f"{name}.key"
    kind = kind or ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    command = ["openssl", "req", "-x509", "-newkey", *kind, "-nodes"]
    command += ["-subj", f"/CN={name}", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", directory / f"{name}.crt"], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", directory / f"{name}.pub"], check=True)


def assertions(programs, path, count, server, directory, client_id):
    """Writes assertions of a client that nobody has used yet, a line each."""
    script = __file__.replace("authentication.py", "assertions.mjs")
    command = [programs["node"], script, str(count), client_id, f"http://127.0.0.1:{server.port}"]
    command.append(str(directory / f"{client_id}.key"))
    with path.open("wb") as output:
        subprocess.run(command, check=True, stdout=output)


def with_certificate(directory):
    """The environment in which wrk, which has no certificates of its own, shows one."""
    library = directory / "client_certificate.so"
    source = Path(__file__).with_name("client_certificate.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    files = {"BENCH_CERTIFICATE": directory / f"{CERTIFICATE}.crt", "BENCH_KEY": directory / f"{CERTIFICATE}.key"}
    return {"LD_PRELOAD": str(library), **{name: str(file) for name, file in files.items()}}
