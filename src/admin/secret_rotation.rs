//! Rotating a client's secrets: the new one and the end of those that it replaces are one change, by an administrator
//! or by the client itself.

use std::time::Duration;

use serde_json::json;

use super::credential_ends::{check_end, end};
use super::secrets::{
    AddSecret, AddedSecret, NewSecret, RotateSecret, RotatedSecret, SecretView, USUAL_OVERLAP, check_count,
};
use super::{Admin, AdminError, By, Written};
use crate::domain::audit::Actor;
use crate::domain::builtin;
use crate::domain::client::{Client, ClientSecret};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, SecretId};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::storage::ChangeKind;

/// The longest time in which a secret that was replaced may go on counting.
pub const LONGEST_OVERLAP: Duration = Duration::from_hours(24 * 365);

/// The most secrets that one rotation names.
const MOST_NAMED: usize = 10;

/// Who rotates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// An administrator, a client's.
    AClients,
    /// A client, its own: it gets no more than it had.
    ItsOwn,
}

// === impl Admin ===

impl Admin {
    /// Adds a generated secret and lets those that it replaces end after an overlap.
    ///
    /// # Errors
    /// Wrong fields, too many secrets, or a client with more authority than the administrator.
    pub async fn rotate_secret(
        &self,
        by: &By,
        client_id: &ClientId,
        wanted: RotateSecret,
    ) -> Result<RotatedSecret, AdminError> {
        let client = self.client_to_prove(by, client_id).await?;
        self.rotate(by, &client, wanted, Whose::AClients).await
    }

    /// The secrets of the client that asks, newest first.
    ///
    /// # Errors
    /// It may not.
    pub async fn own_secrets(&self, by: &By) -> Result<Vec<SecretView>, AdminError> {
        let client = self.oneself(by).await?;
        self.secret_views(client.uid).await
    }

    /// [`Admin::rotate_secret`] for the client that asks. The new secret replaces a current one, which counts and was not
    /// replaced before, and lives no longer than that one was to live.
    ///
    /// # Errors
    /// It may not, wrong fields, too many secrets, or none that is current.
    pub async fn rotate_own_secret(
        &self,
        by: &By,
        wanted: RotateSecret,
    ) -> Result<RotatedSecret, AdminError> {
        let client = self.oneself(by).await?;
        self.rotate(by, &client, wanted, Whose::ItsOwn).await
    }

    /// The client that asks, if its registration lets it rotate its own secrets.
    async fn oneself(&self, by: &By) -> Result<Client, AdminError> {
        self.require(by, builtin::OWN_SECRETS).await?;
        let refused = |because: &'static str| self.refuse(by, builtin::OWN_SECRETS, because.to_owned());
        let Actor::Client { client_id, .. } = &by.actor else {
            refused("only a client has secrets of its own").await?;
            return Err(AdminError::not_found("client", "self"));
        };
        let client = self.stored_client(client_id).await?;
        if !client.may_rotate_own_secrets {
            refused("the client's registration does not allow it (may_rotate_own_secrets)").await?;
        }
        Ok(client)
    }

