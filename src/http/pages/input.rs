//! From a form to what a use-case takes. It goes by way of the JSON that the API takes, so that both have the same
//! types, checks and words.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::form::Form;
use crate::admin::AdminError;
use crate::domain::error::FieldError;
use crate::domain::text::quoted;
use crate::http::json::read_value;

/// The members that a form's fields become, and what is wrong so far.
pub(super) struct Input<'f> {
    form: &'f Form,
    /// What is stored: a field that still says the same is left out of a change.
    stored: Option<&'f Form>,
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

// === impl Input ===

impl<'f> Input<'f> {
    /// Of something new: every field counts.
    pub(super) fn new(form: &'f Form) -> Self {
        Self { form, stored: None, members: Map::new(), errors: Vec::new() }
    }

    /// Of a change: what differs from what is stored counts.
    pub(super) fn change(form: &'f Form, stored: &'f Form) -> Self {
        Self { stored: Some(stored), ..Self::new(form) }
    }

    /// A text, as it is but for white space around it.
    pub(super) fn text(self, name: &'static str) -> Self {
        let value = json!(self.trimmed(name));
        self.put(name, value)
    }

    /// A text that may be left out.
    pub(super) fn optional(self, name: &'static str) -> Self {
        let text = self.trimmed(name);
        let value = if text.is_empty() { Value::Null } else { json!(text) };
        self.put(name, value)
    }

    /// A whole number that may be left out.
    pub(super) fn number(mut self, name: &'static str) -> Self {
        let text = self.trimmed(name);
        let value = if text.is_empty() { Ok(Value::Null) } else { text.parse::<u32>().map(|n| json!(n)) };
        if let Ok(value) = value {
            return self.put(name, value);
        }
        let fix = "use digits alone, for example 300";
        self.errors.push(FieldError::new(name, "it is not a whole number", fix));
        self
    }

    /// A whole number with a usual value, which stands for an empty field of something new.
    pub(super) fn count(mut self, name: &'static str) -> Self {
        if !self.trimmed(name).is_empty() {
            return self.number(name);
        }
        if self.stored.is_some() {
            self.errors.push(FieldError::new(name, "it is empty", "write a whole number, for example 300"));
        }
        self
    }

    /// A date and time in UTC, as `datetime-local` sends it, that may be left out.
    pub(super) fn time(self, name: &'static str) -> Self {
        let text = self.trimmed(name);
        let value = match text.len() {
            0 => Value::Null,
            // Without seconds.
            16 => json!(format!("{text}:00Z")),
            _ if text.ends_with('Z') => json!(text),
            _ => json!(format!("{text}Z")),
        };
        self.put(name, value)
    }

    /// A choice between true and false; not sent, it is false.
    pub(super) fn choice_of_truth(self, name: &'static str) -> Self {
        let value = json!(self.trimmed(name) == "true");
        self.put(name, value)
    }

    /// Boxes that are ticked.
    pub(super) fn ticked(self, name: &'static str) -> Self {
        let value = json!(self.form.all(name));
        self.put(name, value)
    }

    /// A box of its own: whether it is ticked.
    pub(super) fn truth(self, name: &'static str) -> Self {
        let value = json!(self.form.has(name, "yes"));
        self.put(name, value)
    }

    /// One value on a line.
    pub(super) fn lines(self, name: &'static str) -> Self {
        let value = self.lines_of(name).into_iter().map(Value::from).collect();
        self.put(name, value)
    }

    /// `name=value` on a line.
    pub(super) fn labels(mut self, name: &'static str) -> Self {
        let mut labels = Map::new();
        for line in self.lines_of(name) {
            if let Some((label, value)) = line.split_once('=') {
                labels.insert(label.trim().to_owned(), json!(value.trim()));
            } else {
                let problem = format!("'{}' has no '='", quoted(line));
                self.errors.push(FieldError::new(
                    name,
                    problem,
                    "write name=value, for example team=finance",
                ));
            }
        }
        self.put(name, Value::Object(labels))
    }

