"""SVIDs that a real SPIRE has made, as proof of a client."""

import time

import jwt
import requests
from domain import WORKLOAD

GRANT = {"grant_type": "client_credentials", "resource": "https://orders.example"}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"


def by_jwt(deployment, svid, **more):
    form = {**GRANT, "client_assertion_type": ASSERTION_TYPE, "client_assertion": svid, **more}
    return requests.post(f"{deployment.issuer}/oauth2/token", form, timeout=20)


def by_x509(deployment, svid, **more):
    url = f"https://{deployment.mtls}/oauth2/token"
    return requests.post(url, {**GRANT, **more}, cert=svid, verify=str(deployment.host), timeout=20)


def token(answer):
    assert answer.status_code == 200, answer.text
    return jwt.decode(answer.json()["access_token"], options={"verify_signature": False})


def refused(answer):
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


def test_a_jwt_svid_is_the_client(deployment, spire):
    claims = token(by_jwt(deployment, spire.fetch_jwt(deployment.issuer)))
    assert (claims["sub"], "cnf" in claims) == ("billing", False)
    refused(by_jwt(deployment, spire.fetch_jwt("https://other.example")))
    refused(by_jwt(deployment, spire.fetch_jwt(deployment.issuer)[:-8]))


def test_an_x509_svid_is_the_client_and_binds_its_token(deployment, spire):
    svid = spire.fetch_x509()
    for named in ({}, {"client_id": "billing"}, {"client_id": WORKLOAD}):
        claims = token(by_x509(deployment, svid, **named))
        assert claims["sub"] == "billing"
        assert set(claims["cnf"]) == {"x5t#S256"}
    refused(by_x509(deployment, svid, client_id="other"))


def test_what_is_not_in_the_bundle_any_more_is_nobody(deployment, spire):
    svid, whole = spire.fetch_x509(), deployment.bundle.read_text()
    empty = '{"keys":[{"use":"jwt-svid","kid":"x","kty":"EC","crv":"P-256",'
    empty += '"x":"Y5yau0DGWZoFSkwOoFf2-hcNQDRVm_9KFnXOVkUbi08","y":"nErdNp6vYqg-aQJqMXzvkc3dRk2JFRQG9UV7M03lgp0"}]}'
    for text, expected in ((empty, refused), (whole, token)):
        fresh = deployment.bundle.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(deployment.bundle)
        # Looked at once a second.
        time.sleep(1.5)
        expected(by_x509(deployment, svid))
        expected(by_jwt(deployment, spire.fetch_jwt(deployment.issuer)))
