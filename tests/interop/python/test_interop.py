"""Authlib as the client, PyJWT and Authlib as resource servers."""

from dataclasses import replace

import jwt
import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import ECKey, OKPKey, RSAKey
from prometheus_client.openmetrics.parser import text_string_to_metric_families

ORDERS = "https://orders.example.test"
INVOICES = "https://invoices.example.test"
CLOUD = "sts.cloud.example.test"

# Authlib's own use of its older functions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


def fetch(metadata, client, method="client_secret_basic", **parameters):
    session = OAuth2Session(client.id, client.secret, token_endpoint_auth_method=method)
    return session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", **parameters)


def verify(metadata, token, audience, algorithm):
    """What a resource server does with PyJWT: the key by `kid` from the published set, then the claims."""
    key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=metadata["issuer"],
        audience=audience,
        options={"require": ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]},
    )


def test_both_discovery_documents_describe_the_same_server(issuer, metadata):
    answer = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=10)
    answer.raise_for_status()
    oauth = answer.json()

    assert metadata["issuer"] == issuer
    for name in ("issuer", "token_endpoint", "jwks_uri", "token_endpoint_auth_methods_supported"):
        assert oauth[name] == metadata[name]
    assert "client_credentials" in metadata["grant_types_supported"]
    assert {"client_secret_basic", "client_secret_post"} <= set(metadata["token_endpoint_auth_methods_supported"])


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_token_asked_by_scope_is_verified_with_es256(metadata, billing, method):
    answer = fetch(metadata, billing, method, scope="orders:read")
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 300

    token = answer["access_token"]
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")

    claims = verify(metadata, token, ORDERS, "ES256")
    assert claims["aud"] == ORDERS
    assert claims["scope"] == "orders:read"
    assert claims["roles"] == ["order-reader"]
    assert claims["client_id"] == claims["sub"] == billing.id
    assert claims["exp"] - claims["iat"] == 300


def test_a_token_asked_by_resource_is_verified_with_rs256(metadata, billing):
    answer = fetch(metadata, billing, resource=INVOICES)
    assert answer["expires_in"] == 120

    token = answer["access_token"]
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")

    claims = verify(metadata, token, INVOICES, "RS256")
    assert claims["scope"] == "invoices:read"
    assert claims["roles"] == ["invoice-reader"]
    assert claims["exp"] - claims["iat"] == 120


def test_a_resource_server_may_ask_for_plain_jwts(metadata, billing):
    token = fetch(metadata, billing, audience=CLOUD)["access_token"]
    assert jwt.get_unverified_header(token)["typ"] == "JWT"

    claims = verify(metadata, token, CLOUD, "ES256")
    assert claims["roles"] == ["cloud-user"]
    assert "scope" not in claims


def test_each_token_has_an_id_of_its_own(metadata, billing):
    tokens = [fetch(metadata, billing, resource=ORDERS)["access_token"] for _ in range(2)]
    first, second = (verify(metadata, token, ORDERS, "ES256") for token in tokens)
    assert first["jti"] != second["jti"]


def test_pyjwt_refuses_a_token_for_another_audience(metadata, billing):
    token = fetch(metadata, billing, resource=ORDERS)["access_token"]
    with pytest.raises(jwt.InvalidAudienceError):
        verify(metadata, token, INVOICES, "ES256")


def test_pyjwt_refuses_the_signature_of_another_token(metadata, billing):
    one, another = (fetch(metadata, billing, resource=ORDERS)["access_token"] for _ in range(2))
    forged = f"{one.rpartition('.')[0]}.{another.rpartition('.')[2]}"
    with pytest.raises(jwt.InvalidSignatureError):
        verify(metadata, forged, ORDERS, "ES256")


class ResourceServer(JWTBearerTokenValidator):
    """Authlib's RFC 9068 validator, as an API built on Authlib sets it up."""

    def __init__(self, metadata, identifier):
        super().__init__(issuer=metadata["issuer"], resource_server=identifier)
        self.jwks_uri = metadata["jwks_uri"]

    def get_jwks(self):
        return requests.get(self.jwks_uri, timeout=10).json()

    def check(self, token, scope, role):
        self.validate_token(self.authenticate_token(token), [scope], request=None, roles=[role])


