use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jose::{RsaBits, SigningKey};

const URL: &str = "https://server.example.com/token";

/// The proof of RFC 9449 §4.1.
const RFC: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik\
    VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR\
    nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE\
    QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj\
    oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia\
    WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg\
    4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

/// Its `iat`.
const NOW: i64 = 1_562_262_616;

/// The access token and the proof of §7.1.
const RFC_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RFC_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik\
    VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR\
    nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE\
    QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj\
    oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z\
    WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF\
    c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E\
    OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

fn dpop(nonce_required: bool) -> Dpop {
    Dpop::new(Arc::new(Nonces::new(&[7; 32])), nonce_required)
}

fn at(now: i64) -> Expected<'static> {
    Expected { method: "POST", url: URL, access_token: None, now: Timestamp::from_seconds(now) }
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, RsaBits::default()).unwrap()
}

/// A proof with these claims under a good header, changed.
fn proof_with(key: &SigningKey, claims: &Value, change: impl FnOnce(&mut Value)) -> String {
    let mut header = json!({"typ": "dpop+jwt", "alg": key.algorithm(), "jwk": key.public_jwk()});
    header["jwk"].as_object_mut().unwrap().remove("kid");
    change(&mut header);
    let input = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
    format!("{input}.{}", BASE64URL.encode(key.sign(input.as_bytes()).unwrap()))
}

fn proof(key: &SigningKey, claims: &Value) -> String {
    proof_with(key, claims, |_| {})
}

fn claims() -> Value {
    json!({"jti": "a", "htm": "POST", "htu": URL, "iat": NOW})
}

fn checked(dpop: &Dpop, proof: &str, expected: &Expected<'_>) -> Result<Proof, OAuthError> {
    dpop.check(&[proof.as_bytes()], expected).map(|proof| proof.expect("one header, one proof"))
}

#[track_caller]
fn refused(dpop: &Dpop, proof: &str, expected: &Expected<'_>, code: ErrorCode, public: &str) -> OAuthError {
    let error = checked(dpop, proof, expected).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.public.contains(public), "not because of {public:?}: {error}");
    error
}

#[test]
fn the_rfc_s_own_proofs_are_accepted_in_their_time_rfc9449_4_1_7_1() {
    let dpop = dpop(false);
    let first = checked(&dpop, RFC, &at(NOW)).unwrap();
    assert_eq!(first.jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "section 6.1");
    let resource = Expected {
        method: "GET",
        url: "https://resource.example.org/protectedresource",
        access_token: Some(RFC_TOKEN),
        now: Timestamp::from_seconds(NOW + 2),
    };
    let second = checked(&dpop, RFC_PROOF, &resource).unwrap();
    assert_eq!(second.jkt, first.jkt);
    assert_ne!(second.used.id, first.used.id);
    let other = Expected { access_token: Some("another"), ..resource };
    refused(&dpop, RFC_PROOF, &other, ErrorCode::InvalidDpopProof, "ath");
    // None where one is needed.
    let post = Expected { access_token: Some(RFC_TOKEN), ..at(NOW) };
    refused(&dpop, RFC, &post, ErrorCode::InvalidDpopProof, "ath");
}

#[test]
fn there_is_one_header_or_none_rfc9449_4_3() {
    let dpop = dpop(false);
    assert_eq!(dpop.check(&[], &at(NOW)), Ok(None));
    let two = [RFC.as_bytes(), RFC.as_bytes()];
    assert_eq!(dpop.check(&two, &at(NOW)).unwrap_err().code, ErrorCode::InvalidDpopProof);
    // As a proxy would join two of them.
    let joined = format!("{RFC}, {RFC}");
    for wrong in [joined.as_str(), "", "a", "a.b.c", &format!("{RFC}."), &"a".repeat(8_193)] {
        assert_eq!(checked(&dpop, wrong, &at(NOW)).unwrap_err().code, ErrorCode::InvalidDpopProof, "{wrong}");
    }
    assert_eq!(dpop.check(&[b"\xff"], &at(NOW)).unwrap_err().code, ErrorCode::InvalidDpopProof);
}

#[test]
fn each_claim_is_checked_rfc9449_4_3() {
    let (dpop, key) = (dpop(false), key());
    assert!(checked(&dpop, &proof(&key, &claims()), &at(NOW)).is_ok());
    let long = "a".repeat(257);
    for (claim, value, public) in [
        ("jti", Value::Null, "jti"),
        ("jti", json!(""), "jti"),
        ("jti", json!(long), "jti"),
        ("jti", json!(5), "does not prove"),
        ("htm", Value::Null, "htm"),
        ("htm", json!("post"), "htm"),
        ("htm", json!("GET"), "htm"),
        ("htu", Value::Null, "htu"),
        ("htu", json!("https://server.example.com/"), "htu is not https://server.example.com/token"),
        ("iat", Value::Null, "iat"),
        ("iat", json!("1562262616"), "does not prove"),
        ("iat", json!(1_562_262_616.5), "does not prove"),
        ("iat", json!(i64::MAX), "ahead"),
        ("iat", json!(i64::MIN), "ago"),
    ] {
        let mut changed = claims();
        changed[claim] = value.clone();
        let proof = proof(&key, &changed);
        let error = refused(&dpop, &proof, &at(NOW), ErrorCode::InvalidDpopProof, public);
        assert!(error.private.len() < 400, "{error}");
        // One that is missing is as good as none.
        if value.is_null() {
            changed.as_object_mut().unwrap().remove(claim);
            refused(
                &dpop,
                &super::tests::proof(&key, &changed),
                &at(NOW),
                ErrorCode::InvalidDpopProof,
                public,
            );
        }
    }
    let mut longest = claims();
    longest["jti"] = json!("é".repeat(256));
    assert!(checked(&dpop, &proof(&key, &longest), &at(NOW)).is_ok());
}

