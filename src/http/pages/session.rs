//! Who is signed in: the cookie, and what handlers take of it.
//!
//! The cookie is `SameSite=Lax`: following a link from elsewhere to a page is no harm, for reading changes nothing,
//! and with `Strict` whoever followed one, or came back from another provider, would look signed out. What changes
//! something is guarded by [`super::guard`] besides. Under https it is `Secure` and has the prefix `__Host-`, so that
//! no neighbouring host can set it. Plain http is for loopback only; not every browser keeps a `Secure` cookie there.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, OriginalUri};
use http::header::{COOKIE, HeaderMap};
use http::request::Parts;

use super::AT;
use super::error::PageError;
use super::frame::{Frame, Person};
use crate::admin::By;
use crate::admin::sign_in::LiveSession;
use crate::config::Issuer;
use crate::domain::administrator::Stage;
use crate::domain::audit::Origin;
use crate::domain::error::Fault;
use crate::http::Shared;
use crate::http::middleware::Caller;

/// Somebody who is signed in, the second factor included.
pub(super) struct SignedIn {
    /// For the use-cases.
    pub(super) by: By,
    /// Who it is.
    pub(super) person: Person,
    /// Their session.
    pub(super) session: LiveSession,
    base: String,
}

/// What a browser keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// What opens the session.
    Session,
    /// What sign-ins by another provider are begun with in this browser.
    SingleSignOn,
}

/// Whoever the request turned out to come from, for the page of an error.
#[derive(Clone, Default)]
pub(super) struct Seen(pub(super) Arc<OnceLock<Person>>);

// === impl SignedIn ===

impl SignedIn {
    /// Whether they have this permission of the API.
    pub(super) fn can(&self, permission: &str) -> bool {
        self.person.can(permission)
    }

    /// Where a page is: its path's parts, as they are. A word at the end (`?done=…`) is told there.
    pub(super) fn path(&self, parts: &[&str]) -> String {
        parts.iter().fold(self.base.clone(), |path, part| {
            let part: String = url::form_urlencoded::byte_serialize(part.as_bytes()).collect();
            format!("{path}/{part}")
        })
    }

    /// The frame of a page for them. `section` is a path of [`super::frame::NAVIGATION`].
    pub(super) fn frame(&self, title: impl Into<String>, section: &'static str) -> Frame {
        Frame::new(title, self.base.clone(), Some(self.person.clone()), section)
    }
}

impl FromRequestParts<Shared> for SignedIn {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, PageError> {
        let (session, origin) = presented(parts, services).await?;
        match session.filter(|session| session.session.stage == Stage::SignedIn) {
            Some(session) => {
                let person = person(&session);
                let base = base(&services.issuer);
                Ok(Self { by: session.by((*origin).clone()), person, session, base })
            }
            None => Err(PageError::NotSignedIn { next: wanted(parts) }),
        }
    }
}

/// The session that the request presents, at whatever stage, and where it comes from.
pub(super) async fn presented(
    parts: &Parts,
    services: &Shared,
) -> Result<(Option<LiveSession>, Arc<Origin>), PageError> {
    let caller = parts.extensions.get::<Caller>();
    let Caller(origin) = caller.ok_or_else(|| Fault::internal("the request was not observed"))?;
    let session = match Cookie::Session.find(&parts.headers, &services.issuer) {
        Some(opener) => services.sign_in.session(opener).await?,
        None => None,
    };
    if let (Some(session), Some(Seen(seen))) = (&session, parts.extensions.get::<Seen>()) {
        // Set once: a request has one cookie.
        let _ = seen.set(person(session));
    }
    Ok((session, Arc::clone(origin)))
}

/// Who has a session.
pub(super) fn person(session: &LiveSession) -> Person {
    Person { name: session.name.clone(), role: session.role, whole: session.session.stage == Stage::SignedIn }
}

/// Where the pages are, the issuer's path included.
pub(super) fn base(issuer: &Issuer) -> String {
    format!("{}{AT}", issuer.path())
}

/// The page that was asked for, to come back to.
fn wanted(parts: &Parts) -> String {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
    uri.path_and_query().map_or_else(String::new, ToString::to_string)
}

fn is_https(issuer: &Issuer) -> bool {
    issuer.as_str().starts_with("https:")
}

// === impl Cookie ===

impl Cookie {
    /// What it is called.
    fn name(self, issuer: &Issuer) -> &'static str {
        match (self, is_https(issuer)) {
            (Self::Session, true) => "__Host-jeton_session",
            (Self::Session, false) => "jeton_session",
            (Self::SingleSignOn, true) => "__Host-jeton_sso",
            (Self::SingleSignOn, false) => "jeton_sso",
        }
    }

    /// Its value, in what a browser sent.
    pub(super) fn find<'h>(self, headers: &'h HeaderMap, issuer: &Issuer) -> Option<&'h str> {
        cookie(headers, self.name(issuer))
    }

    /// The `Set-Cookie` that gives it this value; without one, that takes it away. It lasts as long as the browser
    /// wants: when its meaning ends is kept here.
    pub(super) fn set(self, issuer: &Issuer, value: Option<&str>) -> String {
        let name = self.name(issuer);
        let secure = if is_https(issuer) { "; Secure" } else { "" };
        let ended = if value.is_none() { "; Max-Age=0" } else { "" };
        format!("{name}={}; Path=/; HttpOnly; SameSite=Lax{secure}{ended}", value.unwrap_or_default())
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    // In bytes: what a neighbouring host has set may be anything, and is sent in the same line.
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    // Two of one name: somebody else has set one of them.
    let value = found.next().filter(|_| found.next().is_none())?;
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_cookie_is_tied_to_the_host_under_https() {
        let https = Issuer::parse("https://id.example.com/tenant").unwrap();
        assert_eq!(
            Cookie::Session.set(&https, Some("x")),
            "__Host-jeton_session=x; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        let http = Issuer::parse("http://localhost:8080").unwrap();
        assert_eq!(
            Cookie::SingleSignOn.set(&http, None),
            "jeton_sso=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }

    #[test]
    fn one_cookie_of_the_name_counts() {
        let found = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            cookie(&headers, "a").map(ToOwned::to_owned)
        };
        assert_eq!(found(&["b=1; a=2"]), Some("2".to_owned()));
        assert_eq!(found(&["b=1", "a=2"]), Some("2".to_owned()));
        assert_eq!(found(&["a=1; a=2"]), None);
        assert_eq!(found(&["aa=1"]), None);
        assert_eq!(found(&["b=\u{e9}\u{20ac}; a=2; c=x=y"]), Some("2".to_owned()), "a neighbour's");
        assert_eq!(found(&["c=1; a=x=y "]), Some("x=y".to_owned()));
        assert_eq!(found(&[]), None);
    }
}
