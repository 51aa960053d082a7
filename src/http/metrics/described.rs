//! Every metric that there is.

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// Its name, without what a sample's name ends in (`_total`, `_bucket`, `_info`).
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What its name ends in then.
    pub(super) unit: Option<&'static str>,
    pub(super) labels: &'static [&'static str],
    /// What it says, as a sentence without its full stop.
    pub(super) help: &'static str,
}

/// What sort of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from the start of the process on.
    Counter,
    /// What is so now.
    Gauge,
    /// Values by their size.
    Histogram,
    /// Durations by their length.
    Durations,
    /// Always 1; the labels tell.
    Info,
}

/// Metrics that are about the same.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) metrics: &'static [&'static Metric],
}

// === impl Metric ===

impl Metric {
    /// Its name without the unit.
    pub(super) fn bare_name(&self) -> &'static str {
        let without = |unit: &str| self.name.strip_suffix(unit)?.strip_suffix('_');
        self.unit.and_then(without).unwrap_or(self.name)
    }
}

/// Declares metrics and the sections that they are in.
macro_rules! metrics {
    ($($title:literal { $($constant:ident = $name:literal, $kind:ident $(in $unit:literal)? [$($label:literal),*], $help:literal;)+ })+) => {
        $($(
            pub(super) static $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: metrics!(@unit $($unit)?),
                labels: &[$($label),*],
                help: $help,
            };
        )+)+

        /// All of them.
        pub(super) static SECTIONS: &[Section] = &[$(Section { title: $title, metrics: &[$(&$constant),+] }),+];
    };
    (@unit) => { None };
    (@unit $unit:literal) => { Some($unit) };
}