#[test]
fn the_type_is_that_of_a_proof_rfc9449_4_3() {
    let (dpop, key) = (dpop(false), key());
    for good in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        let proof = proof_with(&key, &claims(), |header| header["typ"] = json!(good));
        assert!(checked(&dpop, &proof, &at(NOW)).is_ok(), "{good}");
    }
    for bad in ["JWT", "at+jwt", "dpop", "", "application/jwt"] {
        let proof = proof_with(&key, &claims(), |header| header["typ"] = json!(bad));
        refused(&dpop, &proof, &at(NOW), ErrorCode::InvalidDpopProof, "typ");
    }
    let untyped = proof_with(&key, &claims(), |header| drop(header.as_object_mut().unwrap().remove("typ")));
    refused(&dpop, &untyped, &at(NOW), ErrorCode::InvalidDpopProof, "typ");
}

#[test]
fn without_a_nonce_iat_decides_rfc9449_11_1() {
    let (dpop, key) = (dpop(false), key());
    let proof = proof(&key, &claims());
    for (now, accepted) in [(NOW - 11, false), (NOW - 10, true), (NOW + 60, true), (NOW + 61, false)] {
        assert_eq!(checked(&dpop, &proof, &at(now)).is_ok(), accepted, "{now}");
    }
    // Its jti is remembered for longer than it is accepted.
    let used = checked(&dpop, &proof, &at(NOW)).unwrap().used;
    assert!(used.expires_at >= Timestamp::from_seconds(NOW + 61).plus(Duration::from_secs(30)));
}

#[test]
fn a_nonce_is_required_last_and_decides_instead_of_iat_rfc9449_8() {
    let (dpop, key) = (dpop(true), key());
    let challenge = refused(&dpop, &proof(&key, &claims()), &at(NOW), ErrorCode::UseDpopNonce, "DPoP-Nonce");
    assert_eq!(challenge.code.as_str(), "use_dpop_nonce");
    // Whoever has something else to mend is told that first.
    let mut wrong = claims();
    wrong["htm"] = json!("GET");
    refused(&dpop, &proof(&key, &wrong), &at(NOW), ErrorCode::InvalidDpopProof, "htm");

    let mut with_nonce = claims();
    with_nonce["nonce"] = json!(dpop.nonce(Timestamp::from_seconds(NOW)));
    // A clock that is off by a year.
    with_nonce["iat"] = json!(NOW - 31_536_000);
    let good = proof(&key, &with_nonce);
    let accepted = checked(&dpop, &good, &at(NOW)).unwrap();
    assert!(!accepted.renew_nonce);
    assert!(checked(&dpop, &good, &at(NOW + 150)).unwrap().renew_nonce);
    refused(&dpop, &good, &at(NOW + 300), ErrorCode::UseDpopNonce, "too old");
    assert!(accepted.used.expires_at > Timestamp::from_seconds(NOW + 300).plus(Duration::from_secs(30)));
    // Also where none is required, one that is there must be good.
    let optional = super::tests::dpop(false);
    assert!(checked(&optional, &good, &at(NOW)).is_ok());
    for bad in ["", "a", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        with_nonce["nonce"] = json!(bad);
        with_nonce["iat"] = json!(NOW);
        for dpop in [&dpop, &optional] {
            refused(
                dpop,
                &proof(&key, &with_nonce),
                &at(NOW),
                ErrorCode::UseDpopNonce,
                "not one of this server's",
            );
        }
    }
}

#[test]
fn a_jti_is_one_of_its_key_rfc9449_11_1() {
    let (dpop, one, other) = (dpop(false), key(), key());
    let id = |key: &SigningKey, jti: &str| {
        let mut claims = claims();
        claims["jti"] = json!(jti);
        checked(&dpop, &proof(key, &claims), &at(NOW)).unwrap().used
    };
    assert_eq!(id(&one, "a"), id(&one, "a"));
    assert_ne!(id(&one, "a"), id(&one, "b"));
    assert_ne!(id(&one, "a"), id(&other, "a"));
    assert_eq!(id(&one, "a").purpose, Purpose::DpopProof);
    assert_eq!(id(&one, &"a".repeat(256)).id.len(), 43, "short, whatever was sent");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(header in any::<Vec<u8>>(), claims in "\\PC{0,40}") {
        let dpop = dpop(true);
        prop_assert!(dpop.check(&[&header], &at(NOW)).is_err());
        let key = key();
        let made_up = proof(&key, &json!({"htm": "POST", "htu": claims, "jti": claims, "iat": NOW}));
        prop_assert!(checked(&dpop, &made_up, &at(NOW)).is_err());
    }
}
