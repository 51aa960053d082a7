"""Back to a moment before every client was removed, by the commands of docs/backup.md, and what the page says of the
time that is lost."""

import json
import os
import subprocess
import time
import uuid
from base64 import b64encode
from datetime import datetime, timedelta, timezone

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from cluster import Cluster
from jeton import JETON, Server, free_port, jeton

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Walk:
    """A Jeton on that PostgreSQL, what it answered before it went back, and how it is asked."""

    def __init__(self, directory, cluster):
        self.directory, self.cluster = directory, cluster
        address = f"127.0.0.1:{free_port()}"
        self.issuer = f"http://{address}"
        self.old_key, self.new_key = directory / "old.key", directory / "new.key"
        for path in self.old_key, self.new_key:
            path.write_bytes(b64encode(os.urandom(32)))
            path.chmod(0o600)
        # Nothing is inherited: a developer's own JETON_ variables must not change what is tested.
        self.keyless = {"PATH": cluster.path, "JETON_ISSUER": self.issuer, "JETON_LISTEN": address}
        self.keyless |= {"JETON_DATABASE_URL": cluster.url(cluster.port), "JETON_DATA_DIR": str(directory / "data")}
        self.keyless["JETON_METRICS__LISTEN"] = "off"
        self.environment = self.under(self.old_key)
        self.server = Server(self.environment, directory / "jeton.log")
        self.key, self.secrets = ec.generate_private_key(ec.SECP256R1()), {}

    def there_and_back(self):
        self.server.start()
        self.register("admin", "administrator")
        self.register_signer()
        self.cluster.run(self.cluster.printed("pg_basebackup"))
        # What follows is in the archive only.
        self.register("late", "auditor")
        # Jeton promises that a running server follows within a second.
        time.sleep(1)
        self.kept = [self.token("admin"), self.token("late")]
        self.nonce = self.prove().headers["DPoP-Nonce"]
        self.link = jeton(self.environment, "admin", "create", "ada", "--role", "administrator")["link"]
        # The page has whole seconds.
        self.target = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=1)
        time.sleep((self.target - datetime.now(timezone.utc)).total_seconds() + 0.01)

        self.lost, self.assertion = self.token("late"), self.sign()
        assert self.used_up() == (200, 200, 200), "which is why they must not count later"
        self.remove_every_client()
        self.server.stop()
        both = self.under(self.new_key) | {"JETON_OTHER_MASTER_KEY_FILES": str(self.old_key)}
        self.changed = jeton(both, "keys", "rewrap")
        self.checkpoints = [line for line in self.export() if "checkpoint" in line]

        self.cluster.run(self.cluster.printed("recovery_target_time", self.target))
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.cluster.printed("Z --keep-keys", self.target)],
            env=self.environment, cwd=self.directory, check=True,
        )  # fmt: skip
        self.server.start()
        self.fresh = self.ask_signed(self.sign())

    def under(self, master_key):
        return self.keyless | {"JETON_MASTER_KEY_FILE": str(master_key)}

    def register(self, client, role):
        made = jeton(self.environment, "clients", "create", client, "--role", role)
        self.secrets[client] = made["secret"]["client_secret"]

    def register_signer(self):
        """A client that proves itself by assertions."""
        create = ["clients", "create", "signer", "--no-secret", "--auth-method", "private_key_jwt"]
        jeton(self.environment, *create, "--role", "auditor")
        public = self.directory / "signer.pem"
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(self.key.public_key().public_bytes(serialization.Encoding.PEM, form))
        jeton(self.environment, "clients", "key", "add", "signer", str(public))

    def ask(self, client=None, headers=None, **form):
        form = {"grant_type": "client_credentials", "resource": f"{self.issuer}/api/v1", **form}
        credentials = (client, self.secrets[client]) if client else None
        return requests.post(f"{self.issuer}/oauth2/token", form, auth=credentials, headers=headers, timeout=20)

    def token(self, client):
        answer = self.ask(client)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def sign(self, ahead=0):
        """An assertion, by a clock that is so many seconds ahead."""
        made = int(time.time()) + ahead
        claims = {"iss": "signer", "sub": "signer", "aud": self.issuer, "iat": made, "exp": made + 120}
        return jwt.encode(claims | {"jti": str(uuid.uuid4())}, self.key, algorithm="ES256")

    def ask_signed(self, assertion):
        return self.ask(client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)

    def prove(self, nonce=None):
        """Asks for a token that is bound by DPoP."""
        claims = {"htm": "POST", "htu": f"{self.issuer}/oauth2/token", "iat": int(time.time())}
        claims |= {"jti": str(uuid.uuid4())} | ({"nonce": nonce} if nonce else {})
        header = {"typ": "dpop+jwt", "jwk": ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)}
        return self.ask("admin", {"DPoP": jwt.encode(claims, self.key, algorithm="ES256", headers=header)})

    def used_up(self):
        """What comes of the assertion, the nonce and the link from before."""
        link = requests.get(self.link, timeout=20)
        return self.ask_signed(self.assertion).status_code, self.prove(self.nonce).status_code, link.status_code

    def get(self, token, path="clients"):
        headers = {"authorization": f"Bearer {token}"}
        return requests.get(f"{self.issuer}/api/v1/{path}", headers=headers, timeout=20)

    def clients(self):
        return {each["client_id"] for each in self.get(self.token("admin")).json()["items"]}

    def remove_every_client(self):
        token = self.token("admin")
        # Whoever removes the others is removed last.
        for client in sorted(self.clients(), key=lambda client: client == "admin"):
            found = self.get(token, f"clients/{client}")
            headers = {"authorization": f"Bearer {token}", "if-match": found.headers["etag"]}
            gone = requests.delete(found.url, headers=headers, timeout=20)
            assert gone.status_code == 204, gone.text
        assert self.ask("admin").status_code == 401

    def command(self, *arguments, environment=None):
        return subprocess.run(
            [JETON, *arguments], env=environment or self.environment, capture_output=True, text=True, timeout=60
        )

    def export(self, environment=None):
        done = self.command("audit", "export", environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


def jti(token):
    return jwt.decode(token, options={"verify_signature": False})["jti"]


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pitr")
    cluster = Cluster(directory)
    walk = Walk(directory, cluster)
    try:
        cluster.start()
        walk.there_and_back()
        yield walk
        walk.server.stop()
    finally:
        walk.server.kill()
        cluster.kill()
        for log in directory.glob("*.log"):
            print(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-3000:]}")


