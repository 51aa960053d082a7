"""The pages of administration with much behind them: what stands in the store, who asks, and for what."""

import base64
import hmac
import http.client
import re
import time
from pathlib import Path
from urllib.parse import urlencode

from load import check_answer, progress
from servers import CLIENT_ID, ask
from stores import DAY, add_clients, add_events, copy, name_of, take

SOURCE = Path(__file__).resolve().parent.parent / "src/http/pages"
HOUR = 3_600_000_000  # microseconds
ROLES, RESOURCE_SERVERS, RULES, TEAMS = 200, 100, 1_000, 50
BUSY = 2_000  # clients that ask in every hour
EDGES = 2_000  # who acts for whom, on every day
DEEP = 40  # how many pages further a deep page is
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
PASSWORD = "quiet heron violet ladder"

# Of whom and of what there is one, beside what is copied.
FIRST = [
    ["exchange-rules", "create", "rule-first", "--caller-client", "gate", "--subject-role", "order-reader"]
    + ["--resource-server", "orders", "--permission", "orders:read"],
    ["resource-servers", "operators", "add", "orders", "gate"],
]

# What stands for the parameters of a path.
NAMES = {"clients": "c-0000500", "roles": "role-0000007", "resource-servers": "orders", "exchange-rules": "rule-0000007",
         "administrators": "ada"}

# As the pages are asked beside without a query. The most that the database has to look through: what nothing fits.
QUERIES = [
    "/clients?q=c-0077",
    "/clients?q=service+number",
    "/clients?q=nothing-like-this",
    "/clients?kind=agent",
    "/clients?state=disabled",
    "/clients?owner=Team+7",
    "/clients?owner=Nobody",
    "/clients?label=team%3Dt7",
    "/clients?label=team%3Dnone",
    "/clients?q=number&kind=job&state=disabled&owner=Team+8&label=stage%3Dproduction",
    "/clients/c-0000500/try?scope=orders%3Aread",
    "/roles?q=role-00001",
    "/roles?q=nothing-like-this",
    "/resource-servers?q=nothing-like-this",
    "/exchange-rules?q=nothing-like-this",
    "/exchange-rules/dry-run?caller=gate&subject=c-0000500&audience=orders&resource_server=orders",
    "/delegations?client_id=c-0000007",
    "/audit?client_id=c-0000500",
    "/audit?client_id=nobody",
    "/audit?person=ada",
    "/audit?person=nobody",
    "/audit?client_id=c-0000500&outcome=refused",
    "/audit?client_id=c-0000500&kind=changed",
    "/audit?kind=token_issued",
    "/audit?kind=token_refused",
    "/audit?kind=changed",
    "/audit?kind=key_revoked",
    "/audit?outcome=refused",
    "/audit?outcome=refused&kind=token_issued",
    "/audit?from={ten_days_ago}&to={nine_days_ago}",
    "/audit?from={ten_days_ago}&outcome=refused&client_id=c-0000007",
    "/audit?to=2001-01-01T00%3A00",
    "/audit?jti={jti}",
    "/audit?jti=of-nobody",
    "/audit?txn={txn}",
    "/audit?txn=of-nobody",
]

# Lists whose later pages are asked for too.
LISTS = ["/clients", "/clients?label=stage%3Dproduction", "/roles", "/exchange-rules", "/audit", "/audit?client_id=c-0000500", "/audit?outcome=refused"]


def get_ready(programs, store):
    """What everything else is copied from, before a server starts."""
    ask(programs, store, "clients", "create", "gate", "--grant-type", "token-exchange")
    for arguments in FIRST:
        ask(programs, store, *arguments)


# --- filling -----------------------------------------------------------------------------------------


