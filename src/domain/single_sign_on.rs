//! Who somebody is here that another provider vouches for: their role and their name, read from its claims.
//!
//! Denied by default: whoever the claims do not give a role, has none.

use serde_json::Value;
use url::{Host, Url};

use super::administrator::AdministratorRole;
use super::ids::AdministratorName;
use super::text::quoted;

/// How claims become a role and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where the claims say what somebody may do.
    pub role_claim: ClaimPath,
    /// What stands there for an administrator.
    pub administrators: Vec<String>,
    /// What stands there for an auditor.
    pub auditors: Vec<String>,
    /// Where the claims say what somebody is called here.
    pub name_claim: ClaimPath,
}

/// Where a value stands in claims: the name of one, or a JSON pointer (RFC 6901) to what is inside of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(String);

// === impl ClaimPath ===

impl ClaimPath {
    /// A name, or a pointer when it starts with a slash.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if text.len() > 200 || text.chars().any(char::is_control) || text == "/" {
            return Err("write the name of a claim, for example groups".to_owned());
        }
        if text.starts_with('/') && !escapes {
            return Err("write a JSON pointer in which ~ stands as ~0 and a slash in a name as ~1".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands there.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Value) -> Option<&'c Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }
}

// === impl Mapping ===

impl Mapping {
    /// What the claims let somebody do. The most that they give, when they give both.
    #[must_use]
    pub fn role(&self, claims: &Value) -> Option<AdministratorRole> {
        let found = self.role_claim.find(claims)?;
        if is_one_of(found, &self.administrators) {
            Some(AdministratorRole::Administrator)
        } else if is_one_of(found, &self.auditors) {
            Some(AdministratorRole::Auditor)
        } else {
            None
        }
    }

    /// What somebody is called here, in lower case.
    ///
    /// # Errors
    /// Why the claims do not tell, for the audit.
    pub fn name(&self, claims: &Value) -> Result<AdministratorName, String> {
        let claim = self.name_claim.as_str();
        let text = match self.name_claim.find(claims) {
            Some(Value::String(text)) => text,
            Some(_) => return Err(format!("the claim {claim} is no text, so it names nobody")),
            None => {
                return Err(format!("the claim {claim} is missing, so it is not known what to call them"));
            }
        };
        // Whoever may write any address there could call themselves like somebody else.
        if ["email", "/email"].contains(&claim) && claims.get("email_verified").is_some_and(is_false) {
            return Err("the provider has not verified the address in the claim email".to_owned());
        }
        AdministratorName::new(text.to_lowercase())
            .map_err(|_| format!("the claim {claim} is not fit for a name: '{}'", quoted(text)))
    }

    /// Whether the claims have everything that this reads.
    #[must_use]
    pub fn is_answered_by(&self, claims: &Value) -> bool {
        self.role_claim.find(claims).is_some() && self.name_claim.find(claims).is_some()
    }
}

/// Whether a claim says no. Some providers write truth values as texts.
fn is_false(claim: &Value) -> bool {
    claim == &Value::Bool(false) || claim.as_str().is_some_and(|text| text.eq_ignore_ascii_case("false"))
}

/// Whether a claim is one of these texts, or a list that has one of them.
fn is_one_of(claim: &Value, texts: &[String]) -> bool {
    let is = |value: &Value| value.as_str().is_some_and(|value| texts.iter().any(|text| text == value));
    match claim {
        Value::Array(values) => values.iter().any(is),
        value => is(value),
    }
}

/// Checks what a provider calls itself (OpenID Connect Core §2, `iss`). A slash at its end is part of it.
///
/// # Errors
/// What is wrong, in words.
pub fn check_provider(issuer: &str) -> Result<(), String> {
    let url = Url::parse(issuer)
        .map_err(|_| "write an absolute URL, for example https://sso.example.com".to_owned())?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("the URL has no host".to_owned()),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err("use https (http is for a provider on localhost only)".to_owned());
    }
    let extra = url.query().is_some() || url.fragment().is_some();
    if extra || !url.username().is_empty() || url.password().is_some() {
        return Err("leave out user, query and fragment".to_owned());
    }
    if issuer.len() > 500 || issuer.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("use at most 500 characters, without white space".to_owned());
    }
    Ok(())
}

