//! What `jeton doctor` makes of the facts that it has gathered: each check is a pure function, and says that all is
//! well or what to do.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::schedule::Span;
use super::time::Timestamp;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Advice,
    /// It could not be found out.
    Unknown,
    /// It does not work, or will not for long.
    Wrong,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at.
    pub check: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, and what to do.
    pub says: String,
}

/// A setting of PostgreSQL, as it is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresFacts {
    /// `server_version_num`.
    pub version: u32,
    /// `synchronous_commit`.
    pub synchronous_commit: String,
    /// `fsync`.
    pub fsync: String,
    /// `full_page_writes`.
    pub full_page_writes: String,
    /// `max_connections`.
    pub max_connections: u32,
    /// Whether it is a standby, which takes no writes.
    pub standby: bool,
    /// Whether something in between gives several connections one of its processes, as `PgBouncer` does in transaction
    /// mode.
    pub pooled: bool,
}

/// What a verifier gets from the issuer's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedFacts {
    /// The `issuer` that the metadata name.
    pub issuer: Option<String>,
    /// Where the metadata say that the keys are.
    pub jwks_uri: Option<String>,
    /// The identifiers of the keys there.
    pub kids: BTreeSet<String>,
    /// The `max-age` that they come with.
    pub max_age: Option<Duration>,
    /// When the certificate ends that was shown for them, if they came over TLS.
    pub certificate_ends: Option<Timestamp>,
}

impl Line {
    /// As it should be.
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Ok, says: says.into() }
    }

    /// It works, and could be better.
    pub fn advice(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Advice, says: says.into() }
    }

    /// It could not be found out.
    pub fn unknown(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Unknown, says: says.into() }
    }

    /// It does not work, or will not for long.
    pub fn wrong(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Wrong, says: says.into() }
    }

    /// The database did not answer, or not as it should.
    pub fn unanswered(check: &'static str, error: &impl Display) -> Self {
        let says = format!(
            "{error}: do first what `database` and `schema` say; if they are ok, look at the database's log; then run \
             `jeton doctor` again"
        );
        Self::unknown(check, says)
    }
}

/// What the command ends with: 1 when something is wrong, 2 when something could not be found out, else 0.
#[must_use]
pub fn exit_code(lines: &[Line]) -> u8 {
    let worst = lines.iter().map(|line| line.state).max();
    match worst {
        Some(State::Wrong) => 1,
        Some(State::Unknown) => 2,
        _ => 0,
    }
}

/// This machine's clock against the database's.
#[must_use]
pub fn clock(ours: Timestamp, theirs: Timestamp, tolerance: Duration) -> Line {
    let off = Duration::from_micros((ours.as_micros() - theirs.as_micros()).unsigned_abs());
    let says = format!("this machine's clock is {} off the database's", Span(off));
    if off > tolerance {
        return Line::wrong(
            "clock",
            format!(
                "{says}, more than {} (keys.clock_tolerance): set it right, with chrony for example",
                Span(tolerance)
            ),
        );
    }
    Line::ok("clock", says)
}

/// Whether the tables are those of this version: the migration that was applied, the one that it knows, and the one
/// that a program must know to run on them.
#[must_use]
pub fn schema((applied, known, oldest): (i64, i64, Option<i64>)) -> Line {
    match applied.cmp(&known) {
        std::cmp::Ordering::Equal => Line::ok("schema", format!("the schema is {applied}")),
        std::cmp::Ordering::Less => Line::advice(
            "schema",
            format!(
                "the schema is {applied}, this Jeton's {known}: take a backup; the next start or `jeton migrate` \
                 migrates"
            ),
        ),
        std::cmp::Ordering::Greater if oldest.is_some_and(|oldest| oldest <= known) => Line::advice(
            "schema",
            format!("the schema is {applied}, newer than this Jeton's {known}, and left usable for it"),
        ),
        std::cmp::Ordering::Greater => Line::wrong(
            "schema",
            format!("the schema is {applied}, and this Jeton knows {known}: run the newer Jeton"),
        ),
    }
}