def test_authlib_accepts_a_token_by_scope_and_role(metadata, billing):
    token = fetch(metadata, billing, resource=ORDERS)["access_token"]
    ResourceServer(metadata, ORDERS).check(token, "orders:read", "order-reader")


def test_authlib_refuses_what_the_token_does_not_carry(metadata, billing):
    token = fetch(metadata, billing, resource=ORDERS)["access_token"]
    with pytest.raises(InsufficientScopeError):
        ResourceServer(metadata, ORDERS).check(token, "orders:write", "order-reader")
    with pytest.raises(InvalidTokenError):
        ResourceServer(metadata, ORDERS).check(token, "orders:read", "invoice-reader")
    with pytest.raises(InvalidTokenError):
        ResourceServer(metadata, INVOICES).check(token, "orders:read", "order-reader")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_wrong_secret_is_invalid_client(metadata, billing, method):
    with pytest.raises(OAuthError) as refusal:
        fetch(metadata, replace(billing, secret="wrong"), method, resource=ORDERS)
    assert refusal.value.error == "invalid_client"


def test_a_permission_the_client_does_not_have_is_invalid_scope(metadata, billing):
    with pytest.raises(OAuthError) as refusal:
        fetch(metadata, billing, scope="orders:write")
    assert refusal.value.error == "invalid_scope"


def test_an_unknown_resource_is_invalid_target(metadata, billing):
    with pytest.raises(OAuthError) as refusal:
        fetch(metadata, billing, resource="https://unknown.example.test")
    assert refusal.value.error == "invalid_target"


def fetch_signed(metadata, client_id, pem, key_type, alg, **options):
    """Authlib signs an assertion for whatever it takes for the audience: the token endpoint, unless told otherwise."""
    key = key_type.import_key(pem.read_text())
    session = OAuth2Session(client_id, key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(alg=alg, **options))
    return session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", resource=ORDERS)


SIGNATURES = pytest.mark.parametrize(
    "name, key_type, alg",
    [("ec", ECKey, "ES256"), ("rsa", RSAKey, "RS256"), ("rsa", RSAKey, "PS256"), ("ed", OKPKey, "EdDSA")],
)


@SIGNATURES
def test_a_token_by_private_key_jwt(metadata, issuer, keys, name, key_type, alg):
    assert alg in metadata["token_endpoint_auth_signing_alg_values_supported"]
    # What Authlib calls the token endpoint is nothing but the audience.
    answer = fetch_signed(metadata, "signer", keys / f"{name}.pem", key_type, alg, token_endpoint=issuer)
    claims = verify(metadata, answer["access_token"], ORDERS, "ES256")
    assert claims["client_id"] == claims["sub"] == "signer"


def test_the_token_endpoint_is_an_audience_for_clients_of_old_only(metadata, keys):
    assert fetch_signed(metadata, "signer-of-old", keys / "ec.pem", ECKey, "ES256")["access_token"]
    with pytest.raises(OAuthError) as refusal:
        fetch_signed(metadata, "signer", keys / "ec.pem", ECKey, "ES256")
    assert refusal.value.error == "invalid_client"


def test_a_scrape_is_openmetrics(metadata, billing, metrics):
    """Python's parser refuses what the specification does: a wrong order, a unit that is not in the name, buckets
    that do not add up."""
    fetch(metadata, billing, scope="orders:read")
    answer = requests.get(metrics, timeout=10)
    answer.raise_for_status()
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["jeton_requests"].type == "counter"
    assert families["jeton_request_duration_seconds"].unit == "seconds"
    tokens = [sample.value for sample in families["jeton_token_requests"].samples if sample.labels["outcome"] == "ok"]
    assert sum(tokens) >= 1
    assert families["jeton_build"].samples[0].labels["version"]
