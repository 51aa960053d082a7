//! The claims of an access token (RFC 9068 §2.2).

use serde::{Deserialize, Serialize};

use super::acting::SubId;
use super::binding::Confirmation;
use super::client::ClientKind;
use super::delegation::{Act, MayAct};
use super::ids::{ClientId, RoleName};
use super::outside_identity::issuer_in;
use super::policy::Decision;
use super::resource::TokenProfile;
use super::time::Timestamp;

/// `aud`: one value as a string, several as an array (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several audiences.
    Many(Vec<String>),
}

// === impl Audience ===

impl Audience {
    /// Its values.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::One(value) => (Some(value), &[][..]),
            Self::Many(values) => (None, &values[..]),
        };
        one.into_iter().chain(many).map(String::as_str)
    }

    /// Whether `identifier` is among the values, character by character.
    #[must_use]
    pub fn contains(&self, identifier: &str) -> bool {
        match self {
            Self::One(value) => value == identifier,
            Self::Many(values) => values.iter().any(|value| value == identifier),
        }
    }
}

impl FromIterator<String> for Audience {
    fn from_iter<I: IntoIterator<Item = String>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        match values.pop() {
            Some(only) if values.is_empty() => Self::One(only),
            Some(last) => {
                values.push(last);
                Self::Many(values)
            }
            None => Self::Many(values),
        }
    }
}

/// The payload of a token that Jeton signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer identifier.
    pub iss: String,
    /// Seconds since the epoch.
    pub exp: i64,
    /// The resource servers' identifiers.
    pub aud: Audience,
    /// Who the token is about. A client's id, unless there is a `sub_id`.
    pub sub: String,
    /// Who the token is about, if that is somebody from elsewhere (RFC 9493 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_id: Option<SubId>,
    /// Who asked for it.
    pub client_id: ClientId,
    /// Seconds since the epoch.
    pub iat: i64,
    /// This token.
    pub jti: String,
    /// The chain of exchanges that this token belongs to.
    pub txn: String,
    /// What is allowed, space-separated; absent in the profile `jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The roles that contributed a permission (RFC 9068 §2.2.3.1).
    pub roles: Vec<RoleName>,
    /// What sort of client it is.
    pub client_kind: ClientKind,
    /// Who acts for the subject (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// Who alone may (RFC 8693 §4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<MayAct>,
    /// The key that the token is bound to (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

// === impl AccessTokenClaims ===

impl AccessTokenClaims {
    /// The client that it is about; nothing, if that is somebody from elsewhere.
    #[must_use]
    pub fn subject_client(&self) -> Option<&str> {
        self.sub_id.is_none().then_some(self.sub.as_str())
    }

    /// Whether it is about the client that asked for it.
    #[must_use]
    pub fn is_of_itself(&self) -> bool {
        self.subject_client() == Some(self.client_id.as_str())
    }

    /// The name of the trusted issuer that vouches for whom it is about, if one does.
    #[must_use]
    pub fn subject_issuer(&self) -> Option<&str> {
        self.sub_id.is_some().then(|| issuer_in(&self.sub))
    }
}

/// The parts of a token that no decision holds.
#[derive(Clone, Debug)]
pub struct Occasion<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// The authenticated client.
    pub client_id: &'a ClientId,
    /// Its kind.
    pub client_kind: ClientKind,
    /// Who the token is about.
    pub subject: &'a str,
    /// The same in the words of a trusted issuer, if it is somebody from elsewhere.
    pub sub_id: Option<SubId>,
    /// A fresh identifier, starting with the client's mark ([`crate::domain::client::Client::token_mark`]).
    pub jti: String,
    /// The chain's identifier: fresh at its first token, starting with the subject's mark, or the caller's if the subject is
    /// from elsewhere.
    pub txn: String,
    /// Who acts for the subject.
    pub act: Option<Act>,
    /// Who alone may.
    pub may_act: Option<MayAct>,
    /// The key that the token is bound to.
    pub cnf: Option<Confirmation>,
    /// When it is issued.
    pub now: Timestamp,
}

