//! What `jeton doctor` makes of keys, credentials, checkpoints and proxies: what ends, what should have been followed by
//! another, and who is believed.

use std::time::Duration;

use ipnet::IpNet;

use super::credential::CredentialKind;
use super::doctor::Line;
use super::rotation::{KeyState, RingKey, followed_at, state};
use super::schedule::{Schedule, Span};
use super::time::Timestamp;
use crate::jose::Algorithm;

/// How late the next key may be made: a server plans five times a second, and may have been away for a moment.
const LATE: Duration = Duration::from_hours(1);

/// How far the newest checkpoint may be behind: a server signs when nothing has come for five seconds.
const UNSIGNED: Duration = Duration::from_mins(2);

/// Who is believed about callers, and who ends TLS.
#[derive(Clone, Copy, Debug)]
pub struct ProxyFacts<'a> {
    /// `server.behind_tls_proxy`.
    pub behind: bool,
    /// Whether the server speaks TLS itself.
    pub tls: bool,
    /// Whether the issuer's URL is https.
    pub https: bool,
    /// `server.trusted_proxies`.
    pub trusted: &'a [IpNet],
}

/// Whether the key that signs is followed by another in time. Nothing, where none signs, or none is to follow.
#[must_use]
pub fn rotation(algorithm: Algorithm, keys: &[RingKey], schedule: &Schedule, now: Timestamp) -> Option<Line> {
    const CHECK: &str = "rotation";
    let in_state = |wanted| (0..keys.len()).find(|index| state(keys, *index, now) == wanted);
    let active = &keys[in_state(KeyState::Active)?];
    if let Some(next) = in_state(KeyState::Pending) {
        let at = keys[next].activates_at;
        return Some(Line::ok(CHECK, format!("{algorithm}: the next key is published, and signs from {at}")));
    }
    if active.leaves_at.is_some() {
        return None;
    }
    let (since, every) = (active.activates_at, Span(schedule.every()));
    let due = followed_at(active, schedule).minus(schedule.lead());
    if now > due.plus(LATE) {
        return Some(Line::wrong(
            CHECK,
            format!(
                "{algorithm}: its key signs since {since}, and the next one should be published since {due} \
                 (keys.rotate_every = {every}): a server that runs does that; start one, or look into its log"
            ),
        ));
    }
    Some(Line::ok(
        CHECK,
        format!("{algorithm}: its key signs since {since}; the next one is published at {due}"),
    ))
}

/// Whether the newest events of the audit are signed for: when the newest was recorded, and the newest that is under a
/// checkpoint.
#[must_use]
pub fn checkpoint(newest: Option<Timestamp>, signed: Option<Timestamp>, now: Timestamp) -> Option<Line> {
    const CHECK: &str = "checkpoint";
    let newest = newest?;
    let Some(signed) = signed else {
        let says = "no event is under a checkpoint yet: a server signs them while it runs, and when it stops";
        return Some(Line::advice(CHECK, says));
    };
    if newest > signed && now > newest.plus(UNSIGNED) {
        return Some(Line::advice(
            CHECK,
            format!(
                "the newest checkpoint is of {signed}, and events have come since: whoever wrote them was \
                 killed, or is away; start a server, and `jeton audit verify` names the chain that stays open"
            ),
        ));
    }
    Some(Line::ok(CHECK, format!("the newest checkpoint is of {signed}, and nothing is unsigned")))
}

/// Credentials of clients that end soon.
#[must_use]
pub fn credentials(soon: &[(CredentialKind, u64)]) -> Line {
    let ending: Vec<_> = soon.iter().filter(|(_, count)| *count > 0).collect();
    if ending.is_empty() {
        return Line::ok("credentials", "no secret, key, certificate or federated credential ends soon");
    }
    let counts: Vec<_> = ending.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    Line::advice(
        "credentials",
        format!("these end soon, by sort: {}; `jeton clients ending` lists them", counts.join(", ")),
    )
}

/// Whose word counts about where a caller comes from.
#[must_use]
pub fn proxies(facts: ProxyFacts<'_>) -> Line {
    const CHECK: &str = "proxies";
    let ProxyFacts { behind, tls, https, trusted } = facts;
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        let says = "server.trusted_proxies has everybody, so that each caller says itself where it comes from: name \
                    your proxies alone";
        return Line::wrong(CHECK, says);
    }
    match (trusted.is_empty(), tls, behind || https) {
        (true, false, true) => Line::advice(
            CHECK,
            "a proxy ends TLS, and server.trusted_proxies names none: all callers have the proxy's address, in limits, \
             allowed networks and the audit; name the proxy",
        ),
        (true, _, _) => Line::ok(CHECK, "none is trusted: callers have the address that they connect from"),
        (false, true, _) if behind => Line::advice(
            CHECK,
            "the server speaks TLS itself, so that server.behind_tls_proxy says nothing: take it away",
        ),
        (false, ..) => {
            Line::ok(CHECK, format!("{} trusted networks say where callers come from", trusted.len()))
        }
    }
}