def fill(store, clients, events):
    """Everything that grows with an installation, and what the last weeks' events add up to."""
    add_clients(store, clients, CLIENT_ID)
    store.write(*registry(store), *statistics(store, clients))
    add_events(store, events, CLIENT_ID)
    store.write(*refusals(store, events // 100))
    store.settle()


def registry(store):
    """Roles, resource servers and rules as copies of the one that there is of each; clients with owners and labels."""
    number = "CAST(substr(client_id, 3) AS INTEGER)"
    owner, description = f"'Team ' || ({number} % {TEAMS})", f"'Service number ' || {number} || ' of the plant'"
    labels = f"'{{\"stage\":\"production\",\"team\":\"t' || ({number} % {TEAMS}) || '\"}}'"
    words = "'service', 'machine', 'job', 'agent'".split(", ")
    kind = f"CASE {number} % 4 " + " ".join(f"WHEN {place} THEN {word}" for place, word in enumerate(words)) + " END"
    statements = [
        f"UPDATE clients SET owner = {owner}, description = {description}, labels = CAST({labels} AS {store.JSON}), "
        f"kind = {kind}, enabled = ({number} % 20 <> 1), "
        f"search = lower(client_id || '\n' || {description} || '\n' || {owner}) WHERE client_id LIKE 'c-%'"
    ]

    def copies(table, name, prefix, count, more=()):
        changed = {"uid": store.UID, "name": f"'{prefix}-' || {store.digits('n', 7)}", **dict(more)}
        return [*take(table, f"name = '{name}'"), copy(table, store.columns(table), store.numbers(count), changed)]

    def parts(table, column, of, prefix, like):
        """The parts of the copied thing, for each copy."""
        source = f"(SELECT uid FROM {of} WHERE name LIKE '{prefix}-0%')"
        like = f"{column} = (SELECT uid FROM {of} WHERE name = '{like}')"
        return [*take(table, like), copy(table, store.columns(table), source, {column: "source.uid"})]

    identifier = {"identifier": f"'https://' || {store.digits('n', 7)} || '.example.com'"}
    statements += copies("resource_servers", "orders", "api", RESOURCE_SERVERS, identifier)
    statements += parts("permissions", "resource_server", "resource_servers", "api", "orders")
    statements += copies("roles", "order-reader", "role", ROLES) + parts("role_permissions", "role", "roles", "role", "order-reader")
    statements += copies("exchange_rules", "rule-first", "rule", RULES)
    statements += parts("exchange_rule_permissions", "rule", "exchange_rules", "rule", "rule-first")
    # Another role and another secret for each tenth client.
    tenth = f"(SELECT uid, {number} AS n FROM clients WHERE client_id LIKE 'c-%0')"
    role = f"(SELECT uid FROM roles WHERE name = 'role-' || {store.digits(f'source.n / 10 % {ROLES}', 7)})"
    statements += take("client_roles", "TRUE")
    statements += [copy("client_roles", store.columns("client_roles"), tenth, {"client": "source.uid", "role": role})]
    statements += take("client_secrets", "TRUE")
    second = {"client": "source.uid", "secret_id": "'second'"}
    return [*statements, copy("client_secrets", store.columns("client_secrets"), tenth, second)]


def statistics(store, clients):
    """Every client asks on every day, the busy ones in every hour, for as long as numbers are kept; exchanges too."""
    now = time.time_ns() // 1_000
    hour, day = now // HOUR * HOUR, now // DAY * DAY

    def rows(table, columns, count, *values):
        return f"INSERT INTO {table} ({columns}) SELECT {', '.join(values)} FROM {store.numbers(count)} AS source WHERE TRUE ON CONFLICT DO NOTHING"

    grant = f"CASE WHEN n % 3 = 0 THEN '{EXCHANGE}' ELSE 'client_credentials' END"
    outcomes = "CASE n % 4 WHEN 0 THEN 'invalid_client' WHEN 1 THEN 'invalid_scope' WHEN 2 THEN 'invalid_target' ELSE 'issued' END"
    issued = "'client_credentials', 'issued'"
    audience = f"'https://' || {store.digits(f'n % {RESOURCE_SERVERS}', 7)} || '.example.com'"
    return [
        rows("token_totals", "hour, grant_type, outcome, tokens", 400 * 24 * 12, f"{hour} - n / 12 * {HOUR}", grant, outcomes, "100 + n % 997"),
        rows("token_hours", "client_id, hour, grant_type, outcome, tokens", 14 * 24 * BUSY, name_of(store, f"n % {BUSY}"),
             f"{hour} - n / {BUSY} * {HOUR}", issued, "1 + n % 97"),
        rows("token_days", "day, client_id, grant_type, outcome, tokens", 31 * clients, f"{day} - n / {clients} * {DAY}",
             name_of(store, f"n % {clients}"), issued, "1 + n % 9973"),
        rows("audience_hours", "audience, hour, client_id, tokens", 3 * clients, "'https://orders.example.com'",
             f"{hour} - n / {clients} * {HOUR}", name_of(store, f"n % {clients}"), "1 + n % 97"),
        rows("delegations", "day, subject, actor, audience, exchanges, last_at", 31 * EDGES, f"{day} - n / {EDGES} * {DAY}",
             name_of(store, f"n % {EDGES}"), name_of(store, f"n % {EDGES} * 7 % 101"), audience, "1 + n % 997",
             f"{day} - n / {EDGES} * {DAY} + n"),
        f"INSERT INTO client_uses (client, last_token_at) SELECT uid, {now} FROM clients WHERE TRUE ON CONFLICT DO NOTHING",
        f"INSERT INTO secret_uses (client, secret_id, last_used_at) SELECT client, secret_id, {now} FROM client_secrets "
        "WHERE TRUE ON CONFLICT DO NOTHING",
    ]


def refusals(store, count):
    """Spread over the days that have events, like the first one."""
    today = time.time_ns() // 1_000 // DAY * DAY
    name = name_of(store, "n % 1000")
    event = f"replace(template.event, '\"{CLIENT_ID}\"', '\"' || {name} || '\"')"
    changed = {"writer": store.UID, "seq": "n + 1", "at": f"{today} - 1 - n * {30 * DAY // max(count, 1)}", "client_id": name,
               "prev": store.HASH, "hash": store.HASH, "event": event}
    kind = "kind = 'token_refused'"
    return [*take("audit_events", kind), copy("audit_events", store.columns("audit_events"), store.numbers(count), changed)]


def refuse_one(server):
    """So that there is a refusal to copy."""
    check_answer(server)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": server.authorization, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/oauth2/token", "grant_type=client_credentials&scope=orders:nothing", headers)
    if connection.getresponse().status != 400:
        raise SystemExit("that was to be refused")


# --- asking ------------------------------------------------------------------------------------------


class Administrator:
    """Somebody who is signed in, and asks for one page after the other."""

    def __init__(self, programs, server):
        self.cookie, self.connection = None, http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        name = NAMES["administrators"]
        link = ask(programs, server.store, "admin", "create", name, "--role", "administrator")["link"]
        link = link.split("link=")[1]
        self.form("/set-up", 303, link=link, name=name, password=PASSWORD, again=PASSWORD)
        page, _ = self.get("/second-factor")
        secret = re.search('name="secret" value="([^"]+)"', page)[1]
        self.form("/second-factor", 200, secret=secret, code=one_time_code(secret))

    def send(self, method, path, body=None):
        headers = {"Sec-Fetch-Site": "same-origin", "Cookie": self.cookie or ""}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        began = time.perf_counter()
        self.connection.request(method, f"/admin{path}", body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        took = (time.perf_counter() - began) * 1e3
        if cookie := answer.getheader("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        return answer.status, text, took

    def form(self, path, expected, **fields):
        status, text, _ = self.send("POST", path, urlencode(fields))
        if status != expected:
            raise SystemExit(f"{path}: {status} {text}")

    def get(self, path):
        """A page, and how many milliseconds it took."""
        status, text, took = self.send("GET", path)
        if status != 200:
            raise SystemExit(f"{path}: {status} {text[:2000]}")
        return text, took


def one_time_code(secret):
    """RFC 6238 as every authenticator has it."""
    counter = (int(time.time()) // 30).to_bytes(8, "big")
    mac = hmac.digest(base64.b32decode(secret + "=" * (-len(secret) % 8)), counter, "sha1")
    start = mac[-1] & 15
    return f"{(int.from_bytes(mac[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def paths(person, store):
    """Every page: those that the source has, those with a query, and deep ones. What each is called, and its path."""
    keys, _ = person.get("/signing-keys")
    client, _ = person.get(f"/clients/{NAMES['clients']}")
    parameters = {"kid": re.search("/signing-keys/([^/]+)/revoke", keys)[1], "secret_id": re.search("/secrets/([^/]+)/remove", client)[1],
                  "client_id": NAMES["clients"], "role": "order-reader"}
    found = []
    for file in sorted(SOURCE.rglob("*.rs")):
        # Signing in is before all this, and the others are no pages.
        if file.name in ("sign_in.rs", "single_sign_on.rs", "set_up.rs"):
            continue
        for path, methods in re.findall(r'\.route\("([^"]+)",([^;\n]+)', file.read_text()):
            # An export is as long as what it exports.
            if "get(" in methods and not path.startswith(("/assets", "/audit/export")):
                parameters["name"] = NAMES.get(path.split("/")[1], "none")
                found.append((path, re.sub(r"\{(\w+)\}", lambda name: parameters[name[1]], path)))
    if len(found) < 25:
        raise SystemExit(f"only {len(found)} pages were found")
    ago = lambda days: time.strftime("%Y-%m-%dT%H%%3A%M", time.gmtime(time.time() - days * 86_400))
    newest = "SELECT jti, txn FROM audit_events WHERE kind = 'token_issued' ORDER BY at DESC LIMIT 1"
    [(jti, txn)] = store.rows(newest)
    told = {"ten_days_ago": ago(10), "nine_days_ago": ago(9), "jti": jti, "txn": txn}
    found += [(query, query.format(**told)) for query in QUERIES]
    for path in LISTS:
        deep = path
        for _ in range(DEEP):
            page, _ = person.get(deep)
            if not (more := re.search(r'rel="next" href="([^"]*)"', page)):
                break
            deep = path.partition("?")[0] + more[1].replace("&amp;", "&").replace("&#38;", "&")
        if deep == path:
            progress(f"{path} has no further page: too few are there")
        else:
            found.append((f"{path}, a late page", deep))
    return found


def measure(programs, server, rounds, note):
    """Asks for every page as often as there are rounds, one after the other. What was read last time is asked last."""
    person = Administrator(programs, server)
    pages = paths(person, server.store)
    for _ in range(rounds):
        for name, path in pages:
            page, took = person.get("" if path == "/" else path)
            note(name, took, len(page))
    progress(f"{len(pages)} pages")
