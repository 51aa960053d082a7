"""Clients with certificates, as curl and requests bring them: RFC 8705 from the handshake to the bound token."""

import base64
import subprocess

import jwt
import pytest
import requests

GRANT = {"grant_type": "client_credentials", "resource": "https://orders.example"}


def form(client_id, **more):
    return {**GRANT, "client_id": client_id, **more}


def bound_to(deployment, answer, certificate):
    """The token of an answer, whose signature holds, and which is bound to this certificate."""
    status, body = answer
    assert status == 200, body
    assert body["token_type"] == "Bearer"
    key = jwt.PyJWKClient(f"{deployment.issuer}/.well-known/jwks.json").get_signing_key_from_jwt(body["access_token"])
    options = {"verify_aud": False}
    claims = jwt.decode(body["access_token"], key, algorithms=["ES256"], issuer=deployment.issuer, options=options)
    assert claims["cnf"] == {"x5t#S256": certificate.thumbprint}
    return body["access_token"]


def test_the_metadata_says_so(deployment):
    metadata = deployment.metadata()
    methods = metadata["token_endpoint_auth_methods_supported"]
    assert {"tls_client_auth", "self_signed_tls_client_auth"} <= set(methods)
    assert metadata["tls_client_certificate_bound_access_tokens"] is True
    assert deployment.token_endpoint.startswith("https://") and deployment.token_endpoint != metadata["token_endpoint"]


@pytest.mark.parametrize("by", ["curl", "ask"])
def test_a_certificate_of_the_authority_with_the_registered_subject(deployment, by):
    ask = getattr(deployment, by)
    bound_to(deployment, ask(deployment.issued, form("issued")), deployment.issued)
    for certificate in (deployment.other, deployment.own, None):
        status, body = ask(certificate, form("issued"))
        assert (status, body["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("by", ["curl", "ask"])
def test_a_registered_certificate_that_nobody_has_signed(deployment, by):
    ask = getattr(deployment, by)
    bound_to(deployment, ask(deployment.own, form("own")), deployment.own)
    for certificate in (deployment.other, deployment.issued, None):
        status, body = ask(certificate, form("own"))
        assert (status, body["error"]) == (401, "invalid_client")


def test_a_certificate_beside_a_secret_binds_and_authenticates_nobody(deployment):
    secret = deployment.secret
    credentials = ("by-secret", secret["client_secret"])
    bound_to(deployment, deployment.ask(deployment.other, GRANT, auth=credentials), deployment.other)
    status, body = deployment.ask(None, GRANT, auth=credentials)
    assert status == 200
    assert "cnf" not in jwt.decode(body["access_token"], options={"verify_signature": False})
    # Everywhere else the endpoint without certificates is as good.
    answer = requests.post(f"{deployment.issuer}/oauth2/token", GRANT, auth=credentials, timeout=20)
    assert answer.status_code == 200


def test_the_api_takes_a_bound_token_with_its_certificate_only(deployment):
    wanted = form("own", resource=f"{deployment.issuer}/api/v1")
    token = bound_to(deployment, deployment.ask(deployment.own, wanted), deployment.own)

    def call(url, certificate):
        shown = certificate.pair if certificate else None
        headers = {"Authorization": f"Bearer {token}"}
        trusted = str(deployment.authority.pem)
        return requests.get(f"{url}/clients/own/certificates", headers=headers, cert=shown, verify=trusted, timeout=20)

    answer = call(deployment.api, deployment.own)
    assert answer.status_code == 200, answer.text
    assert answer.json()[0]["thumbprint"] == deployment.own.thumbprint
    for url, certificate in [
        (deployment.api, deployment.other),
        (deployment.api, None),
        (f"{deployment.issuer}/api/v1", None),
    ]:
        answer = call(url, certificate)
        assert answer.status_code == 401, answer.text
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_nobody_can_say_that_they_have_a_certificate(deployment):
    """RFC 9440 §4: what a caller sends under the header's name goes no further than the proxy."""
    forged = f":{base64.b64encode(deployment.own.der).decode()}:"
    for certificate in (None, deployment.other):
        status, body = deployment.ask(certificate, form("own"), headers={"Client-Cert": forged})
        assert (status, body["error"]) == (401, "invalid_client")


def test_a_certificate_without_its_key_is_worth_nothing(deployment):
    stolen = type("Stolen", (), {"pem": deployment.own.pem, "key": deployment.other.key})
    with pytest.raises(subprocess.CalledProcessError):
        deployment.curl(stolen, form("own"))