/// The settings of PostgreSQL.
#[must_use]
pub fn postgres(facts: &PostgresFacts, pool: u32) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, value, lost) in [
        ("synchronous_commit", &facts.synchronous_commit, "tokens leave whose events a crash loses"),
        ("fsync", &facts.fsync, "a crash can lose everything"),
        ("full_page_writes", &facts.full_page_writes, "a crash can damage pages"),
    ] {
        if value == "off" {
            lines.push(Line::wrong("postgresql", format!("{name} = off: {lost}; set it to on")));
        }
    }
    if facts.standby {
        let says = "it is a standby and takes no writes: name the primary in database_url";
        lines.push(Line::wrong("postgresql", says));
    }
    let replicas = facts.max_connections / pool.max(1);
    if replicas < 2 {
        lines.push(Line::advice(
            "postgresql",
            format!(
                "max_connections = {} has room for {replicas} replica with database_max_connections = {pool}: raise \
                 the one or lower the other before there are more",
                facts.max_connections
            ),
        ));
    }
    if lines.is_empty() {
        let version = facts.version / 10_000;
        lines.push(Line::ok(
            "postgresql",
            format!(
                "version {version}, commits are durable, room for {replicas} replicas of {pool} connections"
            ),
        ));
    }
    lines.push(Line::ok(
        "pooler",
        if facts.pooled {
            "a pooler hands on transactions and knows prepared statements; changes are heard of by asking, within a \
             second (docs/scaling.md#pgbouncer)"
        } else {
            "each connection has a process of PostgreSQL's own"
        },
    ));
    lines
}

/// What a verifier gets, against what the database has and the configuration says.
#[must_use]
pub fn published(
    issuer: &str,
    facts: &PublishedFacts,
    stored: Option<&BTreeSet<String>>,
    cache: Duration,
) -> Vec<Line> {
    const CHECK: &str = "issuer";
    match facts.issuer.as_deref() {
        Some(named) if named == issuer => {}
        named => {
            return vec![Line::wrong(
                CHECK,
                format!(
                    "{issuer} answers for the issuer '{}': verifiers compare character by character, so set \
                     JETON_ISSUER to what they use, or send the name to this server",
                    named.unwrap_or("none")
                ),
            )];
        }
    }
    let mut lines = vec![Line::ok(CHECK, format!("{issuer} answers for itself"))];
    if !facts.jwks_uri.as_deref().is_some_and(|uri| uri.starts_with(issuer)) {
        lines.push(Line::wrong(CHECK, "its jwks_uri is elsewhere: something rewrites the metadata"));
    }
    match facts.max_age {
        Some(age) if age > cache => lines.push(Line::wrong(
            "keys",
            format!(
                "the key set comes with max-age {}, longer than {} (keys.verifier_cache): something between here and \
                 verifiers replaces Cache-Control; mend that, or raise keys.verifier_cache",
                Span(age),
                Span(cache)
            ),
        )),
        Some(_) => {}
        None => lines.push(Line::advice(
            "keys",
            "the key set comes without max-age: something between here and verifiers takes Cache-Control away",
        )),
    }
    if let Some(stored) = stored {
        let missing: Vec<_> = stored.difference(&facts.kids).cloned().collect();
        let foreign: Vec<_> = facts.kids.difference(stored).cloned().collect();
        if missing.is_empty() && foreign.is_empty() {
            lines.push(Line::ok("keys", format!("the {} published keys are the database's", stored.len())));
        } else {
            lines.push(Line::wrong(
                "keys",
                format!(
                    "the key set at {issuer} is not the database's (missing: {}; others: {}): a shared cache is too \
                     old, or another installation answers there",
                    list(&missing),
                    list(&foreign)
                ),
            ));
        }
    }
    lines
}

fn list(kids: &[String]) -> String {
    if kids.is_empty() { "none".to_owned() } else { kids.join(", ") }
}

/// When something of TLS stops counting: a file, or the certificate that somebody shows.
#[must_use]
pub fn end(what: &str, end: Timestamp, now: Timestamp) -> Line {
    const SOON: Duration = Duration::from_hours(24 * 14);
    if end <= now {
        Line::wrong("tls", format!("{what} has ended at {end}: put a newer one there"))
    } else if end <= now.plus(SOON) {
        Line::advice("tls", format!("{what} ends at {end}: put a newer one there before"))
    } else {
        Line::ok("tls", format!("{what} counts until {end}"))
    }
}

