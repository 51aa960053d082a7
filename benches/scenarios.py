"""What scripts/bench measures. A scenario answers its results by the name of their row: one a round."""

import http.client
import json
import random
import secrets
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import load
import pages as administration
from authentication import proving
from federation import federated
from load import CONNECTIONS, WARM_UP_SECONDS, calibrate, full_speed, peak_rss_mib, progress, wrk
from servers import CLIENT_ID, NO_LIMITS, SUBJECTS, basic, first_token, passing_on, register, register_more, serving
from stores import add_clients, add_events, postgres, sqlite

SHARE, TOLERANCE = 0.7, 0.05  # of the highest throughput
PACED = ("jeton-sqlite", "jeton-postgres", "jeton-postgres-slow-disk")
ENGINES = {"jeton-sqlite": sqlite, "jeton-postgres": postgres}

ACTIVE = 1_000  # of the many clients, how many ask
FIRST = 5_000  # clients that ask for the first time
STARTS = 3  # cold starts a round
BYTES_PER_ROW = 1_500  # of disk, in a full audit table, generously
SLOW_PAGE_MS = 200  # a page that takes longer is told
MOST_ASSERTIONS = 16_000  # that a server could check in a second
FEW_CREDENTIALS, MANY_CREDENTIALS = 10, 10_000  # of one trusted issuer
MILLION = 1_000_000
SLOW = 10_000  # connections that are idle, drip or do not read
MOST_BESIDE_SLOW = 3  # times the quiet p99, for a client beside them
SLOW_SECONDS = 15  # until the first of them have met their limits
STEADY_RATE, STEADY_CONNECTIONS = 200, 16  # of the client beside the flood


@dataclass
class Bench:
    """A run: what was built, what was asked for, and the stores that scenarios share."""

    programs: dict
    seconds: int
    rounds: int
    clients: int
    rows: int
    only: list
    opened: ExitStack
    filled: dict = field(default_factory=dict)

    def among(self, names):
        return [name for name in names if not self.only or name in self.only]

    def in_turns(self, names):
        """Every name once a round. Another one starts each round, so that none always follows the same."""
        names = list(names)
        for number in range(self.rounds):
            first = number % len(names) if names else 0
            yield names[first:] + names[:first]


@contextmanager
def new_directory():
    with tempfile.TemporaryDirectory(prefix="jeton-bench-") as path:
        yield Path(path)


def note(results, name, result):
    results.setdefault(name, []).append(result)
    progress(f"{name:<32}", "  ".join(f"{column} {value:,.6g}" for column, value in result.items()))


def compare(results, reference, column):
    """Tokens per CPU-second as a ratio of the reference's in the same round."""
    for rounds in results.values():
        for result, other in zip(rounds, results[reference]):
            result[column] = result["tokens per CPU-second"] / other["tokens per CPU-second"]
    return results


# --- all servers, at full speed and below it ------------------------------------------------------------


def throughput(bench):
    names = [name for name in SUBJECTS if name == "bare" or name in bench.among(SUBJECTS)]
    results = {name: [] for name in names}
    for turn in bench.in_turns(names):
        for name in turn:
            with new_directory() as directory, SUBJECTS[name](bench.programs, directory) as server:
                answers = warm_up(server)
                result, answered = full_speed(server, bench.seconds)
                check_ledger(name, server, answers + answered)
                note(results, name, result)
    return compare(results, "bare", "of bare's")


def warm_up(server, **how):
    """Answers how many tokens it was."""
    load.check_answer(server)
    return wrk(server, WARM_UP_SECONDS, **how)["answers"] + 1


