//! The rules of DESIGN §3, by example and by property.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::binding::TokenBinding;
use crate::domain::ids::{ResourceServerName, RoleUid};
use crate::domain::role::Role;

const NOW: Timestamp = Timestamp::from_seconds(1_000);
const HOUR: Duration = Duration::from_hours(1);

fn server_uid(n: u128) -> ResourceServerUid {
    ResourceServerUid(Uuid::from_u128(n))
}

fn role_uid(n: u128) -> RoleUid {
    RoleUid(Uuid::from_u128(n))
}

fn permission(text: &str) -> Permission {
    Permission::new(text).unwrap()
}

fn server(n: u128, permissions: &[&str]) -> ResourceServer {
    ResourceServer {
        uid: server_uid(n),
        name: ResourceServerName::new(format!("rs{n}")).unwrap(),
        identifier: Identifier::new(format!("https://rs{n}.example")).unwrap(),
        description: String::new(),
        permissions: permissions.iter().map(|p| (permission(p), String::new())).collect(),
        token_lifetime: Duration::from_mins(5),
        signing_algorithm: Algorithm::Es256,
        signing_algorithm_before: None,
        token_profile: TokenProfile::AccessToken,
        token_binding: TokenBinding::Optional,
        enabled: true,
        builtin: false,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn role(n: u128, permissions: &[(u128, &str)]) -> Role {
    Role {
        uid: role_uid(n),
        name: RoleName::new(format!("role{n}")).unwrap(),
        description: String::new(),
        permissions: permissions.iter().map(|(s, p)| (server_uid(*s), permission(p))).collect(),
        builtin: false,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// Two servers that both define `read`; role 1 gives `read` at the first only, role 2 at both.
fn catalog() -> Catalog {
    Catalog::new(
        vec![server(1, &["read", "a:write"]), server(2, &["read", "b:write"])],
        vec![role(1, &[(1, "read"), (1, "a:write")]), role(2, &[(1, "read"), (2, "read")])],
    )
}

fn ask(scope: &str, resources: &[u128]) -> Asked {
    Asked {
        scope: Scope::parse(Some(scope)).unwrap(),
        resources: resources.iter().map(|n| format!("https://rs{n}.example")).collect(),
        audiences: Vec::new(),
    }
}

fn try_for(catalog: &Catalog, roles: &[u128], asked: &Asked) -> Result<Decision, OAuthError> {
    let roles: Vec<_> = roles.iter().map(|n| role_uid(*n)).collect();
    let grantee = Grantee {
        holdings: catalog.holdings(&roles),
        default_resource_server: None,
        not_after: None,
        passed_on: false,
    };
    decide(catalog, &grantee, asked, HOUR, NOW)
}

fn refusal(roles: &[u128], asked: &Asked) -> ErrorCode {
    try_for(&catalog(), roles, asked).unwrap_err().code
}

#[test]
fn nothing_asked_gives_all_of_the_only_resource_server() {
    let decision = try_for(&catalog(), &[1], &ask("", &[])).unwrap();
    assert_eq!(decision.scope.to_string(), "a:write read");
    assert_eq!(decision.audience, [Identifier::new("https://rs1.example").unwrap()]);
    assert_eq!(decision.expires_at, NOW.plus(Duration::from_mins(5)));
}

#[test]
fn an_unknown_or_ungranted_scope_is_never_dropped() {
    assert_eq!(refusal(&[1], &ask("read nonsense", &[1])), ErrorCode::InvalidScope);
    assert_eq!(refusal(&[2], &ask("read a:write", &[1])), ErrorCode::InvalidScope);
}

#[test]
fn scopes_decide_the_audience_rfc9068_3() {
    let decision = try_for(&catalog(), &[1, 2], &ask("a:write", &[])).unwrap();
    assert_eq!(decision.audience, [Identifier::new("https://rs1.example").unwrap()]);
    assert_eq!(refusal(&[1, 2], &ask("read", &[])), ErrorCode::InvalidTarget, "both define it");
}

#[test]
fn scopes_of_different_resource_servers_are_refused_rfc9068_3() {
    let catalog =
        Catalog::new(vec![server(1, &["a"]), server(2, &["b"])], vec![role(1, &[(1, "a"), (2, "b")])]);
    let refused = try_for(&catalog, &[1], &ask("a b", &[])).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidScope);
    let both = try_for(&catalog, &[1], &ask("a b", &[1, 2])).unwrap();
    assert_eq!(both.audience.len(), 2);
}

#[test]
fn the_default_resource_server_breaks_the_tie() {
    let catalog = catalog();
    let grantee = Grantee {
        holdings: catalog.holdings(&[role_uid(2)]),
        default_resource_server: Some(server_uid(2)),
        not_after: None,
        passed_on: false,
    };
    for scope in ["", "read"] {
        let decision = decide(&catalog, &grantee, &ask(scope, &[]), HOUR, NOW).unwrap();
        assert_eq!(decision.audience, [Identifier::new("https://rs2.example").unwrap()]);
    }
}

#[test]
fn nothing_is_granted_across_resource_servers() {
    let catalog = Catalog::new(
        vec![server(1, &["read", "a"]), server(2, &["read", "b"])],
        vec![role(1, &[(1, "read"), (1, "a"), (2, "b")])],
    );
    let decision = try_for(&catalog, &[1], &ask("", &[1, 2])).unwrap();
    assert_eq!(decision.scope.to_string(), "a b", "`read` at the second was never given");
    assert_eq!(try_for(&catalog, &[1], &ask("read a b", &[1, 2])).unwrap_err().code, ErrorCode::InvalidScope);
}

#[test]
fn an_audience_where_nothing_is_allowed_is_refused() {
    assert_eq!(refusal(&[1], &ask("", &[1, 2])), ErrorCode::InvalidTarget);
    assert_eq!(refusal(&[1, 2], &ask("a:write", &[1, 2])), ErrorCode::InvalidTarget);
}

#[test]
fn unknown_disabled_and_ungranted_targets_read_the_same() {
    let mut off = server(3, &["read"]);
    off.enabled = false;
    let catalog = Catalog::new(
        vec![server(1, &["read"]), server(2, &["read"]), off],
        vec![role(1, &[(1, "read"), (3, "read")])],
    );
    let texts: BTreeSet<_> = [2, 3, 9]
        .map(|n| {
            let refused = try_for(&catalog, &[1], &ask("", &[n])).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidTarget);
            refused.public.replace(&format!("rs{n}"), "rs")
        })
        .into();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn resource_is_an_absolute_uri_and_audience_anything_rfc8707_2() {
    let mut cloud = server(1, &["assume"]);
    cloud.identifier = Identifier::new("sts.amazonaws.com").unwrap();
    let catalog = Catalog::new(vec![cloud], vec![role(1, &[(1, "assume")])]);
    let named = |resources: &[&str], audiences: &[&str]| Asked {
        scope: None,
        resources: resources.iter().map(ToString::to_string).collect(),
        audiences: audiences.iter().map(ToString::to_string).collect(),
    };
    assert!(try_for(&catalog, &[1], &named(&[], &["sts.amazonaws.com"])).is_ok());
    for bad in ["sts.amazonaws.com", "/relative", "https://rs1.example#part", "https://rs1.example/", ""] {
        let refused = try_for(&catalog, &[1], &named(&[bad], &[])).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidTarget, "{bad}");
    }
}

#[test]
fn one_token_has_one_shape() {
    let mut other = server(2, &["b"]);
    other.signing_algorithm = Algorithm::Rs256;
    let catalog = Catalog::new(vec![server(1, &["a"]), other], vec![role(1, &[(1, "a"), (2, "b")])]);
    assert_eq!(try_for(&catalog, &[1], &ask("", &[1, 2])).unwrap_err().code, ErrorCode::InvalidTarget);
    assert_eq!(try_for(&catalog, &[1], &ask("", &[2])).unwrap().algorithm, Algorithm::Rs256);
}

#[test]
fn only_contributing_roles_are_named() {
    let decision = try_for(&catalog(), &[1, 2], &ask("a:write", &[1])).unwrap();
    assert_eq!(decision.roles, [RoleName::new("role1").unwrap()]);
}

#[test]
fn a_token_never_outlives_what_stands_behind_it() {
    let catalog = catalog();
    let until_as = |end, passed_on| {
        let holdings = catalog.holdings(&[role_uid(1)]);
        let grantee = Grantee { holdings, default_resource_server: None, not_after: Some(end), passed_on };
        decide(&catalog, &grantee, &ask("", &[]), HOUR, NOW)
    };
    let until = |end| until_as(end, false);
    let soon = NOW.plus(Duration::from_secs(7));
    assert_eq!(until(soon).unwrap().expires_at, soon);
    let now = NOW.plus(Duration::from_millis(900));
    assert_eq!(until(now).unwrap_err().code, ErrorCode::InvalidClient);
    // A subject token that ends while its exchange is under way says nothing about the caller.
    assert_eq!(until_as(now, true).unwrap_err().code, ErrorCode::InvalidTarget);
    assert_eq!(until_as(soon, true).unwrap().expires_at, soon);
    let late = NOW.plus(Duration::from_mins(150));
    assert_eq!(until(late).unwrap().expires_at, NOW.plus(Duration::from_mins(5)));
}

const VALUES: [&str; 5] = ["p0", "p1", "p2", "p3", "p4"];

prop_compose! {
    /// Up to four resource servers with overlapping permissions, and up to five roles over them.
    fn registries()(
        servers in prop::collection::vec((prop::collection::btree_set(0_usize..5, 1..5), any::<bool>(), 1_u64..5_000), 1..4),
        picks in prop::collection::vec(prop::collection::vec((0_usize..4, 0_usize..5), 0..8), 1..5),
    ) -> (Vec<ResourceServer>, Vec<Role>) {
        let servers: Vec<_> = servers.into_iter().enumerate().map(|(n, (values, enabled, lifetime))| {
            let values: Vec<_> = values.into_iter().map(|v| VALUES[v]).collect();
            let mut made = server(n as u128, &values);
            made.enabled = enabled;
            made.token_lifetime = Duration::from_secs(lifetime);
            made
        }).collect();
        let roles = picks.into_iter().enumerate().map(|(n, picks)| {
            let defined: Vec<_> = picks.into_iter()
                .filter(|(s, v)| servers.get(*s).is_some_and(|server| server.permissions.contains_key(VALUES[*v])))
                .map(|(s, v)| (s as u128, VALUES[v]))
                .collect();
            role(n as u128, &defined)
        }).collect();
        (servers, roles)
    }
}

fn questions(named: usize) -> impl Strategy<Value = (Vec<usize>, Vec<u128>)> {
    (prop::collection::vec(0_usize..5, 0..4), prop::collection::vec(0_u128..4, named..3))
}

fn question((scope, resources): &(Vec<usize>, Vec<u128>)) -> Asked {
    let scope: Vec<_> = scope.iter().map(|v| VALUES[*v]).collect();
    ask(&scope.join(" "), resources)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_token_stays_within_asked_and_held(
        (servers, roles) in registries(),
        q in questions(0),
        end in prop::option::of(1_001_i64..9_000),
    ) {
        let asked = question(&q);
        let catalog = Catalog::new(servers.clone(), roles.clone());
        let all: Vec<_> = roles.iter().map(|role| role.uid).collect();
        let not_after = end.map(Timestamp::from_seconds);
        let grantee = Grantee { holdings: catalog.holdings(&all), default_resource_server: None, not_after, passed_on: false };
        let Ok(decision) = decide(&catalog, &grantee, &asked, HOUR, NOW) else { return Ok(()) };

        let held: BTreeMap<ResourceServerUid, BTreeSet<&Permission>> =
            roles.iter().flat_map(|role| &role.permissions).fold(BTreeMap::new(), |mut held, (server, value)| {
                held.entry(*server).or_default().insert(value);
                held
            });
        let targets: Vec<_> = servers.iter().filter(|s| decision.audience.contains(&s.identifier)).collect();
        prop_assert_eq!(targets.len(), decision.audience.len());
        prop_assert!(!decision.scope.is_empty());
        if let Some(scope) = &asked.scope {
            prop_assert_eq!(&decision.scope, scope, "all that was asked, and nothing else");
        }
        if !asked.resources.is_empty() {
            for identifier in &decision.audience {
                prop_assert!(asked.resources.iter().any(|asked| asked == identifier.as_str()));
            }
        }
        for target in &targets {
            prop_assert!(target.enabled);
            prop_assert!(decision.expires_at <= NOW.plus(target.token_lifetime));
            let held = held.get(&target.uid).cloned().unwrap_or_default();
            for value in decision.scope.iter().filter(|value| target.permissions.contains_key(*value)) {
                prop_assert!(held.contains(value), "{} at {}", value, target.name);
            }
            prop_assert!(held.iter().any(|value| decision.scope.contains(value.as_str())));
        }
        if let Some(end) = not_after {
            prop_assert!(decision.expires_at <= end);
        }
        for name in &decision.roles {
            let role = roles.iter().find(|role| &role.name == name).unwrap();
            let contributes = role.permissions.iter().any(|(server, value)| {
                targets.iter().any(|t| t.uid == *server) && decision.scope.contains(value.as_str())
            });
            prop_assert!(contributes, "{} gives nothing that was granted", name);
        }
    }

    #[test]
    fn taking_a_role_away_never_widens(
        (servers, roles) in registries(),
        // With named audiences: without any, fewer roles can make an ambiguous request clear.
        q in questions(1),
        gone in 0_usize..5,
    ) {
        let asked = question(&q);
        let catalog = Catalog::new(servers, roles.clone());
        let all: Vec<_> = roles.iter().map(|role| role.uid).collect();
        let fewer: Vec<_> = all.iter().copied().enumerate().filter(|(n, _)| *n != gone).map(|(_, uid)| uid).collect();
        let with = |roles: &[RoleUid]| {
            let grantee = Grantee { holdings: catalog.holdings(roles), default_resource_server: None, not_after: None, passed_on: false };
            decide(&catalog, &grantee, &asked, HOUR, NOW)
        };
        if let Ok(less) = with(&fewer) {
            let more = with(&all);
            prop_assert!(more.is_ok(), "{:?}", more);
            let more = more.unwrap();
            prop_assert!(less.scope.is_subset(&more.scope));
            prop_assert_eq!(less.audience, more.audience);
        }
    }
}
