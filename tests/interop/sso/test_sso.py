"""Single sign-on through npm's oidc-provider: both roles, somebody who has none, and a provider that is away."""

import time

import pytest
from deployment import Browser

from jeton import jeton as command


def test_a_provider_that_is_away_is_told_and_found_again(parts):
    jeton, provider = parts
    browser = Browser(jeton)
    page = browser.get("/admin/sign-in/sso")
    assert page.status_code == 503 and "does not answer as it should" in page.text
    assert 'name="password"' in page.text, "a password still leads in"
    provider.start(jeton.redirect_uri)
    # Left alone for ten seconds after it did not answer.
    deadline = time.monotonic() + 20
    while browser.get("/admin/sign-in/sso").status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert browser.sign_in("ada").url == f"{jeton.issuer}/admin"


@pytest.mark.parametrize(
    ("person", "role", "may_register"), [("ada", "administrator", True), ("grace", "auditor", False)]
)
def test_who_has_a_group_is_let_in_with_its_role(parts, person, role, may_register):
    jeton, _ = parts
    browser = Browser(jeton)
    page = browser.sign_in(person)
    assert page.status_code == 200 and page.url == f"{jeton.issuer}/admin", page.text
    account = browser.get("/admin/account").text
    assert f"<strong>{person}@example.test</strong>, {role}" in account
    assert browser.get("/admin/new-client").status_code == (200 if may_register else 403)

    listed = command(jeton.environment, "admin", "list")
    account = next(each for each in listed if each["name"] == f"{person}@example.test")
    assert (account["role"], account["password"], account["second_factor"]) == (role, False, False)
    assert account["external"]["subject"] == person

    # Signing out is local: the provider still knows who it is, and asks for nothing.
    headers = {"Sec-Fetch-Site": "same-origin"}
    browser.session.post(f"{jeton.issuer}/admin/sign-out", headers=headers, timeout=20)
    assert "/admin/sign-in" in browser.get("/admin").url
    assert browser.get("/admin/sign-in/sso").url == f"{jeton.issuer}/admin"


def test_who_has_no_group_is_refused(parts):
    jeton, _ = parts
    browser = Browser(jeton)
    page = browser.sign_in("eve")
    assert page.status_code == 403 and "does not say that you may administer this Jeton" in page.text, page.text
    assert "/admin/sign-in" in browser.get("/admin").url


def test_an_answer_counts_once(parts):
    jeton, _ = parts
    browser = Browser(jeton)
    page = browser.sign_in("ada")
    callback = next(each.url for each in page.history if each.url.startswith(jeton.redirect_uri))
    again = browser.session.get(callback, timeout=20)
    assert again.status_code == 400 and "begin again" in again.text