def test_the_clients_are_back_and_get_tokens(walk):
    assert walk.clients() == {"admin", "late", "signer"}
    assert walk.token("late")
    # One that cannot have been used before the restore: the leeway is half a minute, and the times whole seconds.
    time.sleep(1)
    assert walk.ask_signed(walk.sign(ahead=30)).status_code == 200


def test_tokens_count_until_they_end_those_of_the_lost_time_too(walk):
    assert [walk.get(token).status_code for token in [*walk.kept, walk.lost]] == [200, 200, 200]


def test_what_was_used_in_the_lost_time_counts_no_more(walk):
    assert walk.used_up() == (401, 400, 409)
    assert walk.fresh.status_code == 401, "a clock may be half a minute ahead, so it may have been used before"
    assert walk.prove(walk.prove().headers["DPoP-Nonce"]).status_code == 200

def test_the_audit_ends_at_that_moment_and_says_so(walk):
    assert walk.command("audit", "verify").returncode == 0
    events = [json.loads(line)["event"] for line in walk.export() if "checkpoint" not in line]
    issued = {event.get("jti") for event in events}
    assert {jti(token) for token in walk.kept} < issued and jti(walk.lost) not in issued
    [restored] = [event for event in events if event["kind"] == "restored"]
    assert datetime.fromisoformat(restored["taken_at"]) == walk.target and restored["keys"] == "kept"


def test_checkpoints_that_were_kept_elsewhere_miss_the_lost_time(walk):
    both, keys = walk.directory / "both.jsonl", walk.directory / "keys.json"
    both.write_text("\n".join([*walk.export(), *walk.checkpoints]) + "\n")
    keys.write_text(walk.command("audit", "keys").stdout)
    checked = walk.command("audit", "verify", "--file", both, "--keys", keys)
    assert checked.returncode == 1 and "missing" in checked.stderr + checked.stdout


def test_the_database_that_was_replaced_has_the_audit_of_the_lost_time(walk):
    with walk.cluster.as_it_was() as url:
        told = "\n".join(walk.export(walk.environment | {"JETON_DATABASE_URL": url}))
    assert jti(walk.lost) in told and "client.delete" in told


SERVE, SETTLE = ["serve"], ["after-restore", "--keep-keys", "--taken-at", "2026-11-28T02:15:07Z"]


@pytest.mark.parametrize("arguments", [SERVE, SETTLE], ids=["serve", "after-restore"])
def test_without_the_master_key_of_that_moment_nothing_is_done(walk, arguments):
    elsewhere = {"JETON_LISTEN": "127.0.0.1:0"}
    none = walk.command(*arguments, environment=walk.keyless | elsewhere)
    assert none.returncode == 78 and "PostgreSQL needs a master key" in none.stderr, none.stderr
    # With the one that it was changed to in the lost time.
    new = walk.command(*arguments, environment=walk.under(walk.new_key) | elsewhere)
    assert new.returncode == 78 and f"configured: {walk.changed['master_key']} (current)" in new.stderr, new.stderr
    assert f"are under master key {walk.changed['previous'][0]}, which is not configured" in new.stderr


def test_keys_are_withdrawn_beside_a_server_and_twice_does_no_harm(walk):
    nonce = walk.prove().headers["DPoP-Nonce"]
    revoke = ["after-restore", "--taken-at", walk.target.isoformat(), "--revoke-keys"]
    revoked = [jeton(walk.environment, *revoke)["revoked_keys"] for _ in range(2)]
    time.sleep(1)
    assert [walk.get(token).status_code for token in [*walk.kept, walk.lost]] == [401, 401, 401]
    assert walk.prove(nonce).status_code == 400
    kid = jwt.get_unverified_header(walk.token("late"))["kid"]
    assert kid not in [each for revoked in revoked for each in revoked]
    assert walk.command("audit", "verify").returncode == 0
