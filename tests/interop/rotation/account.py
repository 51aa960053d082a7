"""Which key signed when, by Jeton's audit, and whether the tokens agree with it."""

from datetime import datetime

LATER = float("inf")


def reigns(events, algorithm):
    """From when to when each key signs, in order: `{kid: (from, until)}`, in seconds."""
    begins = {}
    for event in events:
        if event["kind"] in ("key_created", "key_scheduled") and event["algorithm"] == algorithm:
            happened_at = datetime.fromisoformat(event["happened_at"])
            begins.setdefault(event["kid"], []).append((happened_at, datetime.fromisoformat(event["activates_at"])))
    # What was said last of a key counts.
    begins = {kid: max(said)[1].timestamp() for kid, said in begins.items()}
    in_order = sorted(begins, key=begins.get)
    ends = [*(begins[kid] for kid in in_order[1:]), LATER]
    return {kid: (begins[kid], end) for kid, end in zip(in_order, ends, strict=False)}


def outside_their_reign(issued, reigns):
    """The tokens whose key was not the one that signs at any moment between question and answer. If there are none,
    all replicas signed with the same key at any moment."""
    return [
        token
        for token in issued
        if token.answered_at < reigns[token.kid][0] or token.asked_at >= reigns[token.kid][1]
    ]


def backwards(issued, reigns):
    """The tokens that were asked for when a later key had already been seen to sign. It needs no clock: only the
    order of the keys."""
    place = {kid: index for index, kid in enumerate(reigns)}
    answers = sorted(issued, key=lambda token: token.answered_at)
    found, newest, next_answer = [], -1, 0
    for token in sorted(issued, key=lambda token: token.asked_at):
        while answers[next_answer].answered_at < token.asked_at:
            newest = max(newest, place[answers[next_answer].kid])
            next_answer += 1
        if place[token.kid] < newest:
            found.append(token)
    return found
