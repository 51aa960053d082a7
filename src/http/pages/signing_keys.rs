//! `/admin/signing-keys`: what tokens are signed with, when that changes, and taking a key back.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};

use super::confirm::Confirmation;
use super::error::PageError;
use super::form::{Form, Query};
use super::frame::Frame;
use super::session::SignedIn;
use super::{done, page, when};
use crate::admin::signing_keys::{KeyRingView, SigningKeyView};
use crate::domain::builtin;
use crate::domain::rotation::KeyState;
use crate::domain::time::Timestamp;
use crate::http::Shared;
use crate::http::pictures::{KeyLine, KeyTimeLine, key_time_line};
use crate::jose::Algorithm;

/// Where these pages are.
const AT: &str = "/signing-keys";

/// How much of a key's identifier has to be typed: nobody types all of it, and no two keys begin alike.
const TYPED: usize = 8;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/signing-keys", get(list))
        .route("/signing-keys/rotate", post(rotate))
        .route("/signing-keys/{kid}/revoke", get(ask_revoke).post(revoke))
}

#[derive(Template)]
#[template(path = "keys/list.html")]
struct List {
    frame: Frame,
    rings: Vec<Ring>,
}

/// The keys of one algorithm, and their lives as a picture.
struct Ring {
    view: KeyRingView,
    /// SVG, with every text in it escaped.
    picture: String,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let now = services.ambient.now();
    let rings = services.admin.signing_keys(&session.by).await?.rings;
    let rings = rings.into_iter().map(|view| Ring { picture: picture(&view, now), view }).collect();
    Ok(page(&List { frame: session.frame("Signing keys", AT).telling(&query), rings }))
}

/// The lives of one algorithm's keys.
fn picture(ring: &KeyRingView, now: Timestamp) -> String {
    let keys: Vec<_> = ring
        .keys
        .iter()
        .enumerate()
        .map(|(index, key)| KeyLine {
            label: start_of(key.kid.as_str()).to_owned(),
            href: None,
            published_at: key.created_at,
            active_at: key.activates_at,
            // By the next one that was not withdrawn before it could sign.
            retired_at: ring.keys[index + 1..]
                .iter()
                .find(|next| next.revoked_at.is_none_or(|at| at > next.activates_at))
                .map(|next| next.activates_at),
            leaves_at: key.leaves_at,
            revoked_at: key.revoked_at,
        })
        .collect();
    key_time_line(&KeyTimeLine {
        id: &format!("keys-{}", ring.algorithm),
        title: &format!("The {} keys over time", ring.algorithm),
        keys: &keys,
        now,
        next_rotation_at: ring.next_activation_at,
    })
}

/// What has to be typed of a key's identifier.
fn start_of(kid: &str) -> &str {
    kid.char_indices().nth(TYPED).map_or(kid, |(end, _)| &kid[..end])
}

async fn rotate(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::SIGNING_KEYS_WRITE).await?;
    let algorithm = form.text("algorithm");
    let algorithm: Algorithm = algorithm
        .parse()
        .map_err(|_| PageError::Malformed("The form names no algorithm of ours".to_owned()))?;
    services.admin.rotate_signing_key(&session.by, algorithm).await?;
    Ok(done(&session.path(&["signing-keys"]), "rotated"))
}

async fn revoking(services: &Shared, session: &SignedIn, kid: &str) -> Result<Confirmation, PageError> {
    services.admin.permit(&session.by, builtin::SIGNING_KEYS_WRITE).await?;
    let rings = services.admin.signing_keys(&session.by).await?.rings;
    let key = rings.iter().flat_map(|ring| &ring.keys).find(|key| key.kid.as_str() == kid);
    let key = key.filter(|key| key.revoked_at.is_none()).ok_or(PageError::NoSuchPage)?;
    Ok(Confirmation {
        title: format!("Revoke the key {}?", start_of(kid)),
        section: AT,
        breaks: broken(key),
        button: "Revoke the key",
        name: Some(("the first characters of its identifier", start_of(kid).to_owned())),
        version: None,
        back: session.path(&["signing-keys"]),
    })
}

/// What breaks without a key.
fn broken(key: &SigningKeyView) -> Vec<String> {
    let least = if key.live_tokens_at_least { "at least " } else { "" };
    let tokens = when::many(key.live_tokens, "token");
    let mut breaks = vec![format!(
        "{least}{tokens} that it signed and that live now: they are refused here at once, and elsewhere as soon as verifiers read the key set again."
    )];
    if key.state == KeyState::Active {
        breaks.push("It is the one that signs: a fresh key signs at once, before every verifier has heard of it. Some may refuse new tokens for a few minutes.".to_owned());
    }
    breaks.push("Do it when somebody else may have the key. To change keys in peace, rotate.".to_owned());
    breaks
}

async fn ask_revoke(
    State(services): State<Shared>,
    session: SignedIn,
    Path(kid): Path<String>,
) -> Result<Response, PageError> {
    Ok(revoking(&services, &session, &kid).await?.ask(&session))
}

async fn revoke(
    State(services): State<Shared>,
    session: SignedIn,
    Path(kid): Path<String>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = revoking(&services, &session, &kid).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.revoke_signing_key(&session.by, &kid).await?;
    Ok(done(&session.path(&["signing-keys"]), "key-revoked"))
}