def check_ledger(name, server, answers):
    """Each token that was answered has its event. One more is asked for here."""
    load.check_answer(server)
    if not server.store:
        return
    patience = time.monotonic() + (1 if server.buffered else 0)
    by_kind = "SELECT COUNT(*) FILTER (WHERE kind = 'token_issued'), COUNT(*) FROM audit_events"
    by_kind += " WHERE kind LIKE 'token_%'"
    while True:
        issued, events = map(int, server.store.rows(by_kind)[0])
        # A request that wrk gave up at its end may be recorded too, so there can be a few more.
        if issued == events and 0 <= issued - answers - 1 <= 2 * CONNECTIONS:
            return
        if time.monotonic() >= patience:
            raise SystemExit(f"{name}: {answers + 1} tokens, but {issued} recorded, of {events} events")
        time.sleep(0.05)


def delegation(bench):
    """What a service asks beside client_credentials, on one server after the other: nothing else differs. About the
    same token each time, about another one each time, and about another one each time that another process issued."""
    results = {}
    for turn in bench.in_turns(bench.among(ENGINES)):
        for name in turn:
            with new_directory() as directory, passing_on(bench.programs, directory, ENGINES[name]) as (start, requests):
                own = None

                def measure(server, what, **request):
                    nonlocal own
                    # Tokens that are used once are fetched beforehand: for half the time they last on the fastest.
                    seconds = max(1, bench.seconds // 2) if "tokens" in request else bench.seconds
                    result, _ = full_speed(server, seconds, **request)
                    own = own or result["tokens per CPU-second"]
                    result["of client_credentials'"] = result["tokens per CPU-second"] / own
                    note(results, f"{name}, {what}", result)

                with start() as server:
                    token = first_token(server)
                    warm_up(server)
                    measure(server, "client_credentials")
                    for what, request in requests.items():
                        request = {**request, "body": request["body"].replace("{token}", token)}
                        wrk(server, WARM_UP_SECONDS, **request)
                        measure(server, what, **request)
                    for what, request in requests.items():
                        wrk(server, 2 * bench.seconds, keep=directory / what)
                        measure(server, f"{what}, another token each", tokens=directory / what, **request)
                    for what in requests:
                        wrk(server, 2 * bench.seconds, keep=directory / what)
                with start() as server:
                    warm_up(server)
                    for what, request in requests.items():
                        measure(server, f"{what}, another one of another process each", tokens=directory / what, **request)
    return results


def authentication(bench):
    """The same request by a client with a secret, with a key and with a certificate, on one server."""
    results = {}
    for turn in bench.in_turns(bench.among(ENGINES)):
        for name in turn:
            with new_directory() as directory, proving(bench.programs, directory, ENGINES[name]) as proved:
                server, ways, write_assertions = proved
                warm_up(server)
                first, over_tls = None, None
                for what, (place, request) in ways.items():
                    if "{token}" in request.get("body", ""):
                        key = request.pop("key")
                        # Making them takes longer than using them, so there are few to warm up.
                        for number, seconds in enumerate((1, bench.seconds)):
                            write_assertions(directory / f"assertions-{number}", seconds * MOST_ASSERTIONS, key)
                        wrk(place, 1, tokens=directory / "assertions-0", **request)
                        request["tokens"] = directory / "assertions-1"
                    else:
                        wrk(place, WARM_UP_SECONDS, **request)
                    result, _ = full_speed(place, bench.seconds, **request)
                    rate = result["tokens per CPU-second"]
                    first = first or rate
                    result["of client_secret_basic's"] = rate / first
                    if "tls" in request:
                        over_tls = over_tls or rate
                        result["of the same over TLS"] = rate / over_tls
                    note(results, f"{name}, {what}", result)
    return results


def federation(bench):
    """Tokens for workloads that only a token of their platform names, with few and with many credentials to look
    among. Each token is used once; the first use of each credential is not measured."""
    results = {}
    for turn in bench.in_turns(bench.among(ENGINES)):
        for name in turn:
            own = None
            for count in (FEW_CREDENTIALS, MANY_CREDENTIALS):
                with new_directory() as directory:
                    with federated(bench.programs, directory, ENGINES[name], count) as (server, request, write_tokens):
                        tokens = [directory / "first", directory / "measured"]
                        # A token costs here more than an assertion elsewhere, so half of those are enough.
                        warming = WARM_UP_SECONDS * 4  # long enough for each credential to be used
                        for path, seconds in zip(tokens, (warming, bench.seconds)):
                            write_tokens(path, max(count, seconds * MOST_ASSERTIONS // 2))
                        wrk(server, warming, tokens=tokens[0], **request)
                        result, answers = full_speed(server, bench.seconds, tokens=tokens[1], **request)
                own = own or result["tokens per CPU-second"]
                result |= {"answers": answers, "of few": result["tokens per CPU-second"] / own}
                note(results, f"{name}, one of {count:,} credentials", result)
    return results


def million(bench):
    """The same among many credentials until a million have got one, in one go."""
    results = {}
    for name in bench.among(ENGINES):
        with new_directory() as directory:
            with federated(bench.programs, directory, ENGINES[name], MANY_CREDENTIALS) as (server, request, write_tokens):
                tokens = [directory / "first", directory / "measured"]
                write_tokens(tokens[0], WARM_UP_SECONDS * 4 * MOST_ASSERTIONS // 2)
                rate = wrk(server, WARM_UP_SECONDS * 4, tokens=tokens[0], **request)["rate"]
                seconds = int(MILLION / rate * 1.1) + 1
                write_tokens(tokens[1], MILLION * 2)
                result, answers = full_speed(server, seconds, tokens=tokens[1], **request)
        if answers < MILLION:
            raise SystemExit(f"{name}: only {answers:,} tokens in {seconds} s")
        note(results, f"{name}, one of {MANY_CREDENTIALS:,} credentials", result | {"answers": answers})
    return results


def latency(bench):
    results = {}
    for turn in bench.in_turns(bench.among(PACED)):
        for name in turn:
            with new_directory() as directory, SUBJECTS[name](bench.programs, directory) as server:
                warm_up(server)
                load.checkpoint(server)
                calibration = calibrate()
                for _ in range(3):
                    highest = wrk(server, max(2, bench.seconds // 2))["rate"]
                    pace = find_pace(server, highest)
                    paced = wrk(server, bench.seconds, **pace)
                    if abs(paced["rate"] / highest - SHARE) <= TOLERANCE:
                        break
                note(results, name, {
                    "highest requests/s": highest, "requests/s": paced["rate"],
                    "of the highest": paced["rate"] / highest, "connections": pace["connections"],
                    "p50 ms": paced["p50"] / 1e3, "p99 ms": paced["p99"] / 1e3,
                    "peak RSS MiB": peak_rss_mib(server), **calibration,
                })
    return results


def find_pace(server, highest):
    """How long connections must wait between requests, and how many it takes, for SHARE of the highest throughput."""
    wanted, connections = SHARE * highest, CONNECTIONS
    # At first as if an answer took as long as at full speed.
    delay = 1e3 * connections * (1 / wanted - 1 / highest)
    for _ in range(5):
        rate = wrk(server, 2, connections=connections, delay_ms=delay)["rate"]
        if abs(rate / highest - SHARE) <= TOLERANCE / 2:
            break
        delay += 1e3 * connections * (1 / wanted - 1 / rate)
        if delay < 0:
            connections, delay = 2 * connections, 1e3 * connections / wanted
    return {"connections": connections, "delay_ms": delay}


# --- more clients, more events --------------------------------------------------------------------------


def store_of_clients(bench, name, count):
    """A store with this many clients. Answers its directory, the store, the Authorization headers of the client
    that each has, and of those that ask. They are spread over all."""
    if (name, count) not in bench.filled:
        directory = bench.opened.enter_context(new_directory())
        store = bench.opened.enter_context(ENGINES[name](directory))
        authorization = register(bench.programs, store)
        active = min(ACTIVE, count)
        digits = [f"c-{place * count // active:07}" for place in range(active)]
        with serving(bench.programs, directory, store, authorization) as server:
            load.check_answer(server)
            many = list(map(basic, digits, register_more(server, bench.programs, digits)))
        began = time.monotonic()
        add_clients(store, count, CLIENT_ID)
        present = int(store.rows("SELECT COUNT(*) FROM clients WHERE client_id LIKE 'c-%'")[0][0])
        if present != count:
            raise SystemExit(f"{name}: {present} clients instead of {count}")
        progress(f"{name}: {count:,} clients, in {time.monotonic() - began:.0f} s")
        bench.filled[name, count] = directory, store, authorization, many
    return bench.filled[name, count]


def clients(bench):
    results = {}
    for name in bench.among(ENGINES):
        few, most = 10, bench.clients
        with ExitStack() as running:
            def serve(count):
                directory, store, authorization, many = store_of_clients(bench, name, count)
                return running.enter_context(serving(bench.programs, directory, store, authorization)), many

            (small, asking), (large, many) = serve(few), serve(most)
            variants = {
                f"{name}, 10 of {few}": (small, asking),
                f"{name}, 10 of {most:,}": (large, many[:: max(1, len(many) // 10)][:10]),
                f"{name}, {len(many):,} of {most:,}": (large, many),
            }
            results |= side_by_side(bench, variants, f"{name}, 10 of {few}", "of 10 clients'")
    return results


def rows(bench):
    results = {}
    for name in bench.among(ENGINES):
        with ExitStack() as opened:
            space = shutil.disk_usage(tempfile.gettempdir()).free
            if space < bench.rows * BYTES_PER_ROW:
                raise SystemExit(f"{bench.rows:,} rows need {bench.rows * BYTES_PER_ROW >> 30} GiB in a temporary directory")

            def serve(count):
                directory = opened.enter_context(new_directory())
                store = opened.enter_context(ENGINES[name](directory))
                authorization = register(bench.programs, store)
                if count:
                    with serving(bench.programs, directory, store, authorization) as server:
                        load.check_answer(server)
                    began = time.monotonic()
                    add_events(store, count, CLIENT_ID)
                    progress(f"{name}: {count:,} events, in {time.monotonic() - began:.0f} s")
                return opened.enter_context(serving(bench.programs, directory, store, authorization))

            few, many = f"{name}, empty", f"{name}, {bench.rows:,} rows"
            full, empty = serve(bench.rows), serve(0)
            results |= side_by_side(bench, {few: (empty, None), many: (full, None)}, few, "of the empty one's")
    return results


def side_by_side(bench, variants, reference, column):
    """Servers that all run, measured in turns."""
    results = {name: [] for name in variants}
    for server, authorizations in variants.values():
        if authorizations:
            wrk(server, 60, authorizations=authorizations, once=1)
        warm_up(server, authorizations=authorizations)
    for turn in bench.in_turns(variants):
        for name in turn:
            server, authorizations = variants[name]
            result, _ = full_speed(server, bench.seconds, authorizations=authorizations)
            note(results, name, result)
    return compare(results, reference, column)


# --- the pages ------------------------------------------------------------------------------------------


def pages(bench):
    """Every page of administration, asked for by one person: one row a page, and a column for each engine."""
    results = {}
    for name in bench.among(ENGINES):
        with new_directory() as directory, ENGINES[name](directory) as store:
            authorization = register(bench.programs, store)
            administration.get_ready(bench.programs, store)
            with serving(bench.programs, directory, store, authorization) as server:
                administration.refuse_one(server)
            began = time.monotonic()
            administration.fill(store, bench.clients, bench.rows)
            progress(f"{name}: {bench.clients:,} clients, {bench.rows:,} events, in {time.monotonic() - began:.0f} s")
            with serving(bench.programs, directory, store, authorization) as server:
                load.check_answer(server)
                measured = {}
                administration.measure(bench.programs, server, bench.rounds,
                                       lambda page, took, _: measured.setdefault(page, []).append(took))
            for page, times in measured.items():
                if max(times) > SLOW_PAGE_MS:
                    progress(f"{name}: {page} took {max(times):,.0f} ms")
                rounds = results.setdefault(page, [{} for _ in times])
                for result, took in zip(rounds, times):
                    result[f"{name} ms"] = took
    return results


# --- starting -------------------------------------------------------------------------------------------


def cold_start(bench):
    results = {}
    stores = {name: store_of_clients(bench, name, bench.clients) for name in bench.among(ENGINES)}
    for number, turn in enumerate(bench.in_turns(list(stores) * STARTS)):
        for place, name in enumerate(turn):
            directory, store, authorization, many = stores[name]
            calibration = calibrate()
            began = time.perf_counter()
            with serving(bench.programs, directory, store, many[(number + place) % len(many)]) as server:
                until_first_token(server)
                took = (time.perf_counter() - began) * 1e3
                row = f"{name}, {bench.clients:,} clients"
                note(results, row, {"first token ms": took, "peak RSS MiB": peak_rss_mib(server), **calibration})
    return results


def until_first_token(server):
    headers = {"Authorization": server.authorization, "Content-Type": "application/x-www-form-urlencoded"}
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request("POST", "/oauth2/token", load.BODY, headers)
        except ConnectionRefusedError:
            if server.process.poll() is not None:
                raise SystemExit("the server does not start") from None
            time.sleep(0.0005)
            continue
        answer = connection.getresponse()
        if answer.status != 200 or b"access_token" not in answer.read():
            raise SystemExit(f"not a token: {answer.status}")
        return


def first_use(bench):
    results = {}
    for name in bench.among(ENGINES):
        count = min(FIRST, bench.clients)
        row = f"{name}, {count:,} clients"
        with new_directory() as directory, ENGINES[name](directory) as store:
            authorization = register(bench.programs, store)
            client_ids = [f"first-{number}" for number in range(count)]
            with serving(bench.programs, directory, store, authorization) as server:
                load.check_answer(server)
                first = list(map(basic, client_ids, register_more(server, bench.programs, client_ids)))
            store.settle()
            for _ in range(bench.rounds):
                with serving(bench.programs, directory, store, authorization) as server:
                    load.check_answer(server)
                    load.checkpoint(server)
                    calibration = calibrate()
                    before = load.cpu_seconds(server)
                    done = wrk(server, 60, authorizations=first, once=1)
                    note(results, row, {
                        "until all have one, s": done["us"] / 1e6,
                        "CPU-seconds": load.cpu_seconds(server) - before,
                        "peak RSS MiB": peak_rss_mib(server), **calibration,
                    })
    return results


# --- a flood of wrong secrets ---------------------------------------------------------------------------


def flood(bench):
    results = {}
    for name in bench.among(ENGINES):
        with new_directory() as directory, ENGINES[name](directory) as store:
            authorization = register(bench.programs, store)
            with serving(bench.programs, directory, store, authorization, NO_LIMITS) as server:
                load.check_answer(server)
                [generated] = register_more(server, bench.programs, ["flooded"])
                if with_checksum(generated[:-6]) != generated:
                    raise SystemExit("wrong secrets are not made as Jeton makes them")
                register_more(server, bench.programs, ["flooded-chosen"], chosen=secrets.token_urlsafe(32))
                warm_up(server)
                light = [basic("flooded", generated_secret()) for _ in range(20_000)]
                costly = [basic("flooded-chosen", secrets.token_urlsafe(32)) for _ in range(20_000)]
                variants = {
                    "one wrong secret": (light[:1], CONNECTIONS),
                    "different wrong secrets": (light, CONNECTIONS),
                    "different, 1,000 connections": (light, 1_000),
                    "different of chosen form": (costly, CONNECTIONS),
                }
                for _ in range(bench.rounds):
                    quiet = steady(server, bench.seconds)
                    note(results, f"{name}, quiet", quiet | {"of the quiet p99": 1})
                    for variant, (wrong, connections) in variants.items():
                        result = steady(server, bench.seconds, wrong, connections)
                        result["of the quiet p99"] = result["p99 ms"] / quiet["p99 ms"]
                        note(results, f"{name}, {variant}", result)
    return results


def steady(server, seconds, wrong=None, connections=0):
    """A client that asks at a modest rate, beside a flood of wrong secrets or not."""
    load.checkpoint(server)
    calibration = calibrate()
    pace = {"connections": STEADY_CONNECTIONS, "delay_ms": 1e3 * STEADY_CONNECTIONS / STEADY_RATE}
    refusals = {"refusals/s": 0, "not 401": 0}
    if wrong:
        with load.wrk_running(server, seconds + 2, authorizations=wrong, connections=connections, refused=1) as flood:
            time.sleep(1)
            result = wrk(server, seconds, **pace)
            refused = load.result_of(flood)
        if refused["non_2xx"] != refused["answers"]:
            raise SystemExit(f"a wrong secret got a token: {refused}")
        refusals = {"refusals/s": refused["answers"] / (refused["us"] / 1e6)}
        refusals["not 401"] = refused["answers"] - refused["refused"]
    else:
        result = wrk(server, seconds, **pace)
    return {"requests/s": result["rate"], "p50 ms": result["p50"] / 1e3, "p99 ms": result["p99"] / 1e3,
            "peak RSS MiB": peak_rss_mib(server), **refusals, **calibration}


# --- slow and idle connections --------------------------------------------------------------------------


def slow_connections(bench):
    """A client at a modest rate, quiet and beside ten thousand connections that are of no use."""
    results = {}
    for name in bench.among(ENGINES):
        with new_directory() as directory, ENGINES[name](directory) as store:
            authorization = register(bench.programs, store)
            with serving(bench.programs, directory, store, authorization) as server:
                load.check_answer(server)
                warm_up(server)
                for _ in range(bench.rounds):
                    quiet = steady(server, bench.seconds)
                    note(results, f"{name}, quiet", quiet | {"of the quiet p99": 1})
                    with crowd(server) as ended:
                        # Past the longest of the limits on slow ones, so that what they close is opened again.
                        time.sleep(SLOW_SECONDS)
                        beside = steady(server, bench.seconds)
                    beside["of the quiet p99"] = beside["p99 ms"] / quiet["p99 ms"]
                    note(results, f"{name}, {SLOW:,} slow ones", beside | ended)
    return results


def beyond(results, column, most):
    """What is more in the median of its rounds than it may be, in words."""
    medians = {name: statistics.median(each[column] for each in rounds) for name, rounds in results.items()}
    return [f"{name}: {median:.2f} {column}, at most {most} is allowed" for name, median in medians.items() if median > most]


@contextmanager
def crowd(server):
    """Connections of no use. What this answers tells in the end how many of them there were."""
    command = [sys.executable, str(Path(__file__).with_name("slow_connections.py")), str(server.port), str(SLOW)]
    process, ended = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), {}
    try:
        if process.stdout.readline() != "open\n":
            raise SystemExit("the slow connections could not be opened")
        yield ended
        process.terminate()
        told = json.loads(process.stdout.readline())
        progress("slow connections", json.dumps(told))
        ended |= {"open slow ones": told["open"], "closed slow ones": sum(told["ended"].values())}
    finally:
        process.kill()
        process.wait()


BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def generated_secret():
    """One of the form that Jeton generates, with the right checksum."""
    return with_checksum("jtn_" + "".join(random.choices(BASE62, k=43)))


def with_checksum(text):
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return text + digits