    /// A choice of two ways to name somebody, and the name: both become one member.
    pub(super) fn party(self, name: &'static str, way: &'static str) -> Self {
        let stored =
            self.stored.is_some_and(|stored| self.form.agrees(stored, name) && self.form.agrees(stored, way));
        if stored {
            return self;
        }
        let member = if self.form.text(way) == "role" { "role" } else { "client" };
        let value = json!({ member: self.trimmed(name) });
        Self { members: self.members.into_iter().chain([(name.to_owned(), value)]).collect(), ..self }
    }

    /// As [`Input::party`], with a third way: a trusted issuer, and in another field conditions.
    pub(super) fn subject(mut self, name: &'static str, way: &'static str, conditions: &'static str) -> Self {
        if self.form.text(way) != "trusted_issuer" {
            return self.party(name, way);
        }
        if self.all_agree(&[name, way, conditions]) {
            return self;
        }
        let value = self.outsider(name, conditions);
        self.members.insert(name.to_owned(), value);
        self
    }

    /// A trusted issuer and conditions on its tokens, which become one member, or none without the issuer.
    pub(super) fn outside(mut self, name: &'static str, conditions: &'static str) -> Self {
        if !self.form.was_sent(name) || self.all_agree(&[name, conditions]) {
            return self;
        }
        let nobody = self.trimmed(name).is_empty() && self.lines_of(conditions).is_empty();
        let value = if nobody { Value::Null } else { self.outsider(name, conditions) };
        self.members.insert(name.to_owned(), value);
        self
    }

    /// A trusted issuer and what a token of it says, as JSON, which become one member, or none without either.
    pub(super) fn claims(mut self, name: &'static str, claims: &'static str) -> Self {
        let (issuer, text) = (self.trimmed(name), self.trimmed(claims));
        if issuer.is_empty() && text.is_empty() {
            return self;
        }
        if let Ok(said) = serde_json::from_str::<Map<String, Value>>(text) {
            let value = json!({ "trusted_issuer": issuer, "claims": said });
            self.members.insert(name.to_owned(), value);
        } else {
            let fix = "write what the token says, for example {\"sub\": \"a\"}";
            self.errors.push(FieldError::new(claims, "it is no JSON object", fix));
        }
        self
    }

    /// Conditions are `claim = text`, one on a line.
    fn outsider(&mut self, issuer: &str, conditions: &'static str) -> Value {
        let mut read = Vec::new();
        for line in self.lines_of(conditions) {
            if let Some((claim, value)) = line.split_once('=') {
                read.push(json!({ "claim": claim.trim(), "value": value.trim() }));
            } else {
                let problem = format!("'{}' has no '='", quoted(line));
                let fix = "write claim = text, for example sub = orders";
                self.errors.push(FieldError::new(conditions, problem, fix));
            }
        }
        json!({ "trusted_issuer": self.trimmed(issuer), "conditions": read })
    }

    fn all_agree(&self, fields: &[&str]) -> bool {
        self.stored.is_some_and(|stored| fields.iter().all(|field| self.form.agrees(stored, field)))
    }

    /// A text and of which kind it is: both become one member, or none without the text.
    pub(super) fn of_kind(mut self, name: &'static str, kind: &'static str) -> Self {
        let same = |stored: &Form| self.form.agrees(stored, name) && self.form.agrees(stored, kind);
        // A form without the field says nothing about it.
        if !self.form.was_sent(name) || self.stored.is_some_and(same) {
            return self;
        }
        let text = self.trimmed(name);
        let both = json!({ "kind": self.form.text(kind), "value": text });
        self.members.insert(name.to_owned(), if text.is_empty() { Value::Null } else { both });
        self
    }

    /// A member that several fields make together.
    pub(super) fn made_of(mut self, name: &'static str, fields: &[&str], value: Value) -> Self {
        let same = |stored: &Form| fields.iter().all(|field| self.form.agrees(stored, field));
        if !self.stored.is_some_and(same) {
            self.members.insert(name.to_owned(), value);
        }
        self
    }