/// Whether a text can be what a provider calls somebody (`sub`, OpenID Connect Core §2).
#[must_use]
pub fn is_subject(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= 255 && !subject.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(role_claim: &str, name_claim: &str) -> Mapping {
        Mapping {
            role_claim: ClaimPath::parse(role_claim).unwrap(),
            administrators: vec!["admins".to_owned()],
            auditors: vec!["auditors".to_owned(), "CN=auditors,OU=groups".to_owned()],
            name_claim: ClaimPath::parse(name_claim).unwrap(),
        }
    }

    #[test]
    fn only_a_mapped_value_gives_a_role() {
        use AdministratorRole::{Administrator, Auditor};

        let groups = mapping("groups", "sub");
        for (claims, role) in [
            (json!({ "groups": "admins" }), Some(Administrator)),
            (json!({ "groups": ["x", "auditors"] }), Some(Auditor)),
            (json!({ "groups": ["auditors", "admins"] }), Some(Administrator)),
            (json!({ "groups": ["CN=auditors,OU=groups"] }), Some(Auditor)),
            (json!({ "groups": ["Admins", "admins ", "admins auditors", ""] }), None),
            (json!({ "groups": [["admins"]] }), None),
            (json!({ "groups": { "admins": true } }), None),
            (json!({ "groups": true }), None),
            (json!({ "groups": [] }), None),
            (json!({ "groups": null }), None),
            (json!({ "roles": "admins" }), None),
            (json!({}), None),
        ] {
            assert_eq!(groups.role(&claims), role, "{claims}");
        }
    }

    #[test]
    fn a_pointer_leads_inside_and_a_url_is_a_name() {
        let claims = json!({
            "resource_access": { "jeton": { "roles": ["admins"] } },
            "https://example.com/roles": ["auditors"],
            "a/b": "admins",
        });
        let role = |claim: &str| mapping(claim, "sub").role(&claims);
        assert_eq!(role("/resource_access/jeton/roles"), Some(AdministratorRole::Administrator));
        assert_eq!(role("/resource_access/other/roles"), None);
        assert_eq!(role("https://example.com/roles"), Some(AdministratorRole::Auditor));
        assert_eq!(role("/a~1b"), Some(AdministratorRole::Administrator));
        for bad in ["/", "/a~2b", "a\nb"] {
            assert!(ClaimPath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_taken_in_lower_case_or_not_at_all() {
        let name = |claim: &str, claims: Value| mapping("groups", claim).name(&claims);
        assert_eq!(
            name("nick", json!({ "nick": "Ada.L@Example.com" })).unwrap().as_str(),
            "ada.l@example.com"
        );
        for (claims, why) in [
            (json!({}), "is missing"),
            (json!({ "nick": ["ada"] }), "is no text"),
            (json!({ "nick": "ada lovelace" }), "not fit for a name"),
            (json!({ "nick": "\u{0430}da" }), "not fit for a name"),
            (json!({ "nick": "" }), "not fit for a name"),
        ] {
            let problem = name("nick", claims.clone()).unwrap_err();
            assert!(problem.contains(why), "{claims}: {problem}");
        }
        assert!(name("email", json!({ "email": "ada@x.example" })).is_ok());
        assert!(name("email", json!({ "email": "ada@x.example", "email_verified": true })).is_ok());
        for (claim, verified) in
            [("email", json!(false)), ("/email", json!(false)), ("email", json!("false"))]
        {
            let claims = json!({ "email": "ada@x.example", "email_verified": verified });
            assert!(name(claim, claims.clone()).is_err(), "{claim}: {claims}");
        }
    }

    #[test]
    fn a_provider_is_https_or_on_this_machine() {
        for good in [
            "https://sso.example.com",
            "https://tenant.example.com/",
            "https://login.example.com/tenant/v2.0",
            "http://127.0.0.1:9000",
            "http://localhost/x",
        ] {
            assert_eq!(check_provider(good), Ok(()), "{good}");
        }
        for bad in [
            "sso.example.com",
            "http://sso.example.com",
            "https://u:p@sso.example.com",
            "https://sso.example.com?x=1",
            "https://sso.example.com#x",
            "ftp://localhost",
            "https://sso.example.com/ x",
        ] {
            assert!(check_provider(bad).is_err(), "{bad}");
        }
    }
}
