"""Apache asks: mod_oauth2 introspects every token, and `Require oauth2_claim` reads `roles` in the answer."""

import time

import pytest

from apache import CACHE, PROGRAM, Apache
from deployment import BRIEF, EXCHANGER, INVOICES, SHOP, claims, forgeries

# Who operates the API, and who operates nothing.
GATEWAY, STRANGER = "order-gateway", "stranger"


@pytest.fixture(scope="module")
def apache(directory, deployment):
    assert PROGRAM.exists(), "install Debian's packages apache2-bin and libapache2-mod-oauth2"
    server = Apache(directory, deployment.issuer, {each: deployment.secrets[each] for each in (GATEWAY, STRANGER)})
    try:
        server.start()
        yield server
    finally:
        server.stop()


def wait_for_the_cache():
    """Until no verdict is older than what it is about: it counts whole seconds."""
    time.sleep(CACHE + 1.5)


def test_a_role_allows_its_method_and_no_other(deployment, apache):
    reader, writer = deployment.token("web"), deployment.token("importer")
    assert apache.ask(GATEWAY, reader) == (200, "web")
    assert apache.ask(GATEWAY, deployment.token("reporter")) == (200, "reporter")
    assert apache.ask(GATEWAY, writer, "POST") == (200, "importer")
    for token, method in ((reader, "POST"), (writer, "GET"), (reader, "DELETE")):
        assert apache.ask(GATEWAY, token, method)[0] == 403, method


def test_a_role_that_begins_as_another_is_another(deployment, apache):
    assert apache.ask(GATEWAY, deployment.token("guest"))[0] == 403


def test_an_exchanged_token_has_the_rights_of_its_subject(deployment, apache):
    token = deployment.exchanged(EXCHANGER, deployment.token("web", SHOP))
    assert claims(token)["act"]["sub"] == EXCHANGER
    assert apache.ask(GATEWAY, token) == (200, "web")
    assert apache.ask(GATEWAY, token, "POST")[0] == 403


def test_no_token_is_401(apache):
    assert apache.ask(GATEWAY, None)[0] == 401


def test_who_is_called_for_is_said_by_jeton_alone(deployment, apache):
    assert apache.ask(GATEWAY, deployment.token("web"), headers={"OAUTH2_CLAIM_sub": "importer"}) == (200, "web")


def test_a_token_of_another_audience_is_401(deployment, apache):
    # Of the same client, so that nothing but the audience differs.
    assert apache.ask(GATEWAY, deployment.token("web", INVOICES))[0] == 401
    assert apache.ask(GATEWAY, deployment.token("web", SHOP))[0] == 401


def test_who_operates_nothing_learns_of_no_token(deployment, apache):
    token = deployment.token("web")
    assert apache.ask(GATEWAY, token)[0] == 200
    # Also not from the cache of who does.
    assert apache.ask(STRANGER, token)[0] == 401


def test_what_jeton_did_not_sign_is_401(deployment, apache):
    good = deployment.token("web")
    answers = {name: apache.ask(GATEWAY, forged)[0] for name, forged in forgeries(good).items()}
    assert answers == dict.fromkeys(answers, 401)
    assert apache.ask(GATEWAY, good)[0] == 200


def test_a_token_that_has_ended_is_401(deployment, apache):
    token = deployment.token("web", BRIEF)
    assert apache.ask(GATEWAY, token)[0] == 200
    time.sleep(max(0, claims(token)["exp"] - time.time()))
    wait_for_the_cache()
    assert apache.ask(GATEWAY, token)[0] == 401


def test_a_token_that_was_revoked_is_401(deployment, apache):
    token, other = deployment.token("web"), deployment.token("web")
    assert [apache.ask(GATEWAY, each)[0] for each in (token, other)] == [200, 200]
    deployment.revoke("web", token)
    wait_for_the_cache()
    assert [apache.ask(GATEWAY, each)[0] for each in (token, other)] == [401, 200]


def test_an_exchanged_token_is_revoked_by_whom_it_was_issued_to(deployment, apache):
    token = deployment.exchanged(EXCHANGER, deployment.token("web", SHOP))
    assert apache.ask(GATEWAY, token)[0] == 200
    deployment.revoke(EXCHANGER, token)
    wait_for_the_cache()
    assert apache.ask(GATEWAY, token)[0] == 401


def test_a_token_whose_client_was_disabled_is_401(deployment, apache):
    token = deployment.token("leaver")
    assert apache.ask(GATEWAY, token)[0] == 200
    deployment.jeton("clients", "disable", "leaver")
    # Jeton promises that a running server follows within a second.
    time.sleep(1)
    wait_for_the_cache()
    assert apache.ask(GATEWAY, token)[0] == 401
    assert apache.ask(GATEWAY, deployment.token("web"))[0] == 200