    async fn rotate(
        &self,
        by: &By,
        client: &Client,
        wanted: RotateSecret,
        whose: Whose,
    ) -> Result<RotatedSecret, AdminError> {
        let now = self.ambient.now();
        check(&wanted, now)?;
        let overlap = wanted.overlap.map_or(USUAL_OVERLAP, |seconds| Duration::from_secs(seconds.into()));
        let asked_end = end(wanted.expires_at, wanted.expires_in, now);
        let new = AddSecret { description: wanted.description, ..AddSecret::default() };
        let NewSecret { mut secret, text } = self.new_secret(new, now).await?;

        let mut tx = self.begin().await?;
        if !tx.lock_client(client.uid).await? {
            return Err(AdminError::not_found("client", client.client_id.as_str()));
        }
        let stored = tx.secrets(client.uid).await?;
        if let Err(error) = check_count(&stored, secret.origin) {
            drop(tx);
            return Err(self.with_advice(error, client, &stored).await?);
        }
        let replaced = to_replace(&stored, &wanted.secret_ids, now)?;
        secret.expires_at = new_end(asked_end, &replaced, now, whose)?;
        tx.insert_secret(client.uid, &secret).await?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let cut = now.plus(overlap);
        for old in replaced {
            tx.replace_secret(client.uid, &old.secret_id, cut, &secret.secret_id).await?;
            before.push(self.secret_view(old, now));
            let ends = old.expires_at.map_or(cut, |end| end.min(cut));
            let old = ClientSecret {
                expires_at: Some(ends),
                replaced_by: Some(secret.secret_id.clone()),
                ..old.clone()
            };
            after.push(self.secret_view(&old, now));
        }
        let view = self.secret_view(&secret, now);
        let written = Written {
            action: "client.secret.rotate",
            target: client.client_id.to_string(),
            before: Some(json!({ "replaces": before })),
            after: Some(json!({ "added": view, "replaces": after })),
            change: ChangeKind::Client(client.client_id.clone()),
        };
        self.commit(tx, by, written).await?;
        Ok(RotatedSecret { added: AddedSecret { view, client_secret: text }, replaces: after })
    }
}

/// The secrets of these names, or the newest that counts and that nothing has replaced yet.
fn to_replace<'s>(
    stored: &'s [ClientSecret],
    named: &[SecretId],
    now: Timestamp,
) -> Result<Vec<&'s ClientSecret>, AdminError> {
    if let Some(missing) = named.iter().find(|name| !stored.iter().any(|secret| secret.secret_id == **name)) {
        return Err(AdminError::not_found("secret", missing.as_str()));
    }
    if !named.is_empty() {
        return Ok(stored.iter().filter(|secret| named.contains(&secret.secret_id)).collect());
    }
    let counts = || stored.iter().filter(|secret| secret.check(now).is_ok());
    Ok(counts().find(|secret| secret.replaced_by.is_none()).or_else(|| counts().next()).into_iter().collect())
}

/// When the new secret ends: as asked for, else after as long as the newest of those that it replaces was to live. What
/// was replaced before is on its way out, and says nothing as long as there is a current one; a client itself gets no
/// secret for it, or else it could go back to whatever was allowed long ago, and have a current one more.
fn new_end(
    asked: Option<Timestamp>,
    replaced: &[&ClientSecret],
    now: Timestamp,
    whose: Whose,
) -> Result<Option<Timestamp>, AdminError> {
    let counts = || replaced.iter().filter(|secret| secret.check(now).is_ok());
    let current = counts().find(|secret| secret.replaced_by.is_none());
    if whose == Whose::ItsOwn && current.is_none() {
        return Err(AdminError::Conflict(
            "there is no current secret for the new one to replace, one that counts and was not replaced before: name \
             a current one, or none; where there is none, an administrator adds the first one"
                .to_owned(),
        ));
    }
    let newest = current.or_else(|| counts().next());
    let lifetime = newest.and_then(|secret| {
        let micros = secret.expires_at?.as_micros().saturating_sub(secret.created_at.as_micros());
        Some(Duration::from_micros(micros.unsigned_abs()))
    });
    let usual = lifetime.map(|lifetime| now.plus(lifetime));
    match (asked, usual) {
        (Some(asked), Some(usual)) if whose == Whose::ItsOwn && asked > usual => {
            let problem = format!("it is later than {usual}, up to when a secret of yours may live");
            Err(AdminError::invalid("expires_at", problem, "name an earlier time, or leave it out"))
        }
        (asked, usual) => Ok(asked.or(usual)),
    }
}

