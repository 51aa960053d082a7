//! Which certificates are trusted.

use std::sync::Arc;

use jeton::domain::time::Timestamp;
use jeton::runtime::clock::{Ambient, ManualClock, SystemEntropy};
use jeton::runtime::tls::{Shown, Tls};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::harness::START;

/// The authority of the files, asked without a server around it.
struct Judge {
    tls: Tls,
    clock: Arc<ManualClock>,
}

impl Judge {
    fn new(files: &Files, crls: &[&str]) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let crls = crls.iter().map(|name| files.file(name)).collect();
        let settings = TlsSettings { client_ca: Some(files.file("ca.pem")), crls, ..TlsSettings::default() };
        Self { tls: Tls::open(&settings, &ambient).unwrap(), clock }
    }

    fn shown(&self, chain: &[&CertificateDer<'static>]) -> Arc<Shown> {
        self.tls.trust.shown(chain.iter().map(|certificate| (*certificate).clone()).collect()).unwrap()
    }

    fn trusts(&self, chain: &[&CertificateDer<'static>]) -> bool {
        self.shown(chain).now().trusted
    }
}

#[test]
fn a_certificate_is_trusted_when_all_of_its_chain_holds() {
    let files = Files::new();
    let judge = Judge::new(&files, &[]);
    let authority = &files.authority;
    let with = |change: fn(&mut CertificateParams)| authority.issue_with("client", change).der;
    assert!(judge.trusts(&[&authority.issue("client").der]));
    assert!(judge.trusts(&[&with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    })]));
    for (why, certificate) in [
        ("signed by itself", Issued::by_itself("client").der),
        ("of another authority of the same name", Authority::new("Authority").issue("client").der),
        ("over", with(|params| params.not_after = date_time_ymd(2026, 11, 22))),
        ("not yet", with(|params| params.not_before = date_time_ymd(2026, 11, 23))),
        (
            "for servers",
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("the authority itself", authority.der()),
    ] {
        assert!(!judge.trusts(&[&certificate]), "{why}");
    }

    let below = authority.below("Below");
    let leaf = below.issue("client").der;
    assert!(judge.trusts(&[&leaf, &below.der()]));
    assert!(!judge.trusts(&[&leaf]), "what leads to the authority was not sent");
    // Only the leaf says who it is: that a trusted certificate comes along means nothing.
    let mine = Issued::by_itself("client").der;
    let shown = judge.shown(&[&mine, &authority.issue("somebody else").der]).now();
    assert!(!shown.trusted);
    assert_eq!(shown.der, mine.as_ref());
    assert!(judge.tls.trust.shown(Vec::new()).is_err());
}

#[test]
fn without_authorities_nothing_is_trusted() {
    let files = Files::new();
    let tls = Tls::open(&TlsSettings::default(), &Ambient::system()).unwrap();
    let shown = tls.trust.shown(vec![files.authority.issue("client").der]).unwrap();
    assert!(!shown.now().trusted);
}

#[test]
fn what_ends_or_is_revoked_is_trusted_no_longer_also_on_a_connection_that_was_there_before() {
    let files = Files::new();
    let serial = SerialNumber::from(77);
    let (good, bad) = (files.authority.issue("good").der, {
        let serial = serial.clone();
        files.authority.issue_with("bad", |params| params.serial_number = Some(serial)).der
    });
    let write = |text: String| fs::write(files.file("revoked.pem"), text).unwrap();
    write(files.authority.revocation_list(&[], (2026, 12, 1)));
    let judge = Judge::new(&files, &["revoked.pem"]);
    let (good, bad) = (judge.shown(&[&good]), judge.shown(&[&bad]));
    let second_later = || judge.clock.advance(Duration::from_secs(1));
    assert!(good.now().trusted && bad.now().trusted);

    write(files.authority.revocation_list(&[&serial], (2026, 12, 1)));
    judge.tls.look();
    second_later();
    assert_eq!((good.now().trusted, bad.now().trusted), (true, false));
    // A list that cannot be read changes nothing.
    write("nothing".to_owned());
    judge.tls.look();
    second_later();
    assert_eq!((good.now().trusted, bad.now().trusted), (true, false));
    // One of another authority says nothing about these: their status is not known.
    write(Authority::new("Other").revocation_list(&[], (2026, 12, 1)));
    judge.tls.look();
    second_later();
    assert_eq!((good.now().trusted, bad.now().trusted), (false, false));

    write(files.authority.revocation_list(&[], (2026, 12, 1)));
    judge.tls.look();
    second_later();
    assert!(good.now().trusted && bad.now().trusted);
    // A list that has ended may lack what was revoked since.
    judge.clock.set(Timestamp::from_seconds(date_time_ymd(2026, 12, 2).unix_timestamp()));
    assert!(!good.now().trusted);
    judge.clock.set(START);
    assert!(good.now().trusted);
    judge.clock.set(Timestamp::from_seconds(date_time_ymd(2035, 1, 2).unix_timestamp()));
    write(files.authority.revocation_list(&[], (2036, 1, 1)));
    judge.tls.look();
    assert!(!good.now().trusted, "the certificate itself is over");
}

#[test]
fn what_proxies_tell_is_judged_alike() {
    let files = Files::new();
    let judge = Judge::new(&files, &[]);
    let told = |chain: &[&CertificateDer<'static>]| {
        judge.tls.trust.told(chain.iter().map(|certificate| (*certificate).clone()).collect()).unwrap().now()
    };
    let below = files.authority.below("Below");
    let leaf = below.issue("client").der;
    for _ in 0..2 {
        assert!(!told(&[&leaf]).trusted);
        assert!(told(&[&leaf, &below.der()]).trusted);
    }
    judge.clock.set(Timestamp::from_seconds(date_time_ymd(2035, 1, 2).unix_timestamp()));
    assert!(!told(&[&leaf, &below.der()]).trusted);
}
