"""What was seen of a fault, as a row of the table."""

import json
import re
import time
from dataclasses import asdict, dataclass, field

# How long everything must be well for it to count as recovered, and how long that may take.
WELL, RECOVERY = 2.0, 60.0

# How long what was spooled may take until it is in the audit.
REPLAY = 30.0


@dataclass
class Row:
    """One fault."""

    fault: str
    requests: int = 0
    tokens: int = 0
    during: int = 0
    unavailable: int = 0
    unanswered: int = 0
    refused: int = 0
    unrecorded: int = 0
    chains: int = 0
    recovery_ms: int = 0
    ready: str = ""
    notes: list = field(default_factory=list)
    # What must not be, in words.
    broken: list = field(default_factory=list)


COLUMNS = {
    "fault": "fault", "requests": "requests", "tokens": "tokens answered", "during": "of them during the fault",
    "unavailable": "503", "unanswered": "no answer", "refused": "wrongly refused", "unrecorded": "without audit event",
    "chains": "chains broken", "recovery_ms": "longest recovery ms", "ready": "/readyz", "notes": "notes",
}


def after(name, stage, times, expects_outage_mode):
    """Waits until all is well again, then counts."""
    since, began, lifted = times
    recovered = wait(stage.load, lifted, len(stage.replicas.servers))
    answers = [answer for answer in list(stage.load.answers) if answer.answered > began]
    of_tokens = [answer for answer in answers if answer.how != "introspect"]
    tokens = {answer.words for answer in of_tokens if answer.status == 200}
    unanswered = [answer for answer in answers if answer.status == 0]
    wrong = [answer for answer in answers if answer.status and not answer.right]
    row = Row(
        name,
        requests=len(answers),
        tokens=len(tokens),
        during=sum(answer.status == 200 and answer.answered < lifted for answer in of_tokens),
        unavailable=sum(answer.status == 503 for answer in answers),
        unanswered=len(unanswered),
        refused=len(wrong),
        unrecorded=len(missing(stage.replicas, tokens, since)),
        ready=ready(stage.load, began),
        notes=stage.notes,
        broken=list(stage.broken),
    )
    row.recovery_ms = round((recovered - lifted) * 1000) if recovered else -1
    row.broken += [f"replica {replica} {what}" for replica, what in unsettled(stage, lifted).items()]
    findings = stage.replicas.findings()
    row.chains = len(findings)
    row.broken += [f"{answer.how} at replica {answer.replica}: {answer.status} {answer.words}" for answer in wrong[:3]]
    if unanswered and not stage.takes_away:
        of = unanswered[0]
        row.broken.append(f"{len(unanswered)} requests had no answer, {of.how} at replica {of.replica} the first: {of.words}")
    if stage.loses:
        row.notes.append(f"verify: {findings[:1]}")
        if row.unrecorded and not findings:
            row.broken.append("the audit lacks events, and its check finds nothing")
        return row
    row.broken += findings[:3]
    if row.unrecorded:
        row.broken.append(f"{row.unrecorded} tokens were answered without an audit event")
    if not recovered:
        row.broken.append(f"it has not recovered in {RECOVERY:.0f} s")
    if not tokens:
        row.broken.append("there were no tokens at all")
    if expects_outage_mode:
        if not row.during:
            row.broken.append("there was no token during the fault, which the outage mode should have bridged")
        turned_away = [answer for answer in of_tokens if answer.how == "secret" and answer.status == 503]
        if turned_away:
            row.broken.append(f"{len(turned_away)} known clients with a secret were turned away within the grace: "
                              f"{turned_away[0].words}")
    return row


def at_the_end(stage):
    """After everything has stopped in order."""
    findings = stage.replicas.findings()
    return Row("(all stopped)", chains=len(findings), broken=[] if stage.loses else findings[:3])


def wait(load, lifted, replicas):
    """When the last failure was, once all has been well for a while at every replica; None when that does not come."""
    while (now := time.monotonic()) < lifted + RECOVERY:
        time.sleep(0.2)
        failures = [answer.answered for answer in reversed_since(load.answers, lifted) if answer.status != 200]
        failures += [probe[1] for probe in load.probes if probe[1] > lifted and probe[3] != 200]
        last = max([lifted, *failures])
        if now - last < WELL:
            continue
        recent = {(answer.replica, answer.how) for answer in reversed_since(load.answers, last) if answer.status == 200}
        ways = {answer.how for answer in load.answers[:500]}
        probed = {probe[2] for probe in load.probes if probe[1] > last and probe[3] == 200}
        if len(recent) >= replicas * len(ways) and len(probed) >= replicas:
            return last
    return None


def unsettled(stage, lifted):
    """The replicas that have not written everything into the database, also after a while, or have not said so."""
    deadline, replicas = time.monotonic() + REPLAY, range(len(stage.replicas.servers))
    while True:
        # What each has said last, of what was asked since.
        said = {replica: words for asked, _, replica, status, words in stage.load.probes if asked > lifted and status}
        left = {replica: "still keeps events in its spool" for replica in replicas if "outage" in said.get(replica, "")}
        left |= {replica: "was never probed since" for replica in replicas if replica not in said}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def reversed_since(answers, moment):
    """What was answered after a moment, newest first."""
    for answer in reversed(list(answers)):
        if answer.answered <= moment:
            return
        yield answer


def missing(replicas, tokens, since):
    """Tokens that the audit does not know, also after a while."""
    deadline = time.monotonic() + REPLAY
    # An event may be older than its answer, and by a clock that is read in another place.
    while unknown := tokens - replicas.recorded(since - 30):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return unknown


def ready(load, began):
    """What a balancer saw: each answer once, with how often it came."""
    seen = {}
    for asked, _, _, status, words in load.probes:
        if asked >= began:
            # Without the time until which something holds.
            key = re.sub(r" until \S+", "", f"{status} {words}".strip()) if status else "no answer"
            seen[key] = seen.get(key, 0) + 1
    return ", ".join(f"{words} ×{times}" for words, times in sorted(seen.items()))


def table(rows, seconds, path):
    """Prints the table, and what must not be."""
    print("| " + " | ".join(COLUMNS.values()) + " |")
    print("|---|" + "---:|" * 9 + "---|---|")
    for row in rows:
        values = [getattr(row, name) for name in COLUMNS]
        print("| " + " | ".join("; ".join(value) if isinstance(value, list) else f"{value}" for value in values) + " |")
    print(f"\n{len(rows)} rows in {seconds:.0f} s")
    for row in rows:
        for words in row.broken:
            print(f"BROKEN: {row.fault}: {words}")
    if path:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def broken(rows):
    return any(row.broken for row in rows)