/// Whether the keys of trusted issuers can be had: how many were asked, how many were left out, and who did not give any.
#[must_use]
pub fn issuer_keys(asked: usize, left_out: usize, problems: &[(String, String)]) -> Vec<Line> {
    const CHECK: &str = "trusted issuers";
    if problems.is_empty() {
        let rest = if left_out == 0 { String::new() } else { format!("; {left_out} more were not asked") };
        return vec![Line::ok(
            CHECK,
            format!("the keys of {asked} enabled issuers can be had from here{rest}"),
        )];
    }
    let told = problems.iter().map(|(name, problem)| {
        Line::wrong(
            CHECK,
            format!(
                "the keys of {name} cannot be had from here: {problem}. Its tokens count only while a server still has \
                 older ones; look at the network and `jeton trusted-issuers show {name}`, or disable it"
            ),
        )
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::super::doctor::State;
    use super::super::ids::KeyId;
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_334_400);
    const DAY: Duration = Duration::from_hours(24);

    fn key(generation: i64, activates_at: Timestamp) -> RingKey {
        RingKey {
            kid: KeyId::new(format!("key-{generation}")).unwrap(),
            generation,
            activates_at,
            leaves_at: None,
            revoked_at: None,
            longest_token: Duration::from_hours(1),
        }
    }

    #[test]
    fn a_key_that_should_have_been_followed_is_named() {
        let schedule = Schedule::usual(Duration::from_hours(1));
        let told = |keys: &[RingKey]| rotation(Algorithm::Es256, keys, &schedule, NOW).map(|line| line.state);
        let overdue = NOW.minus(schedule.every());
        assert_eq!(told(&[key(1, NOW.minus(DAY))]), Some(State::Ok));
        assert_eq!(told(&[key(1, overdue)]), Some(State::Wrong));
        assert_eq!(told(&[key(1, overdue), key(2, NOW.plus(DAY))]), Some(State::Ok), "the next one is there");
        let leaving = RingKey { leaves_at: Some(NOW.plus(DAY)), ..key(1, overdue) };
        assert_eq!(told(&[leaving]), None, "none is to follow");
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn events_are_signed_for_soon_after() {
        let minute = Duration::from_mins(1);
        let told = |newest, signed| checkpoint(newest, signed, NOW).map(|line| line.state);
        assert_eq!(told(None, None), None);
        assert_eq!(told(Some(NOW), None), Some(State::Advice));
        assert_eq!(told(Some(NOW.minus(DAY)), Some(NOW.minus(DAY))), Some(State::Ok));
        assert_eq!(told(Some(NOW.minus(minute)), Some(NOW.minus(DAY))), Some(State::Ok), "it is on its way");
        assert_eq!(told(Some(NOW.minus(5 * minute)), Some(NOW.minus(DAY))), Some(State::Advice));
    }

    #[test]
    fn every_sort_of_credential_counts() {
        let of = |count| [(CredentialKind::Secret, 0), (CredentialKind::Federated, count)];
        assert_eq!(credentials(&of(0)).state, State::Ok);
        let line = credentials(&of(2));
        assert_eq!(line.state, State::Advice);
        assert!(line.says.contains("federated 2") && !line.says.contains("secret 0"), "{}", line.says);
    }

    #[test]
    fn a_proxy_that_ends_tls_has_to_be_named_and_nobody_else() {
        let (none, one, everybody) =
            (vec![], vec!["10.0.0.0/8".parse().unwrap()], vec!["::/0".parse().unwrap()]);
        let told = |behind, tls, https, trusted: &Vec<IpNet>| {
            proxies(ProxyFacts { behind, tls, https, trusted }).state
        };
        assert_eq!(told(false, false, false, &none), State::Ok, "on a laptop");
        assert_eq!(told(false, true, true, &none), State::Ok, "it ends TLS itself");
        assert_eq!(told(true, false, true, &none), State::Advice);
        assert_eq!(told(false, false, true, &none), State::Advice, "behind one on this machine");
        assert_eq!(told(true, false, true, &one), State::Ok);
        assert_eq!(told(true, true, true, &one), State::Advice);
        assert_eq!(told(true, false, true, &everybody), State::Wrong);
    }

    #[test]
    fn an_issuer_whose_keys_cannot_be_had_is_named() {
        assert_eq!(issuer_keys(3, 0, &[])[0].state, State::Ok);
        assert!(issuer_keys(100, 7, &[])[0].says.contains("7 more were not asked"));
        let lines = issuer_keys(3, 0, &[("github".to_owned(), "no answer".to_owned())]);
        assert_eq!(lines[0].state, State::Wrong);
        assert!(lines[0].says.contains("github") && lines[0].says.contains("no answer"));
    }
}
