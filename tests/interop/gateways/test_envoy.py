"""Envoy decides by itself: `jwt_authn` verifies the token, and `rbac` reads its `roles`."""

import time

import pytest

from deployment import BRIEF, EXCHANGER, INVOICES, ORDERS, SHOP, claims, forgeries
from envoy_proxy import JWKS_PATH, EnvoyProxy, cluster, http_filter, jwt_authn

# How much longer than its `exp` Envoy accepts a token, in seconds. 0 would mean its usual 60.
LEEWAY = 1


def allowed(method, role):
    """Whoever has the role may use the method."""
    path = [{"key": "jeton"}, {"key": "roles"}]
    has_role = {"list_match": {"one_of": {"string_match": {"exact": role}}}}
    claim = {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": has_role}
    return {
        "permissions": [{"header": {"name": ":method", "string_match": {"exact": method}}}],
        "principals": [{"sourced_metadata": {"metadata_matcher": claim}}],
    }


@pytest.fixture(scope="module")
def envoy(directory, deployment):
    remote = {"http_uri": {"uri": deployment.issuer + JWKS_PATH, "cluster": "jeton", "timeout": "5s"}}
    provider = {
        "issuer": deployment.issuer,
        "audiences": [ORDERS, BRIEF],
        "clock_skew_seconds": LEEWAY,
        "remote_jwks": remote,
        "payload_in_metadata": "jeton",
    }
    policies = {"read": allowed("GET", "order-reader"), "write": allowed("POST", "order-writer")}
    rbac = http_filter("rbac", "rbac.v3.RBAC", {"rules": {"action": "ALLOW", "policies": policies}})
    proxy = EnvoyProxy(directory, ["orders"])
    answering = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    listeners = [proxy.listener("orders", answering, jwt_authn(provider), rbac)]
    try:
        proxy.launch({"listeners": listeners, "clusters": [cluster("jeton", [deployment.address])]})
        yield proxy
    finally:
        proxy.stop()


def test_a_role_allows_its_method_and_no_other(deployment, envoy):
    reader, writer = deployment.token("web"), deployment.token("importer")
    assert envoy.ask("orders", reader)[0] == 200
    assert envoy.ask("orders", deployment.token("reporter"))[0] == 200
    assert envoy.ask("orders", writer, "POST")[0] == 200
    for token, method in ((reader, "POST"), (writer, "GET"), (reader, "DELETE")):
        assert envoy.ask("orders", token, method) == (403, "RBAC: access denied")


def test_a_role_that_begins_as_another_is_another(deployment, envoy):
    token = deployment.token("guest")
    assert claims(token)["roles"] == ["order-readers-guest"]
    assert envoy.ask("orders", token) == (403, "RBAC: access denied")


def test_an_exchanged_token_has_the_rights_of_its_subject(deployment, envoy):
    token = deployment.exchanged(EXCHANGER, deployment.token("web", SHOP))
    said = claims(token)
    assert (said["sub"], said["act"]["sub"], said["roles"]) == ("web", EXCHANGER, ["order-reader"])
    assert envoy.ask("orders", token)[0] == 200
    assert envoy.ask("orders", token, "POST")[0] == 403


def test_no_token_is_401(envoy):
    assert envoy.ask("orders", None) == (401, "Jwt is missing")


def test_a_token_of_another_audience_is_403(deployment, envoy):
    # Of the same client, so that nothing but the audience differs.
    assert envoy.ask("orders", deployment.token("web", INVOICES)) == (403, "Audiences in Jwt are not allowed")


def test_what_jeton_did_not_sign_is_401(deployment, envoy):
    good = deployment.token("web")
    answers = {name: envoy.ask("orders", forged)[0] for name, forged in forgeries(good).items()}
    assert answers == dict.fromkeys(answers, 401)
    assert envoy.ask("orders", good)[0] == 200


def test_a_token_that_has_ended_is_401(deployment, envoy):
    token = deployment.token("web", BRIEF)
    assert envoy.ask("orders", token)[0] == 200
    time.sleep(max(0, claims(token)["exp"] + LEEWAY + 1 - time.time()))
    assert envoy.ask("orders", token) == (401, "Jwt is expired")


def test_both_filters_have_decided(envoy):
    """After all others: nothing above was refused for want of the key set."""
    counted = envoy.counted("orders")
    assert counted["jwks_fetch_success"] >= 1 and counted["jwks_fetch_failed"] == 0