/// Who may look into a place that holds secrets.
#[must_use]
pub fn mode(path: &str, mode: u32, directory: bool) -> Line {
    let open = if directory { mode & 0o007 } else { mode & 0o027 };
    if open == 0 {
        return Line::ok("files", format!("{path} is private"));
    }
    let right = if directory { "700" } else { "600" };
    Line::wrong("files", format!("{path} has mode {:04o}: run `chmod {right} {path}`", mode & 0o7777))
}

/// Room on the disk with the data.
#[must_use]
pub fn room(path: &str, free: u64) -> Line {
    const LEAST: u64 = 200 * 1024 * 1024;
    const LITTLE: u64 = 2 * 1024 * 1024 * 1024;
    let says = format!("{} MiB are free at {path}", free / (1024 * 1024));
    match free {
        ..LEAST => Line::wrong("disk", format!("{says}: make room; with a full disk no token is issued")),
        LEAST..LITTLE => Line::advice("disk", format!("{says}: make room, or lower audit.retention")),
        _ => Line::ok("disk", says),
    }
}

/// How many descriptors a process may have, if there is a limit.
#[must_use]
pub fn descriptors(most: Option<u64>) -> Line {
    const LEAST: u64 = 4_096;
    let Some(most) = most else {
        return Line::ok("descriptors", "a process of this user may open any number of files");
    };
    if most < LEAST {
        let says = format!(
            "a process of this user may open {most} files, and each connection is one: set LimitNOFILE (systemd) or \
             ulimits to 65536"
        );
        return Line::advice("descriptors", says);
    }
    Line::ok("descriptors", format!("a process of this user may open {most} files"))
}

/// Whether metrics, which anybody may scrape, are told outside of this machine.
#[must_use]
pub fn metrics(listen: Option<SocketAddr>) -> Line {
    match listen {
        Some(address) if !address.ip().is_loopback() => Line::advice(
            "metrics",
            format!("metrics are told to whoever reaches {address}: let a firewall allow your scraper alone"),
        ),
        _ => Line::ok("metrics", "metrics are told on this machine, or not at all"),
    }
}

/// The newest event of the audit.
#[must_use]
pub fn audit(newest: Option<Timestamp>, now: Timestamp, tolerance: Duration) -> Line {
    match newest {
        None => Line::advice("audit", "nothing was ever recorded: is it the right database?"),
        Some(at) if at > now.plus(tolerance) => Line::wrong(
            "audit",
            format!("the newest event is of {at}, and now it is {now}: a clock was wrong"),
        ),
        Some(at) => {
            Line::ok("audit", format!("the newest event is of {at}; `jeton audit verify` checks them"))
        }
    }
}