metrics! {
    "Requests" {
        REQUESTS = "jeton_requests", Counter ["endpoint", "outcome"],
            "Requests by what they ask for and what became of them: ok, an error code of OAuth, refused (another status from 400 on), fault (a status from 500 on: no verdict) or gone (whoever asked went away first)";
        REQUEST_DURATION = "jeton_request_duration_seconds", Durations in "seconds" ["endpoint"],
            "How long requests took from their header to their answer, whatever became of them; the API is one endpoint here";
        IN_FLIGHT = "jeton_requests_in_flight", Gauge [],
            "Requests that are being answered";
        TOKEN_REQUESTS = "jeton_token_requests", Counter ["grant_type", "auth_method", "outcome"],
            "Token requests by grant type, the client's authentication method and what was decided; other is what is no grant type here, none where no method could be told";
    }
    "Limits" {
        LIMITED = "jeton_client_authentications_limited", Counter ["limit"],
            "Attempts that were refused because too many authentications had failed";
        COSTLY_CHECKS = "jeton_costly_checks", Gauge [],
            "Costly checks of secrets that run or wait";
        COSTLY_TURNED_AWAY = "jeton_costly_checks_turned_away", Counter [],
            "Costly checks of secrets that were not made because too many waited";
    }
    "The ledger" {
        LEDGER_QUEUE = "jeton_ledger_queue_entries", Gauge in "entries" [],
            "Audit events, and identifiers that count once, that wait to be written";
        LEDGER_QUEUE_MAX = "jeton_ledger_queue_max_entries", Gauge in "entries" [],
            "How many may wait; what comes beyond is answered by 503";
        LEDGER_OLDEST = "jeton_ledger_oldest_entry_age_seconds", Gauge in "seconds" [],
            "How long the oldest entry has been on its way to the database, 0 when none is";
        LEDGER_BATCH_DURATION = "jeton_ledger_batch_duration_seconds", Durations in "seconds" [],
            "How long a batch took to become durable, or to fail";
        LEDGER_BATCH_ENTRIES = "jeton_ledger_batch_entries", Histogram in "entries" [],
            "How many entries a batch had";
        LEDGER_FAILED = "jeton_ledger_failed_batches", Counter [],
            "Batches that the database did not take; they went to the spool, or whoever waited for one was answered by 503";
    }
    "While the database is away" {
        OUTAGE = "jeton_outage", Gauge [],
            "Whether audit events go to the spool, because the database takes none: 1, else 0";
        SPOOL_EVENTS = "jeton_spool_events", Gauge [],
            "Audit events in the spool";
        SPOOL_BYTES = "jeton_spool_bytes", Gauge in "bytes" [],
            "Bytes of the spool that are in use";
        SPOOL_REPLAYED = "jeton_spool_replayed_events", Counter [],
            "Audit events written from the spool";
    }
    "Connections of callers" {
        OPEN = "jeton_connections", Gauge ["state"],
            "Open connections, by what they do: handshake, asking, busy or idle";
        OPEN_MAX = "jeton_connections_limit", Gauge [],
            "How many connections there may be";
        CLOSED = "jeton_connections_closed", Counter ["reason"],
            "Connections that the server closed, by why";
        TURNED_AWAY = "jeton_connections_refused", Counter ["limit"],
            "Connections that were refused, by the limit that they met with";
    }
    "What is in memory" {
        DIRECTORY_LOOKUPS = "jeton_directory_lookups", Counter ["result"],
            "Lookups of clients: remembered, remembered_unknown (that there is none), made_up (refused without asking the database) or asked (the database was)";
        DIRECTORY_CLIENTS = "jeton_directory_clients", Gauge [],
            "Clients in memory";
        DIRECTORY_CLIENTS_MAX = "jeton_directory_max_clients", Gauge [],
            "How many clients are kept in memory at most: directory.clients";
        DIRECTORY_HEARD = "jeton_directory_change_age_seconds", Gauge in "seconds" [],
            "How long ago it was last heard whether there are changes; from 10 seconds on only clients in memory get tokens, until outage.grace is over";
        SECRET_CHECKS = "jeton_secret_checks", Counter ["result"],
            "Checks of client secrets that could be right: remembered, or verified anew";
        SIGNATURE_CHECKS = "jeton_token_signature_checks", Counter ["result"],
            "Checks of signatures of tokens of this server: remembered, or verified anew";
        KEY_FETCHES = "jeton_remote_key_fetch_duration_seconds", Durations in "seconds" ["result"],
            "How long fetches of keys of clients and trusted issuers took, their wait for a turn among it, by what came of it: keys, none, or away (no answer)";
    }
    "Signing keys and credentials" {
        KEY_AGE = "jeton_signing_key_age_seconds", Gauge in "seconds" ["alg"],
            "How long the active signing key has signed";
        KEY_NEXT = "jeton_signing_key_next_rotation_seconds", Gauge in "seconds" ["alg"],
            "How long until the next signing key begins to sign";
        EXPIRING = "jeton_credentials_expiring", Gauge ["kind"],
            "How many credentials end within credentials.warn_before and have not been replaced, 10000 at most";
        EXPIRED = "jeton_credentials_expired", Gauge ["kind"],
            "How many credentials have ended and have neither been replaced nor removed, 10000 at most";
        LEGACY_AUDIENCES = "jeton_legacy_assertion_audiences", Counter [],
            "Client assertions that were accepted only because of legacy_assertion_audience";
    }
    "What is sent to a collector" {
        OTLP_SENT = "jeton_otlp_sent_records", Counter ["signal"],
            "Spans (traces) and log lines (logs) that the collector of otlp.endpoint has taken";
        OTLP_DROPPED = "jeton_otlp_dropped_records", Counter ["signal", "reason"],
            "Those that were dropped: queue_full (more came than could be sent) or not_taken (the collector refused them, or was away for a minute)";
    }
    "Database and clock" {
        CONNECTIONS = "jeton_database_connections", Gauge ["pool", "state"],
            "Open connections to the database: idle or in_use. PostgreSQL has the pool main, SQLite has readers and writers";
        CONNECTIONS_MAX = "jeton_database_max_connections", Gauge ["pool"],
            "How many connections a pool opens at most";
        CLOCK = "jeton_clock_ahead_seconds", Gauge in "seconds" [],
            "How far this machine's clock is ahead of the database's, beyond what can be told";
    }
    "The process" {
        BUILD = "jeton_build", Info ["version", "database"],
            "Which version this is, and on which database";
        RESIDENT = "process_resident_memory_bytes", Gauge in "bytes" [],
            "Memory that is in use";
        CPU = "process_cpu_seconds", Counter in "seconds" [],
            "How long the process has computed, on all cores together";
        OPEN_FILES = "process_open_fds", Gauge [],
            "Open file descriptors, connections among them";
        MAX_FILES = "process_max_fds", Gauge [],
            "How many file descriptors may be open";
        STARTED = "process_start_time_seconds", Gauge in "seconds" [],
            "When the process was started, in seconds since 1970";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_keep_the_conventions_of_openmetrics() {
        let all: Vec<_> = SECTIONS.iter().flat_map(|section| section.metrics).collect();
        let names: BTreeSet<_> = all.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all.len(), "a name is there once");
        for metric in all {
            let name = metric.name;
            assert!(name.starts_with("jeton_") || name.starts_with("process_"), "{name}");
            assert!(
                !["_total", "_count", "_sum", "_bucket", "_info", "_created"]
                    .iter()
                    .any(|end| name.ends_with(end)),
                "{name}: the encoder adds that"
            );
            assert!(
                metric.unit.is_none_or(|unit| metric.bare_name().len() + unit.len() + 1 == name.len()),
                "{name} ends in its unit"
            );
            assert_eq!(
                metric.kind == Kind::Durations,
                metric.kind == Kind::Durations && metric.unit == Some("seconds")
            );
            assert!(
                !metric.help.ends_with('.') && metric.help.starts_with(char::is_uppercase),
                "{}",
                metric.help
            );
        }
    }
}
