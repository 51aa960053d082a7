"""The account itself: it must find what it is there to find."""

from account import backwards, outside_their_reign, reigns
from replicas import ORDERS, Issued


class Token(Issued):
    """One of which only the key matters."""

    kid = property(lambda self: self.token)


def token(kid, asked_at, answered_at):
    return Token(kid, ORDERS, 0, asked_at, answered_at)


def event(kind, kid, minute, activates):
    at = "2026-11-22T08:{:02}:00Z".format
    return {"kind": kind, "kid": kid, "algorithm": "ES256", "happened_at": at(minute), "activates_at": at(activates)}


def test_keys_sign_one_after_the_other_as_was_said_last():
    events = [event("key_created", "b", 1, 20), event("key_created", "a", 0, 2)]
    events += [event("key_scheduled", "b", 3, 10), event("key_removed", "a", 30, 2)]
    (first, second), (third, _) = reigns(events, "ES256").values()
    assert list(reigns(events, "ES256")) == ["a", "b"]
    assert (second - first, second) == (8 * 60, third)


def test_a_replica_that_signs_with_another_key_is_found():
    order = {"a": (0, 10), "b": (10, 20)}
    well = [token("a", 8, 9), token("a", 9, 11), token("b", 9, 11), token("b", 12, 13)]
    assert outside_their_reign(well, order) == []
    too_late, too_early = token("a", 10, 11), token("b", 8, 9)
    assert outside_their_reign([*well, too_late, too_early], order) == [too_late, too_early]


def test_two_keys_in_turn_are_found():
    order = {"a": (0, 10), "b": (10, 20)}
    # Overlapping requests say nothing about which was first.
    assert backwards([token("b", 10, 11), token("a", 9, 12)], order) == []
    again = token("a", 11.5, 12)
    assert backwards([token("b", 10, 11), token("a", 8, 9), again], order) == [again]