/// People who sign in with a password alone.
#[must_use]
pub fn administrators(without: &[String]) -> Line {
    if without.is_empty() {
        return Line::ok("administrators", "everybody who has a password has a second factor");
    }
    let says = format!("without a second factor: {}; they set one up at /admin/account", without.join(", "));
    Line::advice("administrators", says)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_334_400);
    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn what_is_wrong_counts_more_than_what_is_not_known() {
        let (ok, advice) = (Line::ok("a", ""), Line::advice("a", ""));
        let (unknown, wrong) = (Line::unknown("a", ""), Line::wrong("a", ""));
        assert_eq!(exit_code(&[ok.clone(), advice.clone()]), 0);
        assert_eq!(exit_code(&[ok, unknown.clone(), advice]), 2);
        assert_eq!(exit_code(&[unknown, wrong]), 1);
    }

    #[test]
    fn a_clock_may_be_off_by_the_tolerance_either_way() {
        for (theirs, state) in [
            (NOW.plus(MINUTE), State::Ok),
            (NOW.minus(MINUTE), State::Ok),
            (NOW.plus(2 * MINUTE), State::Wrong),
            (NOW.minus(2 * MINUTE), State::Wrong),
        ] {
            assert_eq!(clock(NOW, theirs, MINUTE).state, state, "{theirs}");
        }
    }

    #[test]
    fn a_newer_schema_is_wrong_and_an_older_one_is_migrated() {
        for (facts, state) in [
            ((15, 15, None), State::Ok),
            ((14, 15, None), State::Advice),
            ((16, 15, None), State::Wrong),
            ((16, 15, Some(16)), State::Wrong),
            ((16, 15, Some(15)), State::Advice),
        ] {
            assert_eq!(schema(facts).state, state, "{facts:?}");
        }
    }

    #[test]
    fn a_postgres_that_can_lose_commits_is_wrong() {
        let on = || "on".to_owned();
        let good = PostgresFacts {
            version: 150_018,
            synchronous_commit: on(),
            fsync: on(),
            full_page_writes: on(),
            max_connections: 100,
            standby: false,
            pooled: false,
        };
        assert_eq!(postgres(&good, 10)[0].state, State::Ok);
        for bad in [
            PostgresFacts { synchronous_commit: "off".to_owned(), ..good.clone() },
            PostgresFacts { fsync: "off".to_owned(), ..good.clone() },
            PostgresFacts { full_page_writes: "off".to_owned(), ..good.clone() },
            PostgresFacts { standby: true, ..good.clone() },
        ] {
            assert_eq!(postgres(&bad, 10)[0].state, State::Wrong, "{bad:?}");
        }
        assert_eq!(postgres(&good, 80)[0].state, State::Advice);
        let says = |pooled| postgres(&PostgresFacts { pooled, ..good.clone() }, 10)[1].says.clone();
        assert!(says(true).contains("pooler") && !says(false).contains("pooler"));
    }

    #[test]
    fn a_verifier_has_to_get_the_issuer_the_keys_and_a_time_that_fits() {
        const ISSUER: &str = "https://id.example";
        let kids = BTreeSet::from(["a".to_owned()]);
        let good = PublishedFacts {
            issuer: Some(ISSUER.to_owned()),
            jwks_uri: Some(format!("{ISSUER}/.well-known/jwks.json")),
            kids: kids.clone(),
            max_age: Some(MINUTE),
            certificate_ends: None,
        };
        let worst = |facts: &PublishedFacts| {
            published(ISSUER, facts, Some(&kids), MINUTE).iter().map(|line| line.state).max()
        };
        assert_eq!(worst(&good), Some(State::Ok));
        let other = Some("https://other.example".to_owned());
        for bad in [
            PublishedFacts { issuer: other.clone(), ..good.clone() },
            PublishedFacts { issuer: None, ..good.clone() },
            PublishedFacts { jwks_uri: other, ..good.clone() },
            PublishedFacts { kids: BTreeSet::from(["b".to_owned()]), ..good.clone() },
            PublishedFacts { max_age: Some(2 * MINUTE), ..good.clone() },
        ] {
            assert_eq!(worst(&bad), Some(State::Wrong), "{bad:?}");
        }
        assert_eq!(worst(&PublishedFacts { max_age: None, ..good }), Some(State::Advice));
    }

    #[test]
    fn files_end_and_are_private() {
        assert_eq!(end("a", NOW, NOW).state, State::Wrong);
        assert_eq!(end("a", NOW.plus(MINUTE), NOW).state, State::Advice);
        assert_eq!(end("a", NOW.plus(Duration::from_hours(24 * 30)), NOW).state, State::Ok);
        assert_eq!(mode("a", 0o10_0600, false).state, State::Ok);
        assert_eq!(mode("a", 0o10_0640, false).state, State::Ok, "a group may read what is root's");
        assert_eq!(mode("a", 0o10_0644, false).state, State::Wrong);
        assert_eq!(mode("a", 0o4_0755, true).state, State::Wrong);
        assert_eq!(mode("a", 0o4_0750, true).state, State::Ok);
    }

    #[test]
    fn rooms_limits_and_listeners() {
        assert_eq!(room("/", 0).state, State::Wrong);
        assert_eq!(room("/", 1 << 30).state, State::Advice);
        assert_eq!(room("/", 1 << 40).state, State::Ok);
        assert_eq!(descriptors(Some(1_024)).state, State::Advice);
        assert_eq!(descriptors(Some(65_536)).state, State::Ok);
        assert_eq!(descriptors(None).state, State::Ok);
        assert_eq!(metrics(Some(([0, 0, 0, 0], 9_464).into())).state, State::Advice);
        assert_eq!(metrics(Some(([127, 0, 0, 1], 9_464).into())).state, State::Ok);
        assert_eq!(audit(Some(NOW.plus(2 * MINUTE)), NOW, MINUTE).state, State::Wrong);
        assert_eq!(audit(Some(NOW), NOW, MINUTE).state, State::Ok);
        assert_eq!(audit(None, NOW, MINUTE).state, State::Advice);
        assert_eq!(administrators(&["ada".to_owned()]).state, State::Advice);
    }
}
