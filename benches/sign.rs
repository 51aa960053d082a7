//! What a whole token costs to sign: header and claims as JSON, base64url, and the signature, with the key
//! parsed once, as `Keyring::sign` does it. docs/performance.md has the figures.
//!
//! `cargo bench --bench sign`, or `cargo bench --bench sign -- ES256` for some.
#![expect(clippy::expect_used, reason = "a bench that cannot sign has nothing to say")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jeton::jose::{Algorithm, PublicJwk, RsaBits, SigningKey, TokenType, sign};
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
    targets = tokens
}
criterion_main!(benches);