    /// A first word and the rest of the line, as members of these names.
    pub(super) fn pairs(self, name: &'static str, [first, rest]: [&str; 2]) -> Self {
        let pairs = self.lines_of(name).into_iter().map(|line| {
            let (word, more) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            json!({ first: word, rest: more.trim() })
        });
        let value = pairs.collect();
        self.put(name, value)
    }

    /// A value that is made of several fields, or of none.
    pub(super) fn put(mut self, name: &'static str, value: Value) -> Self {
        if self.stored.is_none_or(|stored| !self.form.agrees(stored, name)) {
            self.members.insert(name.to_owned(), value);
        }
        self
    }

    /// What the use-case takes.
    ///
    /// # Errors
    /// All that is wrong with the fields' form.
    pub(super) fn read<T: DeserializeOwned>(mut self) -> Result<T, AdminError> {
        loop {
            match read_value(&Value::Object(self.members.clone())) {
                Ok(read) if self.errors.is_empty() => return Ok(read),
                Ok(_) => return Err(AdminError::Invalid(self.errors)),
                Err(error) => {
                    let end = error.field.find(['.', '[']).unwrap_or(error.field.len());
                    let field = error.field[..end].to_owned();
                    // Without it, the next wrong one comes up. Only a field that must be there is missed then.
                    let was_there = self.members.remove(&field).is_some();
                    if was_there || self.errors.is_empty() {
                        self.errors.push(error.in_field(field));
                    }
                    if !was_there {
                        return Err(AdminError::Invalid(self.errors));
                    }
                }
            }
        }
    }

    fn trimmed(&self, name: &str) -> &'f str {
        self.form.text(name).trim()
    }

    fn lines_of(&self, name: &str) -> Vec<&'f str> {
        self.form.lines(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::clients::{CreateClient, UpdateClient};

    fn fields(error: AdminError) -> Vec<String> {
        let AdminError::Invalid(errors) = error else { panic!("{error}") };
        errors.into_iter().map(|error| error.field.into_owned()).collect()
    }

    #[test]
    fn all_that_is_wrong_is_named_by_its_field() {
        let form = Form::of([
            ("client_id", "a b".to_owned()),
            ("kind", "pet".to_owned()),
            ("labels", "team".to_owned()),
            ("roles", "a/b".to_owned()),
        ]);
        let input = Input::new(&form).text("client_id").text("kind").labels("labels").lines("roles");
        let mut wrong = fields(input.read::<CreateClient>().unwrap_err());
        wrong.sort();
        assert_eq!(wrong, ["client_id", "kind", "labels", "roles"]);
    }

    #[test]
    fn what_was_not_changed_is_not_sent() {
        let stored = Form::of([("description", "Old".to_owned()), ("owner", "a".to_owned())]);
        let form = Form::of([("description", "New".to_owned()), ("owner", "a".to_owned())]);
        let update: UpdateClient =
            Input::change(&form, &stored).text("description").optional("owner").read().unwrap();
        assert_eq!((update.description.as_deref(), update.owner), (Some("New"), None));
        let emptied = Form::of([("description", "Old".to_owned()), ("owner", " ".to_owned())]);
        let update: UpdateClient = Input::change(&emptied, &stored).optional("owner").read().unwrap();
        assert_eq!(update.owner, Some(None), "an emptied field takes away");
    }

    #[test]
    fn a_time_is_in_utc_with_or_without_seconds() {
        for (typed, read) in [
            ("2026-11-22T08:00", "2026-11-22T08:00:00Z"),
            ("2026-11-22T08:00:05", "2026-11-22T08:00:05Z"),
            ("2026-11-22T08:00:05Z", "2026-11-22T08:00:05Z"),
        ] {
            let form = Form::of([("expires_at", typed.to_owned())]);
            let update: UpdateClient = Input::new(&form).time("expires_at").read().unwrap();
            assert_eq!(update.expires_at.flatten().unwrap().to_string(), read);
        }
        let form = Form::of([("expires_at", "soon".to_owned())]);
        let error = Input::new(&form).time("expires_at").read::<UpdateClient>().unwrap_err();
        assert_eq!(fields(error), ["expires_at"]);
    }
}
