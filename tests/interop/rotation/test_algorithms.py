"""Every algorithm that Jeton signs with, at those who can verify it, from one published key set."""

import json
import urllib.request

import pytest

from conftest import deployment
from envoy_proxy import JWKS_PATH

# ML-DSA-65 (RFC 9964) is known to jose on a Node that knows it, and to no other.
KNOWN_TO_ALL = ["ES256", "ES384", "RS256", "PS256", "EdDSA"]
KNOWN_TO_JOSE = [*KNOWN_TO_ALL, "ML-DSA-65"]
KNOWN = dict.fromkeys(["Envoy (demand)", "Envoy (async)", "PyJWT"], KNOWN_TO_ALL) | {"jose": KNOWN_TO_JOSE}


def audience(algorithm):
    return f"https://{algorithm.lower()}.example.test"


@pytest.fixture(scope="module")
def tokens(directory):
    """A token for each algorithm, and the verifiers."""
    resource_servers = {audience(algorithm): algorithm for algorithm in KNOWN_TO_JOSE}
    with deployment(directory, 1, {}, resource_servers, 300) as (replicas, verifiers):
        issued = {algorithm: replicas.fetch(0, audience(algorithm)) for algorithm in KNOWN_TO_JOSE}
        with urllib.request.urlopen(replicas.servers[0].url + JWKS_PATH, timeout=10) as answer:
            keys = json.load(answer)["keys"]
        yield issued, keys, {verifier.name: verifier for verifier in verifiers}


def test_one_key_set_has_them_all(tokens):
    issued, keys, _ = tokens
    published = {key["kid"]: key for key in keys}
    for algorithm, token in issued.items():
        assert (token.algorithm, published[token.kid]["alg"]) == (algorithm, algorithm)
    assert published[issued["ML-DSA-65"].kid]["kty"] == "AKP"


@pytest.mark.parametrize(
    ("verifier", "algorithm"), [(verifier, algorithm) for verifier, known in KNOWN.items() for algorithm in known]
)
def test_it_is_verified(tokens, verifier, algorithm):
    issued, _, verifiers = tokens
    assert verifiers[verifier].check(issued[algorithm].token, audience(algorithm), algorithm) is None
