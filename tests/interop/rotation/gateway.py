"""A real Envoy before the replicas: it verifies tokens (`jwt_authn`), and passes the key set on to other verifiers."""

from envoy_proxy import JWKS_PATH, EnvoyProxy, cluster, jwt_authn

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


class Gateway(EnvoyProxy):
    """Listeners `demand` and `async`, which answer 200 to whoever has a valid token, and `front`, which is the
    issuer's address for whoever wants the key set."""

    def __init__(self, directory):
        super().__init__(directory, ["front", *CACHES])
        self.issuer = f"http://127.0.0.1:{self.ports['front']}"

    def start(self, replicas, audiences):
        """Starts before these addresses, and waits until it is ready."""
        verifying = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        retry = {"retry_on": "connect-failure,reset,5xx", "num_retries": RETRIES}
        passing_on = {"match": {"prefix": "/"}, "route": {"cluster": "jeton", "retry_policy": retry}}
        listeners = [self.listener("front", passing_on)]
        listeners += [self.listener(name, verifying, self._jwt_authn(name, audiences)) for name in CACHES]
        self.launch({"listeners": listeners, "clusters": [cluster("jeton", replicas)]})

    def _jwt_authn(self, cache, audiences):
        remote = {
            # A slow machine may take its time: a set that comes late is counted with, one that does not is a refusal.
            "http_uri": {"uri": self.issuer + JWKS_PATH, "cluster": "jeton", "timeout": "5s"},
            # The shortest that Envoy knows: it counts whole seconds, and 0 means a fetch for every request.
            "cache_duration": "1s",
            "retry_policy": {"num_retries": RETRIES, "retry_back_off": {"base_interval": "0.025s"}},
            **CACHES[cache],
        }
        return jwt_authn(
            {"issuer": self.issuer, "audiences": audiences, "clock_skew_seconds": 1, "remote_jwks": remote}
        )