/// Builds the claims of a decided token.
#[must_use]
pub fn build(occasion: Occasion<'_>, decision: &Decision) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: occasion.issuer.to_owned(),
        exp: decision.expires_at.as_seconds(),
        aud: decision.audience.iter().map(|identifier| identifier.as_str().to_owned()).collect(),
        sub: occasion.subject.to_owned(),
        sub_id: occasion.sub_id,
        client_id: occasion.client_id.clone(),
        iat: occasion.now.as_seconds(),
        jti: occasion.jti,
        txn: occasion.txn,
        scope: (decision.profile == TokenProfile::AccessToken).then(|| decision.scope.to_string()),
        roles: decision.roles.clone(),
        client_kind: occasion.client_kind,
        act: occasion.act,
        may_act: occasion.may_act,
        cnf: occasion.cnf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Identifier, Permission};
    use crate::domain::scope::Scope;
    use crate::jose::Algorithm;
    use proptest::prelude::*;
    use serde_json::json;

    prop_compose! {
        fn decisions()(
            audience in prop::collection::btree_set("[a-z]{1,8}", 1..4),
            scope in prop::collection::btree_set("[a-z:]{1,8}", 1..5),
            roles in prop::collection::btree_set("[a-z]{1,8}", 0..4),
            end in 1_000_000_000_i64..4_000_000_000_000_000,
            plain in any::<bool>(),
        ) -> Decision {
            Decision {
                audience: audience.iter().map(|text| Identifier::new(text).unwrap()).collect(),
                scope: scope.iter().map(|text| Permission::new(text).unwrap()).collect(),
                roles: roles.iter().map(|text| RoleName::new(text).unwrap()).collect(),
                expires_at: Timestamp::from_micros(end),
                profile: if plain { TokenProfile::Jwt } else { TokenProfile::AccessToken },
                algorithm: Algorithm::Es256,
                algorithm_before: None,
            }
        }
    }

    #[test]
    fn what_a_token_is_about_goes_by_sub_id_rfc9493_4_1() {
        let mut token = json!({
            "iss": "i", "exp": 1, "aud": "a", "sub": "ci|x", "client_id": "ci|x", "iat": 0, "jti": "j", "txn": "t",
            "roles": [], "client_kind": "service",
        });
        let read = |token: &serde_json::Value| -> AccessTokenClaims {
            serde_json::from_value(token.clone()).unwrap()
        };
        let own = read(&token);
        assert_eq!(
            (own.subject_client(), own.subject_issuer(), own.is_of_itself()),
            (Some("ci|x"), None, true)
        );
        token["sub_id"] = json!({ "format": "iss_sub", "iss": "https://ci.example", "sub": "x" });
        let outside = read(&token);
        assert_eq!((outside.subject_client(), outside.subject_issuer()), (None, Some("ci")));
        assert!(!outside.is_of_itself(), "whoever asked is called the same");
        assert_eq!(serde_json::to_value(&outside).unwrap()["sub_id"], token["sub_id"]);
        // What is marked in a way that is not known here is about nobody.
        token["sub_id"] = json!({ "format": "email", "email": "a@example.com" });
        assert!(serde_json::from_value::<AccessTokenClaims>(token).is_err());
    }

    proptest! {
        #[test]
        fn a_token_says_what_was_decided_and_nothing_else_rfc9068_2_2(
            decision in decisions(), now in 0_i64..1_000_000_000, bound in any::<bool>(),
        ) {
            let now = Timestamp::from_micros(now);
            let client_id = ClientId::new("c").unwrap();
            let occasion = Occasion {
                issuer: "https://i", client_id: &client_id, client_kind: ClientKind::Job, subject: "s", sub_id: None,
                jti: "j".to_owned(), txn: "t".to_owned(), act: None, may_act: None, now,
                cnf: Confirmation::of(bound.then(|| "k".to_owned()), None),
            };
            let claims = serde_json::to_value(build(occasion, &decision)).unwrap();

            let audience: Vec<&str> = decision.audience.iter().map(Identifier::as_str).collect();
            let mut expected = json!({
                "iss": "https://i", "sub": "s", "client_id": "c", "client_kind": "job", "jti": "j", "txn": "t",
                "aud": if let [only] = audience[..] { json!(only) } else { json!(audience) },
                "iat": now.as_seconds(), "exp": claims["exp"],
                "roles": decision.roles.iter().map(RoleName::as_str).collect::<Vec<_>>(),
            });
            if decision.profile == TokenProfile::AccessToken {
                expected["scope"] = json!(decision.scope.to_string());
            }
            if bound {
                expected["cnf"] = json!({"jkt": "k"});
            }
            prop_assert_eq!(&claims, &expected);
            let end = Timestamp::from_seconds(claims["exp"].as_i64().unwrap());
            prop_assert!(end <= decision.expires_at, "a token never claims a later end than it has");

            let read: AccessTokenClaims = serde_json::from_value(claims.clone()).unwrap();
            prop_assert_eq!(serde_json::to_value(&read).unwrap(), claims);
            for identifier in &decision.audience {
                prop_assert!(read.aud.contains(identifier.as_str()));
            }
            let scope = Scope::parse(read.scope.as_deref()).unwrap();
            prop_assert_eq!(scope, (decision.profile == TokenProfile::AccessToken).then_some(decision.scope));
        }
    }
}
