"""A hundred rotations under load, with a replica that is stopped and one that is killed: nobody is refused."""

import subprocess
import time
from dataclasses import dataclass

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from account import backwards, outside_their_reign, reigns
from conftest import deployment
from jeton import JETON
from load import Load
from replicas import INVOICES, ORDERS

ROTATIONS = 100

# The shortest that Jeton allows, so that keys leave soon, and verifiers miss one that leaves too soon.
LIFETIME = 10

# All that a machine's slowness can stretch is in the lead: whatever takes longer makes rotations rarer, and refuses
# nobody. Verifiers keep key sets for 1 s; twice that gives each fetch a second. Storing a key may take 0.6 s, a tenth
# of the lead. What is left, 6 − 2 − 0.6 − 2 × 0.25 = 2.9 s, is how long a replica may hear nothing of the others.
# Keys are planned by looking every 0.2 s, and generating takes time, so one signs for more than 0.5 s.
SCHEDULE = {
    "JETON_KEYS__ROTATE_EVERY": "500ms",
    "JETON_KEYS__PUBLISH_AHEAD": "6s",
    "JETON_KEYS__VERIFIER_CACHE": "2s",
    "JETON_KEYS__CLOCK_TOLERANCE": "250ms",
    "JETON_KEYS__VERIFIER_LEEWAY": "1s",
    "JETON_TOKENS__MAX_LIFETIME": str(LIFETIME),
}

# What a slow machine may need; the first key signs for the whole lead.
LONGEST = 110


@dataclass
class Run:
    replicas: object
    verifiers: list
    load: Load
    events: list
    counted: dict
    back: dict


@pytest.fixture(scope="module")
def run(directory, show):
    resource_servers = {ORDERS: "ES256", INVOICES: "RS256"}
    with deployment(directory, 3, SCHEDULE, resource_servers, LIFETIME) as (replicas, verifiers):
        began = time.monotonic()
        deadline = began + LONGEST
        with Load(replicas, verifiers) as load:
            back = {
                1: away_for(load, replicas.servers[1].stop, replicas.servers[1], 30, 11, deadline),
                2: away_for(load, replicas.servers[2].kill, replicas.servers[2], 60, 5, deadline),
            }
            load.wait_for(ROTATIONS, deadline)
            rotating = time.monotonic() - began
        counted = {verifier.name: verifier.counted() for verifier in verifiers if hasattr(verifier, "counted")}
        run = Run(replicas, verifiers, load, replicas.events(), counted, back)
        report(run, rotating, show)
        yield run


def away_for(load, end, server, after, rotations, deadline):
    """Ends a replica after some rotations and starts it again when there were so many more. Answers what was seen
    when it was back: how many rotations it missed, and how many tokens there were."""
    load.wait_for(after, deadline)
    end()
    gone = load.rotations("ES256")
    load.wait_for(gone + rotations, deadline)
    missed, tokens = load.rotations("ES256") - gone, len(load.issued)
    server.start()
    return missed, tokens


def report(run, rotating, show):
    load = run.load
    tokens = {f"replica {n}": sum(issued.server == n for issued in load.issued) for n in range(3)}
    show(f"{load.rotations('ES256')} rotations of ES256 and {load.rotations('RS256')} of RS256 in {rotating:.0f} s")
    show(f"{len(load.issued)} tokens: {tokens}, retried at another replica: {dict(load.away)}")
    for checks in load.checks:
        show(f"{checks.verifier.name}: {dict(checks.accepted)}, refused {len(checks.refused)}")
    show(f"Envoy's counters: {run.counted}")


def test_nobody_is_refused(run):
    for checks in run.load.checks:
        assert checks.refused == [], checks.verifier.name
        # Every token when it is new; and unless the machine was too slow, once more when it is nearly over.
        assert checks.accepted["new"] + checks.accepted["old"] + checks.accepted["late"] == 2 * len(run.load.issued)
        assert checks.accepted["late"] < len(run.load.issued) / 10, "this machine is too slow to say anything"


def test_envoy_counts_no_refusal_either(run):
    for checks in run.load.checks[:2]:
        counted = run.counted[checks.verifier.name]
        assert counted["denied"] == 0
        assert counted["allowed"] == checks.accepted["new"] + checks.accepted["old"]
        # It did fetch key sets, again and again.
        assert counted["jwks_fetch_success"] > 30


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_all_replicas_sign_with_the_same_key(run, algorithm):
    order = reigns(run.events, algorithm)
    issued = [token for token in run.load.issued if token.algorithm == algorithm]
    assert {token.kid for token in issued} <= order.keys()
    assert outside_their_reign(issued, order) == []
    assert backwards(issued, order) == []


def test_there_were_a_hundred_rotations_and_tokens_of_nearly_all(run):
    began, ended = run.load.issued[0].asked_at, run.load.issued[-1].answered_at
    activated = [kid for kid, (since, _) in reigns(run.events, "ES256").items() if began < since < ended]
    signed = {token.kid for token in run.load.issued}
    assert len(activated) >= ROTATIONS
    # On a busy machine the load may stand still for half a second, the reign of a key: that one signs nothing.
    assert len(signed.intersection(activated)) >= ROTATIONS * 3 // 4


@pytest.mark.parametrize(("replica", "least"), [(1, 10), (2, 5)])
def test_a_replica_that_was_away_signs_like_the_others_from_its_first_token(run, replica, least):
    missed, tokens_before = run.back[replica]
    assert missed >= least
    since = [token for token in run.load.issued[tokens_before:] if token.server == replica]
    # That none is out of order, first of all the first one, was asked above of all of them.
    assert len(since) > 50
    order = reigns(run.events, since[0].algorithm)
    assert outside_their_reign(since[:1], order) == []


def test_a_key_that_is_not_published_is_refused_by_all(run):
    """Otherwise that nobody is refused would say nothing. After the counters were read."""
    token = next(issued.token for issued in run.load.issued if issued.algorithm == "ES256")
    claims = jwt.decode(token, options={"verify_signature": False}) | {"exp": int(time.time()) + LIFETIME}
    header = jwt.get_unverified_header(token) | {"kid": "unpublished"}
    forged = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", header)
    for verifier in run.verifiers:
        assert verifier.check(forged, claims["aud"], "ES256") is not None, verifier.name
    for verifier in run.verifiers[:2]:
        assert verifier.counted()["denied"] == 1


def test_a_lead_that_is_too_short_is_refused(run):
    environment = {**run.replicas.environment, "JETON_KEYS__PUBLISH_AHEAD": "3s", "JETON_LISTEN": "127.0.0.1:0"}
    ended = subprocess.run([JETON, "serve"], env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "keys.publish_ahead" in ended.stderr and "3s is too short" in ended.stderr
