//! What a whole token costs to sign: header and claims as JSON, base64url, and the signature, with the key
//! parsed once, as `Keyring::sign` does it. docs/performance.md has the figures.
//!
//! Beside it the yardsticks, on the same machine in the same minute: the cached key alone (a signature of as many bytes
//! by aws-lc-rs, in base64url), what the whole token costs more than that, one by one in turns, and jsonwebtoken's
//! `encode`, which parses the key each time and so tells one machine's figures from another's.
//!
//! `cargo bench --bench sign`, or `cargo bench --bench sign -- ES256` for some.
#![expect(clippy::expect_used, reason = "a bench that cannot sign has nothing to say")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use criterion::{Criterion, criterion_group, criterion_main};
use jeton::jose::{Algorithm, PublicJwk, RsaBits, SigningKey, TokenType, sign};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

/// The claims of an ordinary access token, and as long.
#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    exp: i64,
    aud: &'static str,
    sub: &'static str,
    client_id: &'static str,
    iat: i64,
    jti: &'static str,
    txn: &'static str,
    scope: &'static str,
    roles: BTreeSet<&'static str>,
    client_kind: &'static str,
}

fn claims() -> Claims {
    Claims {
        iss: "https://auth.example.com",
        exp: 1_795_400_300,
        aud: "https://orders.example.com",
        sub: "billing",
        client_id: "billing",
        iat: 1_795_400_000,
        jti: "abcdefAGMbXhdGuLQmk0bXKvoJYNb_Qm1c",
        txn: "AGMbXhdGuLQmk0bXKvoJYNb_Qm1c",
        scope: "orders:read",
        roles: BTreeSet::from(["order-reader"]),
        client_kind: "service",
    }
}

/// A key of the library's, parsed once.
enum Cached {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

// === impl Cached ===

impl Cached {
    fn of(key: &SigningKey) -> Option<Self> {
        let pkcs8 = key.to_pkcs8().expect("its bytes");
        match key.algorithm() {
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).ok().map(Self::Ecdsa)
            }
            Algorithm::Rs256 => RsaKeyPair::from_pkcs8(&pkcs8).ok().map(Self::Rsa),
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(&pkcs8).ok().map(Self::Ed25519),
            _ => None,
        }
    }

    fn sign(&self, message: &[u8]) -> String {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => BASE64URL.encode(pair.sign(&random, message).expect("a signature")),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                BASE64URL.encode(signature)
            }
            Self::Ed25519(pair) => BASE64URL.encode(pair.sign(message)),
        }
    }
}

/// The same claims by jsonwebtoken.
fn encoding(key: &SigningKey) -> Option<(Header, EncodingKey)> {
    let pkcs8 = key.to_pkcs8().expect("its bytes");
    match key.algorithm() {
        Algorithm::Es256 => {
            Some((Header::new(jsonwebtoken::Algorithm::ES256), EncodingKey::from_ec_der(&pkcs8)))
        }
        Algorithm::EdDsa => {
            Some((Header::new(jsonwebtoken::Algorithm::EdDSA), EncodingKey::from_ed_der(&pkcs8)))
        }
        // It wants RSA keys in another form.
        _ => None,
    }
}

fn yardsticks(criterion: &mut Criterion) {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm, RsaBits::Rsa2048).expect("a key");
        let cached = Cached::of(&key).expect("the same key");
        let public: PublicJwk = key.public_jwk();
        let token = || sign(TokenType::AccessToken, public.key_id(), &key, black_box(&claims()));
        let whole = token().expect("a token");
        let (message, _) = whole.rsplit_once('.').expect("its signature");
        let alone = || cached.sign(black_box(message.as_bytes()));
        let mut group = criterion.benchmark_group(format!("yardstick {algorithm}"));
        group.bench_function("the cached key alone", |bencher| bencher.iter(alone));
        group.bench_function("the token costs more", |bencher| {
            bencher.iter_custom(|rounds| {
                let (mut tokens, mut signatures) = (Duration::ZERO, Duration::ZERO);
                for _ in 0..rounds {
                    let begun = Instant::now();
                    drop(black_box(alone()));
                    let between = Instant::now();
                    drop(black_box(token()));
                    signatures += between - begun;
                    tokens += between.elapsed();
                }
                // Criterion cannot do with nothing.
                tokens.saturating_sub(signatures).max(Duration::from_nanos(1))
            });
        });
        if let Some((header, secret)) = encoding(&key) {
            group.bench_function("jsonwebtoken", |bencher| {
                bencher
                    .iter(|| jsonwebtoken::encode(&header, black_box(&claims()), &secret).expect("a token"));
            });
        }
        group.finish();
    }
}

fn tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for algorithm in Algorithm::ALL.iter().copied() {
        let sizes = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => RsaBits::ALL,
            _ => &[RsaBits::Rsa2048],
        };
        for bits in sizes {
            let name = if sizes.len() == 1 { algorithm.to_string() } else { format!("{algorithm} {bits}") };
            let key = SigningKey::generate(algorithm, *bits).expect("a key");
            let public: PublicJwk = key.public_jwk();
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    sign(TokenType::AccessToken, public.key_id(), &key, black_box(&claims()))
                        .expect("a token")
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    targets = yardsticks, tokens
}
criterion_main!(benches);
