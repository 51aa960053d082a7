use std::collections::BTreeSet;
use std::time::Duration;

use super::bundle_files::LOOK;
use super::*;
use crate::domain::ids::TrustedIssuerName;
use crate::domain::outside::Outside;
use crate::domain::time::Timestamp;
use crate::domain::trust::Reuse;
use crate::runtime::clock::{ManualClock, SystemEntropy};
use crate::runtime::remote_keys::Patience;

const KEY: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

fn set(kid: &str) -> String {
    format!(r#"{{"keys":[{{{KEY},"kid":"{kid}"}}]}}"#)
}

fn bundle(kid: &str) -> String {
    format!(r#"{{"keys":[{{{KEY},"kid":"{kid}","use":"jwt-svid"}}],"spiffe_sequence":3}}"#)
}

fn issuer_keys(bundles: Option<PathBuf>) -> IssuerKeys {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000_000)));
    let ambient = Ambient::new(clock, Arc::new(SystemEntropy));
    let patience = Patience { stale_for: Duration::ZERO, cooldown: Duration::ZERO };
    let remote = RemoteKeys::new(Arc::new(Outside::default()), patience, ambient.clone());
    IssuerKeys::new(Arc::new(remote), bundles, ambient)
}

fn issuer(profile: IssuerProfile, keys: KeySource) -> TrustedIssuer {
    let now = Timestamp::from_seconds(900_000);
    TrustedIssuer {
        uid: TrustedIssuerUid(uuid::Uuid::nil()),
        name: TrustedIssuerName::new("one").unwrap(),
        description: String::new(),
        enabled: true,
        profile,
        issuer: "spiffe://example.org".to_owned(),
        keys,
        algorithms: BTreeSet::new(),
        audience: None,
        max_lifetime: Duration::from_hours(1),
        leeway: Duration::ZERO,
        reuse: Reuse::Once,
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

fn kids(set: &KeySet) -> Vec<&str> {
    set.keys().iter().map(|key| key.kid()).collect()
}

#[tokio::test]
async fn what_is_registered_is_read_once_for_each_version() {
    let keys = issuer_keys(None);
    let mut issuer = issuer(IssuerProfile::Jwt, KeySource::Inline(set("a")));
    let first = keys.keys(&issuer).await.unwrap();
    assert_eq!((kids(&first), first.fetched_at(), first.fresh_until()), (vec!["a"], issuer.updated_at, None));
    assert!(Arc::ptr_eq(&keys.keys(&issuer).await.unwrap(), &first));
    assert!(keys.after(&issuer, &first).await.unwrap().is_none());
    issuer.keys = KeySource::Inline(set("b"));
    issuer.version = 2;
    assert_eq!(kids(&keys.keys(&issuer).await.unwrap()), ["b"]);
    assert_eq!(kids(&keys.after(&issuer, &first).await.unwrap().unwrap()), ["b"]);
    issuer.keys = KeySource::Inline(set("c"));
    issuer.updated_at = issuer.updated_at.plus(Duration::from_secs(1));
    assert_eq!(kids(&keys.keys(&issuer).await.unwrap()), ["c"], "the same version, counted anew");
    issuer.keys = KeySource::Inline("{}".to_owned());
    issuer.version = 3;
    assert!(matches!(keys.keys(&issuer).await, Err(NoKeys::None(_))));
}

#[tokio::test]
async fn of_a_trust_domain_it_is_a_bundle() {
    let keys = issuer_keys(None);
    let plain = issuer(IssuerProfile::Spiffe, KeySource::Inline(set("a")));
    assert!(keys.keys(&plain).await.unwrap().keys().is_empty(), "keys without a use");
    let bundled = TrustedIssuer { version: 2, keys: KeySource::Inline(bundle("a")), ..plain };
    let read = keys.keys(&bundled).await.unwrap();
    assert_eq!((kids(&read), read.sequence()), (vec!["a"], Some(3)));
    assert!(matches!(keys.authorities(&bundled).await, Err(NoKeys::None(why)) if why.contains("x509-svid")));
}

#[tokio::test]
async fn a_bundle_in_a_file_is_read_again_when_it_changes_and_stays_when_that_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let keys = issuer_keys(Some(directory.path().to_owned()));
    let issuer = issuer(IssuerProfile::Spiffe, KeySource::BundleFile("example.org".to_owned()));
    let missing = keys.keys(&issuer).await;
    assert!(matches!(missing, Err(NoKeys::Away(_))), "an operator's mistake is no verdict: {missing:?}");
    let file = directory.path().join("example.org");
    std::fs::write(&file, bundle("a")).unwrap();
    assert!(keys.keys(&issuer).await.is_err(), "it was looked at a moment ago");
    tokio::time::sleep(LOOK).await;
    let first = keys.keys(&issuer).await.unwrap();
    assert_eq!(kids(&first), ["a"]);
    assert!(keys.after(&issuer, &first).await.unwrap().is_none());
    for broken in ["{", &set("without use"), r#"{"keys":[]}"#] {
        std::fs::write(&file, broken).unwrap();
        tokio::time::sleep(LOOK).await;
        assert!(keys.after(&issuer, &first).await.unwrap().is_none(), "{broken}: what it was stays");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(keys.after(&issuer, &first).await.unwrap().is_none());
    let next = directory.path().join("next");
    std::fs::write(&next, bundle("b")).unwrap();
    std::fs::rename(&next, &file).unwrap();
    assert!(keys.after(&issuer, &first).await.unwrap().is_none(), "what is broken is not read all the time");
    tokio::time::sleep(LOOK).await;
    let newer = keys.after(&issuer, &first).await.unwrap().unwrap();
    assert_eq!(kids(&newer), ["b"]);
    assert!(Arc::ptr_eq(&keys.keys(&issuer).await.unwrap(), &newer));
}

#[tokio::test]
async fn a_bundle_file_is_in_the_directory_and_that_is_configured() {
    let without = issuer_keys(None);
    let named = |name: &str| issuer(IssuerProfile::Spiffe, KeySource::BundleFile(name.to_owned()));
    let none = without.keys(&named("example.org")).await;
    assert!(matches!(none, Err(NoKeys::None(why)) if why.contains("federation.bundle_dir")));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("outside"), bundle("a")).unwrap();
    let inside = directory.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let keys = issuer_keys(Some(inside));
    for outside in ["../outside", "..", "", "/etc/passwd"] {
        assert!(matches!(keys.keys(&named(outside)).await, Err(NoKeys::None(_))), "{outside}");
    }
}