fn check(wanted: &RotateSecret, now: Timestamp) -> Result<(), AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &wanted.description, 255).err().into_iter().collect();
    errors.extend(check_end(wanted.expires_at, wanted.expires_in, now));
    if wanted.secret_ids.len() > MOST_NAMED {
        let problem = format!("{} secrets", wanted.secret_ids.len());
        errors.push(FieldError::new("secret_ids", problem, "name at most 10"));
    }
    if wanted.overlap.is_some_and(|seconds| Duration::from_secs(seconds.into()) > LONGEST_OVERLAP) {
        let fix = "use at most 31536000 seconds, which is a year";
        errors.push(FieldError::new("overlap", "it is too long", fix));
    }
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::domain::secret::SecretOrigin;

    const NOW: Timestamp = Timestamp::from_seconds(10_000);

    /// Made at this second, until that one.
    fn secret(name: &str, (made, ends): (i64, Option<i64>), replaced_by: Option<&str>) -> ClientSecret {
        ClientSecret {
            secret_id: SecretId::new(name).unwrap(),
            hash: SecretString::from(""),
            origin: SecretOrigin::Generated,
            description: String::new(),
            created_at: Timestamp::from_seconds(made),
            expires_at: ends.map(Timestamp::from_seconds),
            replaced_by: replaced_by.map(|name| SecretId::new(name).unwrap()),
        }
    }

    fn names(found: &[&ClientSecret]) -> Vec<String> {
        found.iter().map(|secret| secret.secret_id.to_string()).collect()
    }

    #[test]
    fn the_newest_that_counts_and_was_not_replaced_is_replaced() {
        let all = [
            secret("d", (9_000, Some(9_500)), None),
            secret("c", (8_000, Some(11_000)), Some("d")),
            secret("b", (7_000, None), None),
            secret("a", (6_000, None), None),
        ];
        assert_eq!(names(&to_replace(&all, &[], NOW).unwrap()), ["b"]);
        assert_eq!(names(&to_replace(&all[..2], &[], NOW).unwrap()), ["c"], "better than none");
        assert_eq!(names(&to_replace(&all[..1], &[], NOW).unwrap()), [""; 0], "what has ended is over");
        let named = [SecretId::new("a").unwrap(), SecretId::new("c").unwrap()];
        assert_eq!(names(&to_replace(&all, &named, NOW).unwrap()), ["c", "a"]);
        let missing = [SecretId::new("a").unwrap(), SecretId::new("x").unwrap()];
        assert!(matches!(to_replace(&all, &missing, NOW), Err(AdminError::NotFound { .. })));
    }

    #[test]
    fn a_new_secret_lives_as_long_as_the_old_one_and_of_its_own_no_longer() {
        let (ends, never) = (secret("a", (9_000, Some(10_500)), None), secret("b", (9_000, None), None));
        let at = |seconds| Some(Timestamp::from_seconds(seconds));
        let both = [Whose::AClients, Whose::ItsOwn];
        for whose in both {
            assert_eq!(new_end(None, &[&ends], NOW, whose).unwrap(), at(11_500));
            assert_eq!(new_end(None, &[&never], NOW, whose).unwrap(), None);
            assert_eq!(new_end(at(11_000), &[&ends], NOW, whose).unwrap(), at(11_000));
            assert_eq!(new_end(at(99_000), &[&never], NOW, whose).unwrap(), at(99_000));
        }
        assert_eq!(new_end(at(99_000), &[&ends], NOW, Whose::AClients).unwrap(), at(99_000));
        assert!(new_end(at(99_000), &[&ends], NOW, Whose::ItsOwn).is_err());
        assert_eq!(new_end(None, &[], NOW, Whose::AClients).unwrap(), None);
        assert!(new_end(None, &[], NOW, Whose::ItsOwn).is_err());
        // What was replaced before had a longer life, and says nothing.
        let long = secret("d", (1_000, Some(10_100)), Some("a"));
        for whose in both {
            assert_eq!(new_end(None, &[&long, &ends], NOW, whose).unwrap(), at(11_500));
        }
        assert!(new_end(at(11_501), &[&long, &ends], NOW, Whose::ItsOwn).is_err());
        assert_eq!(new_end(None, &[&long], NOW, Whose::AClients).unwrap(), at(19_100));
        let error = new_end(None, &[&long], NOW, Whose::ItsOwn).unwrap_err();
        assert!(error.to_string().contains("no current secret"), "{error}");
        let over = secret("c", (1, Some(2)), None);
        assert!(new_end(None, &[&over], NOW, Whose::ItsOwn).is_err());
    }
}
